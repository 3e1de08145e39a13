"""Where the randomness comes from: a hash names a block of rows, Philox fills it.

The key of a block is SHA-256 of (generator version, config, the parameters that shape a row,
split, seed, block number), cut to the 128 bits that Philox takes. Neighbouring seeds, splits and
blocks therefore share nothing, and any block can be made alone, on any machine.

Only raw 64-bit output is used, and integers are derived from it here: numpy promises that the raw
stream of a bit generator never changes, but not what its distribution methods make of it.
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
    """The random numbers of one block of rows, in order."""

    def __init__(self, config: str, parameters: Mapping[str, Any], split: str, seed: int, block: int):
        name = [GENERATOR_VERSION, config, dict(parameters), split, seed, block]
        text = json.dumps(name, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        key = np.frombuffer(hashlib.sha256(text.encode("ascii")).digest()[:16], dtype="<u8")
        self._philox = np.random.Philox(key=key.astype(np.uint64))

    def raw(self, size: int) -> UInt64s:
        """`size` independent uniform uint64."""
        return np.asarray(self._philox.random_raw(size), dtype=np.uint64)

    def below(self, bound: int | UInt64s, size: int) -> npt.NDArray[np.int64]:
        """`size` integers of 0..bound-1 (bound < 2**32, broadcast); bias under bound / 2**32."""
        return scale(halves(self.raw(size))[0], bound).astype(np.int64)

    def permutation(self, size: int) -> npt.NDArray[np.int64]:
        """A uniform permutation of 0..size-1."""
        return np.argsort(self.raw(size), kind="stable")


def halves(raw: UInt64s) -> tuple[UInt32s, UInt32s]:
    """The upper and the lower 32 bits of each number: two independent uniform draws of 0..2**32-1."""
    pairs = raw.view(np.uint32).reshape(-1, 2)
    low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
    return np.ascontiguousarray(pairs[:, high]), np.ascontiguousarray(pairs[:, low])


def scale(draws: UInt32s, bound: int | UInt64s) -> npt.NDArray[Any]:
    """Uniform draws of 0..2**32-1 brought to 0..bound-1 by multiplication (no modulo bias at 0)."""
    if isinstance(bound, int) and bound & (bound - 1) == 0 and bound > 1:
        return draws >> np.uint32(33 - bound.bit_length())  # the same, for a power of two
    return (draws.astype(np.uint64) * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)


def less(draws: UInt32s, limits: UInt64s) -> npt.NDArray[np.bool_]:
    """Whether draws are below limits of 0..2**32, compared as 32-bit numbers."""
    return np.asarray((draws <= (limits - np.uint64(1)).astype(np.uint32)) & (limits > 0))


def threshold(probability: float) -> int:
    """The number of 32-bit draws, of 2**32, that stand for a probability."""
    return round(probability * 2**32)


def thresholds(probabilities: npt.NDArray[np.float64]) -> UInt64s:
    """The same for an array."""
    return np.asarray(np.rint(probabilities * 2.0**32), dtype=np.uint64)
