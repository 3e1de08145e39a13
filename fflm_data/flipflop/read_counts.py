"""Statistics of all reads in a split: distances to the write, accuracy of the previous-symbol baseline."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fflm_data.config import Config
from fflm_data.flipflop.strings import encode, previous_symbol_right, reads


@dataclass(frozen=True)
class ReadCounts:
    """Counts of the reads in a split.

    gaps: int64; gaps[g] is the number of reads g instructions after their write.
    previous_right: the number of reads whose answer equals the previous data symbol.
    """

    gaps: npt.NDArray[np.int64]
    previous_right: int

    @property
    def reads(self) -> int:
        """The number of reads."""
        return int(self.gaps.sum())


@cache
def read_counts(config: Config, split: str) -> ReadCounts:
    """Counts the reads of a split, block by block. All strings must have the same length."""
    gaps = np.zeros(0, dtype=np.int64)
    right = 0
    for table in config.tables(split):
        ids = encode(table["text"])
        block_reads = reads(ids)
        block_gaps = np.bincount(block_reads.gap, minlength=ids.shape[1] // 2)  # one instruction per two ids
        gaps = gaps + block_gaps if len(gaps) else block_gaps
        right += int(previous_symbol_right(ids, block_reads).sum())
    return ReadCounts(gaps, right)
