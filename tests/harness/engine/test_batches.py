"""Batches, memory budgets, and retries after running out of memory."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fflm_data.arrays import Ints
from harness.engine.batches import Budget, cut, pad
from harness.engine.memory import (
    ASSUMED_LOGITS,
    LOGITS_SHARE,
    MAX_TOKENS,
    SHARE,
    assumed_budget,
    fitting_budget,
    is_out_of_memory,
    retry_on_out_of_memory,
)
from harness.errors import UserError

ROWS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 50)), min_size=1, max_size=60)
BUDGETS = st.builds(Budget, st.integers(1, 5000), st.integers(1, 400))
MOST_ROWS = st.none() | st.integers(1, 20)


def fits(batch: list[int], rows: list[tuple[int, int]], budget: Budget, most: int | None, same_length: bool) -> bool:
    """Whether a batch is within the budget; a single row always is."""
    lengths, points = zip(*(rows[row] for row in batch), strict=True)
    return len(batch) == 1 or (
        len(batch) * max(lengths) <= budget.tokens
        and sum(points) <= budget.points
        and (most is None or len(batch) <= most)
        and not (same_length and len(set(lengths)) > 1)
    )


@given(ROWS, BUDGETS, MOST_ROWS, st.booleans())
def test_cut_covers_each_row_once_within_budget(
    rows: list[tuple[int, int]], budget: Budget, most: int | None, same_length: bool
) -> None:
    lengths, points = np.array(rows, dtype=np.int64).T
    batches = [batch.tolist() for batch in cut(lengths, points, budget, most, same_length)]
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(rows)))
    assert order == sorted(order, key=lambda row: -rows[row][0])  # longest first, in their order if as long
    assert all(fits(batch, rows, budget, most, same_length) for batch in batches)
    for batch, following in pairwise(batches):  # none is cut too early
        assert not fits([*batch, following[0]], rows, budget, most, same_length)


def test_cut_without_rows() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert cut(nothing, nothing, Budget(10, 10), None, False) == []


@pytest.mark.parametrize(
    ("budget", "most", "same_length", "expected"),
    [
        (Budget(100, 100), None, False, [[1, 3, 2, 0]]),
        (Budget(8, 100), None, False, [[1, 3], [2, 0]]),
        (Budget(100, 2), None, False, [[1, 3], [2, 0]]),
        (Budget(100, 100), 3, False, [[1, 3, 2], [0]]),
        (Budget(100, 100), None, True, [[1, 3], [2], [0]]),
        (Budget(1, 1), None, False, [[1], [3], [2], [0]]),
    ],
)
def test_cut_four_rows(budget: Budget, most: int | None, same_length: bool, expected: list[list[int]]) -> None:
    batches = cut(np.array([2, 4, 3, 4]), np.ones(4, dtype=np.int64), budget, most, same_length)
    assert [batch.tolist() for batch in batches] == expected


@pytest.mark.parametrize(("left", "expected"), [(False, [[1, 2, 3], [4, 9, 9]]), (True, [[1, 2, 3], [9, 9, 4]])])
def test_pad(left: bool, expected: list[list[int]]) -> None:
    assert pad([np.array([1, 2, 3]), np.array([4])], 9, left).tolist() == expected


SIZES = {
    "free": st.integers(2**20, 2**38),
    "used": st.integers(1, 2**34),
    "tokens": st.integers(1, 2**17),
    "points": st.integers(1, 2**12),
    "vocabulary": st.integers(2, 2**18),
}


@given(**SIZES)
def test_fitting_budget_fits_into_free_memory(free: int, used: int, tokens: int, points: int, vocabulary: int) -> None:
    budget = fitting_budget(free, used, tokens, points, vocabulary)
    logits = 8 * vocabulary
    per_token = max(1.0, (used - points * logits) // tokens)
    assert 1 <= budget.tokens <= MAX_TOKENS and budget.points >= 1
    assert budget.points == 1 or budget.points * logits <= free * SHARE * LOGITS_SHARE
    assert budget.tokens == 1 or budget.tokens * per_token + budget.points * logits <= free * SHARE
    # Neither could be larger.
    assert (budget.points + 1) * logits > int(free * SHARE) * LOGITS_SHARE - 1
    held = int(free * SHARE)
    assert budget.tokens == MAX_TOKENS or (budget.tokens + 1) * per_token + budget.points * logits > held


@given(factor=st.integers(2, 16), **SIZES)
def test_fitting_budget_is_monotonic(
    factor: int, free: int, used: int, tokens: int, points: int, vocabulary: int
) -> None:
    budget = fitting_budget(free, used, tokens, points, vocabulary)
    more = fitting_budget(factor * free, used, tokens, points, vocabulary)
    hungrier = fitting_budget(free, factor * used, tokens, points, vocabulary)
    assert more.points >= budget.points and more.tokens >= budget.tokens
    assert hungrier.tokens <= budget.tokens and hungrier.points == budget.points


@given(st.integers(1, 2**15), st.integers(1, 2**19))
def test_assumed_budget_shrinks_with_model_size(width: int, vocabulary: int) -> None:
    budget = assumed_budget(width, vocabulary)
    assert 1024 <= budget.tokens <= MAX_TOKENS and budget.points >= 1
    assert budget.points == 1 or budget.points * 4 * vocabulary <= ASSUMED_LOGITS
    wider, larger = assumed_budget(2 * width, vocabulary), assumed_budget(width, 2 * vocabulary)
    assert wider.tokens <= budget.tokens and wider.points == budget.points
    assert larger.points <= budget.points and larger.tokens == budget.tokens


def test_assumed_budget_of_common_model_sizes() -> None:
    assert assumed_budget(576, 49_152) == Budget(7281, 1365)  # SmolLM2-135M
    assert assumed_budget(32, 300).tokens == 131_072


@pytest.mark.slow("harness/engine")
@pytest.mark.parametrize(("sizes", "most"), [([8], 1), ([8, 3], 3), ([1, 9, 2], 2), ([4, 4], 4)])
def test_retry_on_out_of_memory_halves_batches(sizes: list[int], most: int) -> None:
    ends = np.cumsum([0, *sizes])
    failed: list[int] = []

    def cut_again(rows: Ints) -> list[Ints]:
        """The given rows; after a failure, in batches of half the failed size."""
        if not failed:
            return [rows[end - size : end] for size, end in zip(sizes, ends[1:], strict=True)]
        half = max(1, failed[-1] // 2)
        return [rows[start : start + half] for start in range(0, len(rows), half)]

    def run(batch: Ints) -> list[int]:
        if len(batch) > most:
            raise MemoryError
        return batch.tolist()

    outputs = list(retry_on_out_of_memory(np.arange(ends[-1]), cut_again, run, lambda batch: failed.append(len(batch))))
    assert [row for part in outputs for row in part] == list(range(ends[-1]))
    assert all(len(part) <= most for part in outputs) and all(size > most for size in failed)
    assert len(failed) == len(set(failed))  # what is waiting is cut too, and does not fail again


@pytest.mark.slow("harness/engine")
def test_retry_on_out_of_memory_fails_for_single_row() -> None:
    def run(batch: Ints) -> None:
        raise MemoryError

    failed: list[Ints] = []
    with pytest.raises(UserError, match="not enough memory for a single row"):
        list(
            retry_on_out_of_memory(
                np.arange(4), lambda rows: np.array_split(rows, 2 ** len(failed)), run, failed.append
            )
        )
    assert [len(batch) for batch in failed] == [4, 2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of range"), False),
    ],
)
def test_is_out_of_memory_for_device_messages(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
