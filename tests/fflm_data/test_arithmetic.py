"""Arithmetic rows, compared with Python integers and schoolbook addition."""

import re
from collections import Counter
from fractions import Fraction

import pytest

from fflm_data import get_config
from fflm_data.arithmetic import solve

ROWS = get_config("arithmetic").table("test").to_pylist()


def carries(a: int, b: int) -> list[int]:
    """Returns the carries of schoolbook addition, least significant digit first."""
    result, carry = [], 0
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        carry = (int(x) + int(y) + carry) // 10
        result.append(carry)
    return result


@pytest.mark.parametrize("parameters", [{}, {"largest": 50, "digits": [3, 17], "rows_per_cell": 90, "seed": 8}])
def test_answers(parameters: dict[str, object]) -> None:
    config = get_config("arithmetic", **parameters)
    for row in config.table("test").to_pylist():
        a, b = map(int, re.fullmatch(r"What is (\d+) [-+x/] (\d+)\?", row["question"]).groups())  # type: ignore[union-attr]
        assert (a, b) == (row["a"], row["b"])
        assert f" {row['operation']} " in row["question"]
        exact = {"+": Fraction(a + b), "-": Fraction(a - b), "x": Fraction(a * b), "/": Fraction(a, b or 1)}
        assert row["answer"] == exact[row["operation"]]
        assert row["answer"] >= 0


def test_small_operands() -> None:
    small = [row for row in ROWS if max(row["a"], row["b"]) <= 999]
    assert Counter(row["operation"] for row in small) == dict.fromkeys("+-x/", 200)
    for row in small:
        assert min(row["a"], row["b"]) >= 0
        if row["operation"] == "/":
            assert row["b"] >= 2 and row["answer"] >= 2
    sums = [row["a"] for row in small if row["operation"] == "+"]
    assert max(sums) > 900 and min(sums) < 100


def test_long_additions_carry() -> None:
    for size in (4, 8, 16):
        rows = [row for row in ROWS if len(str(row["a"])) == len(str(row["b"])) == size]
        assert len(rows) == 200
        for row in rows:
            row_carries = carries(row["a"], row["b"])
            assert row_carries[-1] == 1 and 2 * sum(row_carries) >= size
            assert len(str(row["answer"])) == size + 1
        assert len({sum(carries(row["a"], row["b"])) for row in rows}) >= min(3, size // 2)


def test_problems_are_distinct_and_balanced() -> None:
    assert len({row["question"] for row in ROWS}) == len(ROWS) == 1400
    assert Counter(row["operation"] for row in ROWS[:70]) == {"+": 40, "-": 10, "x": 10, "/": 10}


def test_all_divisions_occur() -> None:
    config = get_config("arithmetic", largest=12, digits=[], rows_per_cell=12)
    divisions = {(row["a"], row["b"]) for row in config.table("test").to_pylist() if row["operation"] == "/"}
    assert divisions == {(a, b) for a in range(13) for b in range(2, 13) if a % b == 0 and a // b >= 2}


def test_division_with_remainder_is_an_error() -> None:
    assert solve(12, 4, "/") == 3
    with pytest.raises(ValueError, match="7 / 2"):
        solve(7, 2, "/")
