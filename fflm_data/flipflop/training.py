"""An infinite stream of flip-flop strings as token ids, for training without a download.

load_dataset("fflm", "flipflop-train", split="train", streaming=True, p_ignore=[0.8, 0.98, 0.1])
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.config import Config, ParameterError, require, require_integer
from fflm_data.flipflop.distributions import FFL, Mixture, float_fields
from fflm_data.flipflop.sampling import TRAIN, block, require_disjoint_splits
from fflm_data.flipflop.strings import READ, id_type

# Larger than any training run; row ids still fit int64.
STREAM_ROWS = 2**53
# The default ignore_index of PyTorch losses.
IGNORED_LABEL = -100


@dataclass(frozen=True)
class FlipFlopTrain(Config):
    """Infinite stream of flip-flop strings from FFL(0.8), another distribution, or an equal mixture of several.

    `p_ignore`, or `p_write` and `p_read`, are numbers, or lists of numbers for a mixture in which each
    string follows one component. Rows are independent, so the stream needs no shuffling. Its blocks are
    distributed over `shards`, which data-loader workers and ranks divide among themselves. If the number
    of ranks does not divide `shards` (2**10 * 3**2 * 5 * 7), each rank generates all rows. Without a
    mixture, the stream begins with the rows of the train split of `flipflop`.
    """

    length: int = 512
    p_ignore: float | tuple[float, ...] | None = None
    p_write: float | tuple[float, ...] | None = None
    p_read: float | tuple[float, ...] | None = None
    symbols: int = 2
    shards: int = 322_560

    name: ClassVar[str] = "flipflop-train"
    title: ClassVar[str] = "an infinite stream of flip-flop strings as token ids"
    paper: ClassVar[str] = "arXiv 2306.00946"

    def validate(self) -> None:
        for name in ("p_ignore", "p_write", "p_read"):
            value = getattr(self, name)
            if isinstance(value, tuple):
                require(len(value) > 0 and None not in value, name, value, "a probability or a list of probabilities")
        require_integer("shards", self.shards, 1, 2**24)
        require_disjoint_splits(self.distribution(TRAIN))
        float_fields(self)

    def distribution(self, split: str) -> FFL | Mixture:
        """Returns the distribution of the rows."""
        values = (self.p_ignore, self.p_write, self.p_read)
        counts = {len(value) if isinstance(value, tuple) else 0 for value in values if value is not None}
        require(len(counts) <= 1, "p_ignore, p_write, p_read", values, "numbers, or lists of equal length")
        if counts <= {0}:
            return self._component(*values)
        columns = [value if isinstance(value, tuple) else (None,) * max(counts) for value in values]
        return Mixture(tuple(self._component(*probabilities) for probabilities in zip(*columns, strict=True)))

    def _component(self, *probabilities: Any) -> FFL:
        return FFL.from_parameters(self.length, self.symbols, *probabilities)

    @property
    def schema(self) -> pa.Schema:
        """input_ids: w 0, r 1, i 2, then the symbols. read_mask: true at the symbol after each r. labels: the token id
        at these positions, `IGNORED_LABEL` elsewhere, aligned with input_ids (transformers shifts them)."""
        ids = pa.uint8() if id_type(self.symbols) is np.uint8 else pa.uint16()
        return pa.schema(
            [
                ("id", pa.int64()),
                ("input_ids", pa.list_(ids, self.length)),
                ("read_mask", pa.list_(pa.bool_(), self.length)),
                ("labels", pa.list_(pa.int16(), self.length)),
            ]
        )

    def splits(self) -> dict[str, int]:
        return {TRAIN: STREAM_ROWS}

    def table(self, split: str, start: int = 0, stop: int | None = None) -> pa.Table:
        if stop is None:
            raise ParameterError(f"stop=None is out of range: stop must be given, as {self.name} is infinite")
        return super().table(split, start, stop)

    def block_rows(self, split: str) -> int:
        return self.distribution(split).block_rows

    def block(self, split: str, number: int) -> pa.Table:
        distribution = self.distribution(split)
        ids = block(distribution, split, self.seed, number, distribution.block_rows)
        mask = np.zeros(ids.shape, dtype=bool)
        labels = np.full(ids.shape, IGNORED_LABEL, dtype=np.int16)
        mask[:, 1::2] = ids[:, 0::2] == READ
        np.copyto(labels[:, 1::2], ids[:, 1::2], where=mask[:, 1::2], casting="unsafe")  # the largest id is 514
        columns = {"input_ids": ids, "read_mask": mask, "labels": labels}
        return pa.table(
            {
                name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), self.length)
                for name, values in columns.items()
            }
        )
