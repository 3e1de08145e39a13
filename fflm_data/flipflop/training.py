"""An endless stream of flip-flop strings as ids, for training without a download.

load_dataset("fflm", "flipflop-train", split="train", streaming=True, p_ignore=[0.8, 0.98, 0.1])
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.config import Config, ParameterError, require, require_integer
from fflm_data.flipflop.distributions import FFL, Mixture, float_fields
from fflm_data.flipflop.sampling import TRAIN, block, require_apart
from fflm_data.flipflop.strings import READ, id_type

# No training comes to the end of it; the id of a row still fits int64.
ENDLESS = 2**53
# What losses of PyTorch leave out: a label where nothing is to be learned.
IGNORED = -100


@dataclass(frozen=True)
class FlipFlopTrain(Config):
    """Flip-flop strings without end: FFL(0.8), another distribution, or an equal mixture of several.

    `p_ignore`, or `p_write` and `p_read`, are numbers, or lists of numbers for a mixture in which
    every string follows one of them. Rows are independent, so the stream is shuffled as it comes; its
    blocks are dealt to `shards`, of which data-loader workers and ranks take their parts; a number of
    ranks that does not divide `shards` (2**10 * 3**2 * 5 * 7) draws all rows on each rank. With one
    number, the rows of the train split of `flipflop` come first.
    """

    length: int = 512
    p_ignore: float | tuple[float, ...] | None = None
    p_write: float | tuple[float, ...] | None = None
    p_read: float | tuple[float, ...] | None = None
    symbols: int = 2
    shards: int = 322_560

    name: ClassVar[str] = "flipflop-train"
    title: ClassVar[str] = "an endless stream of flip-flop strings as ids"
    paper: ClassVar[str] = "arXiv 2306.00946"

    def validate(self) -> None:
        for name in ("p_ignore", "p_write", "p_read"):
            value = getattr(self, name)
            if isinstance(value, tuple):
                require(len(value) > 0 and None not in value, name, value, "a probability or a list of some")
        require_integer("shards", self.shards, 1, 2**24)
        require_apart(self.distribution(TRAIN))
        float_fields(self)

    def distribution(self, split: str) -> FFL | Mixture:
        """The distribution of the rows."""
        given = (self.p_ignore, self.p_write, self.p_read)
        counts = {len(value) if isinstance(value, tuple) else 0 for value in given if value is not None}
        require(len(counts) <= 1, "p_ignore, p_write, p_read", given, "numbers, or lists of one length")
        if counts <= {0}:
            return self._component(*given)
        columns = [value if isinstance(value, tuple) else (None,) * max(counts) for value in given]
        return Mixture(tuple(self._component(*each) for each in zip(*columns, strict=True)))

    def _component(self, *probabilities: Any) -> FFL:
        return FFL.given(self.length, self.symbols, *probabilities)

    @property
    def schema(self) -> pa.Schema:
        """input_ids: w 0, r 1, i 2, then the symbols; read_mask: true where the symbol after an r stands; labels: the
        id there, `IGNORED` elsewhere, in the places of input_ids (causal LMs of transformers shift them)."""
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
        return {TRAIN: ENDLESS}

    def table(self, split: str, start: int = 0, stop: int | None = None) -> pa.Table:
        if stop is None:
            raise ParameterError(f"stop=None is out of range: stop must be given, {self.name} has no end")
        return super().table(split, start, stop)

    def block_rows(self, split: str) -> int:
        return self.distribution(split).block_rows

    def block(self, split: str, number: int) -> pa.Table:
        drawn = self.distribution(split)
        ids = block(drawn, split, self.seed, number, drawn.block_rows)
        mask = np.zeros(ids.shape, dtype=bool)
        labels = np.full(ids.shape, IGNORED, dtype=np.int16)
        mask[:, 1::2] = ids[:, 0::2] == READ
        np.copyto(labels[:, 1::2], ids[:, 1::2], where=mask[:, 1::2], casting="unsafe")  # the largest id is 514
        columns = {"input_ids": ids, "read_mask": mask, "labels": labels}
        return pa.table(
            {
                name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), self.length)
                for name, values in columns.items()
            }
        )
