"""The reads of a whole split, counted: how far from their writes, how many a baseline gets."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fflm_data.config import Config
from fflm_data.flipflop.strings import encode, previous_symbol_right, reads


@dataclass(frozen=True)
class ReadCounts:
    """gaps: int64, index g holds the reads g instructions after their write. previous_right: the reads
    whose answer is the data symbol just before them."""

    gaps: npt.NDArray[np.int64]
    previous_right: int

    @property
    def reads(self) -> int:
        """All reads."""
        return int(self.gaps.sum())


@cache
def read_counts(config: Config, split: str) -> ReadCounts:
    """Counts the reads of a split of strings of one length, block by block."""
    gaps = np.zeros(0, dtype=np.int64)
    right = 0
    for table in config.tables(split):
        ids = encode(table["text"])
        found = reads(ids)
        counted = np.bincount(found.gap, minlength=ids.shape[1] // 2)  # an instruction is two symbols
        gaps = gaps + counted if len(gaps) else counted
        right += int(previous_symbol_right(ids, found).sum())
    return ReadCounts(gaps, right)
