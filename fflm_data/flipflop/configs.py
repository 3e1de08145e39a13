"""Configs of flip-flop strings as text: the splits of the paper, and strings with a change of distribution."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from fflm_data.config import Config, require, require_integer
from fflm_data.flipflop.distributions import FFL, Distribution, Piecewise, float_fields, require_probability
from fflm_data.flipflop.read_counts import read_counts
from fflm_data.flipflop.sampling import TRAIN, block, require_disjoint_splits
from fflm_data.flipflop.strings import decode

SPLITS = (TRAIN, "val", "val_sparse", "val_dense")


class TextConfig(Config):
    """Base class of configs whose rows are strings drawn from one distribution per split."""

    schema: ClassVar[pa.Schema] = pa.schema([("id", pa.int64()), ("text", pa.string())])

    @abstractmethod
    def distribution(self, split: str) -> Distribution:
        """Returns the distribution of a split."""

    def block_rows(self, split: str) -> int:
        return self.distribution(split).block_rows

    def block(self, split: str, number: int) -> pa.Table:
        distribution = self.distribution(split)
        rows = min(distribution.block_rows, self.rows(split) - number * distribution.block_rows)
        return pa.table({"text": decode(block(distribution, split, self.seed, number, rows))})

    def baselines(self, split: str) -> dict[str, float]:
        counts = read_counts(self, split)
        symbols = self.distribution(split).symbols
        return {"chance": 1 / symbols, "previous symbol": counts.previous_right / counts.reads}


@dataclass(frozen=True)
class FlipFlop(TextConfig):
    """Flip-flop language modeling: FFL(0.8) for training and validation, FFL(0.98) and FFL(0.1) as stress tests.

    `p_ignore`, or `p_write` and `p_read`, set the distribution of train and val (default: FFL(0.8)).
    val_sparse and val_dense are always FFL(0.98) and FFL(0.1), as in section 4. A split with 0 rows is
    omitted.
    """

    length: int = 512
    p_ignore: float | None = None
    p_write: float | None = None
    p_read: float | None = None
    symbols: int = 2
    train_rows: int = 160_000
    val_rows: int = 1_000
    val_sparse_rows: int = 100_000
    val_dense_rows: int = 3_000

    name: ClassVar[str] = "flipflop"
    title: ClassVar[str] = "copy one bit over a distance"
    paper: ClassVar[str] = "arXiv 2306.00946"

    def validate(self) -> None:
        self.distribution(TRAIN)
        for split in SPLITS:
            require_integer(f"{split}_rows", getattr(self, f"{split}_rows"), 0)
        require(len(self.splits()) > 0, "the total number of rows", 0, "at least 1")
        for split in self.splits():
            require_disjoint_splits(self.distribution(split))
        float_fields(self)

    def splits(self) -> dict[str, int]:
        rows = {split: getattr(self, f"{split}_rows") for split in SPLITS}
        return {split: count for split, count in rows.items() if count}

    def distribution(self, split: str) -> FFL:
        """Returns the distribution of a split."""
        if split == "val_sparse":
            return FFL.from_p_ignore(0.98, self.length, self.symbols)
        if split == "val_dense":
            return FFL.from_p_ignore(0.1, self.length, self.symbols)
        return FFL.from_parameters(self.length, self.symbols, self.p_ignore, self.p_write, self.p_read)


@dataclass(frozen=True)
class FlipFlopPiecewise(TextConfig):
    """Flip-flop strings with dense writes in the head and a sparse tail.

    The last `tail` characters follow FFL(`p_ignore_tail`), the characters before them
    FFL(`p_ignore_head`). A read in the tail depends on a distant write that follows many close writes.
    Models trained on the mixture of dense and sparse strings (section 4) make no errors on either,
    but still err here.
    """

    length: int = 512
    tail: int = 256
    p_ignore_head: float = 0.1
    p_ignore_tail: float = 0.98
    symbols: int = 2
    test_rows: int = 3_000

    name: ClassVar[str] = "flipflop-piecewise"
    title: ClassVar[str] = "copy one bit from dense writes into a sparse tail"
    paper: ClassVar[str] = "arXiv 2306.00946"

    def validate(self) -> None:
        FFL(self.length, symbols=self.symbols)
        require(self.length >= 8, "length", self.length, "at least 8: a head and a tail of two instructions each")
        require_integer("tail", self.tail, 4, self.length - 4)
        require(self.tail % 2 == 0, "tail", self.tail, "even: instructions and symbols alternate")
        require_probability("p_ignore_head", self.p_ignore_head)
        require_probability("p_ignore_tail", self.p_ignore_tail)
        require_integer("test_rows", self.test_rows, 1)
        require_disjoint_splits(self.distribution("test"))
        float_fields(self)

    def splits(self) -> dict[str, int]:
        return {"test": self.test_rows}

    def distribution(self, split: str) -> Piecewise:
        head = FFL.from_p_ignore(self.p_ignore_head, self.length - self.tail, self.symbols)
        return Piecewise(head, FFL.from_p_ignore(self.p_ignore_tail, self.tail, self.symbols))
