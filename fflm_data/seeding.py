"""Where the randomness comes from: a hash names a block of rows, Philox fills it.

The key of a block is SHA-256 of (generator version, config, the parameters that shape a row,
split, seed, block number), cut to the 128 bits that Philox takes. Neighbouring seeds, splits and
blocks therefore share nothing, and any block can be made alone, on any machine.

Only raw 64-bit output is used, and integers are derived from it here: numpy promises that the raw
stream of a bit generator never changes, but not what its distribution methods make of it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.version import GENERATOR_VERSION

UInt64s = npt.NDArray[np.uint64]
_LOW_32_BITS = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


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
        return scale(self.raw(size) >> _32, bound).astype(np.int64)

    def permutation(self, size: int) -> npt.NDArray[np.int64]:
        """A uniform permutation of 0..size-1."""
        return np.argsort(self.raw(size), kind="stable")


def high(raw: UInt64s) -> UInt64s:
    """The upper 32 bits of each number: one uniform draw of 0..2**32-1."""
    return raw >> _32


def low(raw: UInt64s) -> UInt64s:
    """The lower 32 bits of each number: a second draw, independent of `high`."""
    return raw & _LOW_32_BITS


def scale(draws: UInt64s, bound: int | UInt64s) -> UInt64s:
    """Uniform draws of 0..2**32-1 brought to 0..bound-1 by multiplication (no modulo bias at 0)."""
    return (draws * np.asarray(bound, dtype=np.uint64)) >> _32


def threshold(probability: float) -> int:
    """The number of 32-bit draws, of 2**32, that stand for a probability."""
    return round(probability * 2**32)


def thresholds(probabilities: npt.NDArray[np.float64]) -> UInt64s:
    """The same for an array."""
    return np.asarray(np.rint(probabilities * 2.0**32), dtype=np.uint64)
