"""Distributions of flip-flop strings: the probability of each instruction.

All distributions draw instructions independently and symbols uniformly. The probabilities of w and r
are constant (FFL), depend on the string (Mixture) or on the position (Piecewise).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.config import normalize_fields, require, require_integer
from fflm_data.seeding import threshold

MAX_LENGTH = 2**20
MAX_SYMBOLS = 512
BLOCK_SYMBOLS = 2**19


class Distribution(ABC):
    """Distribution of strings with `length` instructions and symbols in total, over `symbols` data symbols."""

    length: int
    symbols: int

    @abstractmethod
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Returns the probabilities of w and r, shape (components, instructions or 1, 2).

        Each string follows one component, chosen uniformly. The first instruction is always w and the last r.
        """

    @abstractmethod
    def key(self) -> dict[str, Any]:
        """Returns the part of the random key that identifies the distribution.

        Probabilities are integers, so that 0.1 and (1 - 0.8) / 2 give the same key.
        """

    @property
    def instructions(self) -> int:
        """Number of instructions in a string: half its length."""
        return self.length // 2

    @property
    def block_rows(self) -> int:
        """Rows per block: 1,024 for length 512. A block takes the same memory at any length."""
        return max(1, BLOCK_SYMBOLS // self.length)


@dataclass(frozen=True)
class FFL(Distribution):
    """The distribution FFL(T, p) of Definition 1: strings of `length` symbols and instructions.

    An instruction is w with probability `p_write`, r with `p_read`, otherwise i.
    """

    length: int = 512
    p_write: float = 0.1
    p_read: float = 0.1
    symbols: int = 2

    def __post_init__(self) -> None:
        normalize_fields(self)
        require_integer("length", self.length, 4, MAX_LENGTH)
        require(self.length % 2 == 0, "length", self.length, "even: instructions and symbols alternate")
        require_integer("symbols", self.symbols, 2, MAX_SYMBOLS)
        for name in ("p_write", "p_read"):
            require_probability(name, getattr(self, name))
        require(
            threshold(self.p_write) + threshold(self.p_read) <= 2**32,
            "p_write + p_read",
            self.p_write + self.p_read,
            "at most 1",
        )

    @classmethod
    def from_p_ignore(cls, p_ignore: float, length: int = 512, symbols: int = 2) -> "FFL":
        """Returns FFL(p_ignore): writes and reads have equal probability."""
        require_probability("p_ignore", p_ignore)
        return cls(length, (1 - p_ignore) / 2, (1 - p_ignore) / 2, symbols)

    @classmethod
    def from_parameters(
        cls, length: int, symbols: int, p_ignore: float | None, p_write: float | None, p_read: float | None
    ) -> "FFL":
        """Creates FFL from p_ignore, from p_write and p_read, or from none of them (FFL(0.8), as in the paper)."""
        both = p_write is not None and p_read is not None
        neither = p_write is None and p_read is None
        require(both or neither, "p_write, p_read", (p_write, p_read), "given together")
        require(neither or p_ignore is None, "p_ignore", p_ignore, "omitted if p_write and p_read are given")
        if p_write is not None and p_read is not None:
            return cls(length, p_write, p_read, symbols)
        return cls.from_p_ignore(0.8 if p_ignore is None else p_ignore, length, symbols)

    def probabilities(self) -> npt.NDArray[np.float64]:
        return np.array([[[self.p_write, self.p_read]]])

    def key(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "write": threshold(self.p_write),
            "read": threshold(self.p_read),
            "symbols": self.symbols,
        }


@dataclass(frozen=True)
class Mixture(Distribution):
    """Equal mixture of several FFL of the same length and symbols. Each string follows one component.

    The mixture of section 4 is FFL(0.8), FFL(0.98) and FFL(0.1). List a component twice to double its weight.
    """

    components: tuple[FFL, ...]

    def __post_init__(self) -> None:
        require(len(self.components) > 0, "components", self.components, "at least one FFL")
        kinds = {(ffl.length, ffl.symbols) for ffl in self.components}
        require(len(kinds) == 1, "components", kinds, "of one length and one number of symbols")

    @property
    def length(self) -> int:  # type: ignore[override]
        """Length of the strings."""
        return self.components[0].length

    @property
    def symbols(self) -> int:  # type: ignore[override]
        """Number of data symbols."""
        return self.components[0].symbols

    def probabilities(self) -> npt.NDArray[np.float64]:
        return np.concatenate([ffl.probabilities() for ffl in self.components])

    def key(self) -> dict[str, Any]:
        return {"mixture": [ffl.key() for ffl in self.components]}


@dataclass(frozen=True)
class Piecewise(Distribution):
    """Strings that follow `head`, then `tail`. Their lengths add up."""

    head: FFL
    tail: FFL

    def __post_init__(self) -> None:
        require(self.head.symbols == self.tail.symbols, "symbols", (self.head.symbols, self.tail.symbols), "equal")

    @property
    def length(self) -> int:  # type: ignore[override]
        """Length of the strings."""
        return self.head.length + self.tail.length

    @property
    def symbols(self) -> int:  # type: ignore[override]
        """Number of data symbols."""
        return self.head.symbols

    def probabilities(self) -> npt.NDArray[np.float64]:
        parts = [np.repeat(part.probabilities(), part.instructions, axis=1) for part in (self.head, self.tail)]
        return np.concatenate(parts, axis=1)

    def key(self) -> dict[str, Any]:
        return {"head": self.head.key(), "tail": self.tail.key()}


def float_fields(config: Any) -> None:
    """Converts the probabilities of a frozen config to floats, so that 1 and 1.0 give the same fingerprint."""
    for name in ("p_ignore", "p_write", "p_read", "p_ignore_head", "p_ignore_tail"):
        value = getattr(config, name, None)
        if value is not None:
            converted = tuple(map(float, value)) if isinstance(value, tuple) else float(value)
            object.__setattr__(config, name, converted)


def require_probability(name: str, value: object) -> None:
    """Raises ParameterError unless `value` is a number from 0 to 1."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and 0 <= value <= 1, name, value, "a probability from 0 to 1")  # type: ignore[operator]


def collision_probability(first: Distribution, second: Distribution) -> float:
    """Returns the probability that strings drawn from the two distributions are equal.

    If two strings agree so far, their next instruction and symbol agree with probability
    (w w' + i i') / symbols + r r': the symbol of a read is determined by the latest write.
    """
    kinds = {(first.length, first.symbols), (second.length, second.symbols)}
    require(len(kinds) == 1, "length and symbols", kinds, "the same in both distributions")
    total = 0.0
    for a in first.probabilities():
        for b in second.probabilities():
            p, q = (np.broadcast_to(part, (first.instructions, 2))[1:-1] for part in (a, b))
            ignores = (1 - p.sum(axis=1)) * (1 - q.sum(axis=1))
            agree = (p[:, 0] * q[:, 0] + ignores) / first.symbols + p[:, 1] * q[:, 1]
            total += float(np.prod(agree)) / first.symbols
    return total / (len(first.probabilities()) * len(second.probabilities()))
