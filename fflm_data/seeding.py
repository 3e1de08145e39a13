"""Random number streams, one per block of rows: a hash of the block's identity seeds Philox.

The key of a block is the SHA-256 of (generator version, config, the parameters that affect rows,
split, seed, block number), truncated to the 128 bits of a Philox key. Streams of neighbouring seeds,
splits and blocks are therefore independent, and any block can be generated alone, on any machine.

Only raw 64-bit output is used, and integers are derived from it here: numpy guarantees that the raw
stream of a bit generator never changes, but not the output of its distribution methods.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.version import GENERATOR_VERSION

UInt64s = npt.NDArray[np.uint64]
UInt32s = npt.NDArray[np.uint32]


class Stream:
    """Random number stream of one block of rows."""

    def __init__(self, config: str, parameters: Mapping[str, Any], split: str, seed: int, block: int):
        name = [GENERATOR_VERSION, config, dict(parameters), split, seed, block]
        text = json.dumps(name, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        key = np.frombuffer(hashlib.sha256(text.encode("ascii")).digest()[:16], dtype="<u8")
        self._philox = np.random.Philox(key=key.astype(np.uint64))

    def raw(self, size: int) -> UInt64s:
        """Returns `size` independent uniform uint64 numbers."""
        return np.asarray(self._philox.random_raw(size), dtype=np.uint64)

    def below(self, bound: int | UInt64s, size: int) -> npt.NDArray[np.int64]:
        """Returns `size` integers in 0..bound-1 (bound < 2**32, broadcast), with a bias under bound / 2**32."""
        return scale(halves(self.raw(size))[0], bound).astype(np.int64)

    def permutation(self, size: int) -> npt.NDArray[np.int64]:
        """Returns a uniform permutation of 0..size-1."""
        return np.argsort(self.raw(size), kind="stable")


def halves(raw: UInt64s) -> tuple[UInt32s, UInt32s]:
    """Returns the upper and the lower 32 bits of each number: two independent uniform draws from 0..2**32-1."""
    pairs = raw.view(np.uint32).reshape(-1, 2)
    low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
    return np.ascontiguousarray(pairs[:, high]), np.ascontiguousarray(pairs[:, low])


def scale(draws: UInt32s, bound: int | UInt64s) -> npt.NDArray[Any]:
    """Scales uniform draws from 0..2**32-1 to 0..bound-1 by multiplication (no modulo bias at 0)."""
    if isinstance(bound, int) and bound & (bound - 1) == 0 and bound > 1:
        return draws >> np.uint32(33 - bound.bit_length())  # same result for a power of two, but faster
    return (draws.astype(np.uint64) * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)


def less(draws: UInt32s, limits: UInt64s) -> npt.NDArray[np.bool_]:
    """Returns draws < limits, with limits in 0..2**32, compared as 32-bit numbers."""
    return np.asarray((draws <= (limits - np.uint64(1)).astype(np.uint32)) & (limits > 0))


def threshold(probability: float) -> int:
    """Converts a probability to a threshold in 0..2**32 for 32-bit draws."""
    return round(probability * 2**32)


def thresholds(probabilities: npt.NDArray[np.float64]) -> UInt64s:
    """Like `threshold`, for an array."""
    return np.asarray(np.rint(probabilities * 2.0**32), dtype=np.uint64)
