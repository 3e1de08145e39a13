"""Arithmetic on integers (arXiv 2510.26285): the four operations on 0..999, and long additions that carry.

Small operands are single tokens in many vocabularies, so their representation can be probed in the
hidden states. Long additions need carries across many digits (the addition prompts of
arXiv 2306.00946 have 4, 8 and 16).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config, normalize_integers, require_integer
from fflm_data.seeding import Stream

OPERATIONS = ("+", "-", "x", "/")
MAX_DIGITS = 17  # the sum fits int64

BATCH = 1024

Pair = tuple[int, int]


@dataclass(frozen=True)
class Arithmetic(Config):
    """Sums, differences, products and quotients of 0..`largest`, and additions of `digits` digits.

    Every answer is a non-negative integer. Quotients have no remainder, and divisor and quotient are
    at least 2. In a long addition at least half of the digits carry, including the first, so the sum
    has one digit more. There are `rows_per_cell` rows for each operation and each number of digits,
    interleaved.
    """

    largest: int = 999
    digits: tuple[int, ...] = (4, 8, 16)
    rows_per_cell: int = 200

    name: ClassVar[str] = "arithmetic"
    title: ClassVar[str] = "add, subtract, multiply, divide integers"
    paper: ClassVar[str] = "arXiv 2510.26285"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("id", pa.int64()),
            ("a", pa.int64()),
            ("b", pa.int64()),
            ("operation", pa.string()),
            ("question", pa.string()),
            ("answer", pa.int64()),
        ]
    )

    def validate(self) -> None:
        normalize_integers(self, "digits", 3, MAX_DIGITS, least=0)
        require_integer("largest", self.largest, 10, 999_999)
        # The smallest cell of long additions, three digits, has well above 10,000 problems.
        require_integer("rows_per_cell", self.rows_per_cell, 1, min(10_000, quotients(self.largest)))

    def splits(self) -> dict[str, int]:
        return {"test": self.block_rows("test")}

    def block_rows(self, split: str) -> int:
        return self.rows_per_cell * (len(OPERATIONS) + len(self.digits))

    def block(self, split: str, number: int) -> pa.Table:
        """Returns the whole split. It is one block because problems are drawn without replacement."""
        cells = [self._cell(split, number, operation, 0) for operation in OPERATIONS]
        cells += [self._cell(split, number, "+", size) for size in self.digits]
        rows = [problem for round_ in zip(*cells, strict=True) for problem in round_]
        a, b, operations = zip(*rows, strict=True)
        return pa.table(
            {
                "a": a,
                "b": b,
                "operation": operations,
                "question": [f"What is {a} {operation} {b}?" for a, b, operation in rows],
                "answer": [solve(*row) for row in rows],
            },
            schema=self.schema.remove(0),
        )

    def _cell(self, split: str, number: int, operation: str, digits: int) -> list[tuple[int, int, str]]:
        """Returns the distinct problems of one cell as (a, b, operation)."""
        key = {"largest": self.largest, "operation": operation, "digits": digits}
        stream = Stream(self.name, key, split, self.seed, number)
        pairs: dict[Pair, None] = {}  # an ordered set
        for pair in _long_sums(stream, digits) if digits else _small(stream, operation, self.largest):
            pairs[pair] = None
            if len(pairs) == self.rows_per_cell:
                break
        return [(a, b, operation) for a, b in pairs]


def solve(a: int, b: int, operation: str) -> int:
    """Returns the answer to a problem. Raises ValueError for a division with a remainder."""
    if operation == "/":
        quotient, remainder = divmod(a, b)
        if remainder:
            raise ValueError(f"{a} / {b} is not an integer")
        return quotient
    return {"+": a + b, "-": a - b, "x": a * b}[operation]


def _small(stream: Stream, operation: str, largest: int) -> Iterator[Pair]:
    """Yields operands in 0..largest, infinitely and with repetitions."""
    divisors = np.arange(2, largest // 2 + 1)
    ends = np.cumsum(largest // divisors - 1)  # for each divisor, the quotients from 2 up
    while True:
        if operation == "/":
            draw = stream.below(int(ends[-1]), BATCH)
            index = np.searchsorted(ends, draw, side="right")
            b = divisors[index]
            a = b * (largest // b - (ends[index] - 1 - draw))
        else:
            a, b = stream.below(largest + 1, BATCH), stream.below(largest + 1, BATCH)
        if operation == "-":
            a, b = np.maximum(a, b), np.minimum(a, b)
        yield from zip(a.tolist(), b.tolist(), strict=True)


def quotients(largest: int) -> int:
    """Returns the number of divisions of integers up to `largest` with divisor and quotient of at least 2."""
    return int((largest // np.arange(2, largest // 2 + 1) - 1).sum())


def _long_sums(stream: Stream, digits: int) -> Iterator[Pair]:
    """Yields operands with `digits` digits, infinitely. Their sum carries in the first digit and in at least half."""
    powers = 10 ** np.arange(digits, dtype=np.int64)
    while True:
        a, b = (_digits(stream, digits) for _ in range(2))
        carry = np.zeros((BATCH, digits + 1), dtype=np.int64)
        for index in range(digits):
            carry[:, index + 1] = a[:, index] + b[:, index] + carry[:, index] > 9
        valid = (carry[:, -1] == 1) & (2 * carry.sum(axis=1) >= digits)
        yield from zip((a[valid] @ powers).tolist(), (b[valid] @ powers).tolist(), strict=True)


def _digits(stream: Stream, digits: int) -> npt.NDArray[np.int64]:
    """Returns random digits of shape (BATCH, digits), least significant first; the most significant is not 0."""
    drawn = stream.below(10, BATCH * digits).reshape(BATCH, digits)
    drawn[:, -1] = 1 + stream.below(9, BATCH)
    return drawn
