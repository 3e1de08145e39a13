"""What a config is: a frozen, validated set of parameters that can make any of its rows."""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.names import did_you_mean
from fflm_data.version import GENERATOR_VERSION


class ParameterError(ValueError):
    """A parameter outside its allowed range; the message names parameter, value and range."""


def require(condition: bool, parameter: str, value: object, allowed: str, known: Iterable[str] = ()) -> None:
    """Raises ParameterError unless `condition` holds. known: names, one of which may have been meant."""
    if not condition:
        near = did_you_mean(str(value), known)
        raise ParameterError(f"{parameter}={value!r} is out of range: {parameter} must be {allowed}{near}")


def require_integer(parameter: str, value: object, low: int, high: int | None = None) -> None:
    """Raises ParameterError unless `value` is an integer of low..high (no upper end if None)."""
    allowed = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    require(is_integer and low <= value and (high is None or value <= high), parameter, value, allowed)  # type: ignore[operator]


def integer_list(record: Any, parameter: str, low: int, high: int | None = None, least: int = 1) -> tuple[int, ...]:
    """Makes a field of a frozen dataclass a tuple of different integers of low..high; one alone stands for a list.

    Raises ParameterError if it holds anything else, or fewer than `least`.
    """
    values = getattr(record, parameter)
    values = (values,) if isinstance(values, int) else values
    require(isinstance(values, tuple) and len(values) >= least, parameter, values, "a list of integers")
    for value in values:
        require_integer(parameter, value, low, high)
    require(len(set(values)) == len(values), parameter, values, "free of repetition")
    object.__setattr__(record, parameter, values)
    return tuple(values)


def require_index(parameter: str, value: Any) -> int:
    """A number of rows or the like, of Python or numpy, as Python's; raises ParameterError unless it is at least 0."""
    value = plain(value)
    require_integer(parameter, value, 0)
    return int(value)


def plain(value: Any) -> Any:
    """Numpy's numbers as Python's, and arrays, ranges and lists as tuples: what can be hashed and written as JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | range | np.ndarray):
        return tuple(map(plain, value))
    return value


def plain_fields(record: Any) -> None:
    """Makes the fields of a frozen dataclass `plain`."""
    for field in dataclasses.fields(record):
        object.__setattr__(record, field.name, plain(getattr(record, field.name)))


def answers(rows: pa.Table) -> npt.NDArray[Any]:
    """The column `answer`: int64, or text as objects."""
    return np.asarray(rows["answer"].to_pylist(), dtype=None if pa.types.is_integer(rows["answer"].type) else object)


def majority(answers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The most frequent answer (the smallest of several), for every row."""
    values, counts = np.unique(answers, return_counts=True)
    return np.full_like(answers, values[np.argmax(counts)])


@lru_cache(maxsize=8)
def _block(config: "Config", split: str, number: int) -> pa.Table:
    """A block with its ids; the last few are kept, so that row after row, run after run, does not draw them again."""
    block = config.block(split, number)
    first = number * config.block_rows(split)
    ids = pa.array(range(first, first + block.num_rows), pa.int64())
    return block.add_column(0, "id", ids).cast(config.schema)


@dataclass(frozen=True)
class Config(ABC):
    """Base of the configs. Subclasses add parameters and say how a block of rows is made.

    A block is the unit of seeding: its rows are drawn together from one random stream. Blocks are
    numbered within a split and all but the last have `block_rows(split)` rows.
    """

    seed: int = 0

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    licence: ClassVar[str] = "mit"
    schema: ClassVar[pa.Schema]

    def __post_init__(self) -> None:
        plain_fields(self)
        require_integer("seed", self.seed, 0, 2**63 - 1)
        self.validate()

    @abstractmethod
    def validate(self) -> None:
        """Raises ParameterError if a parameter is out of range."""

    @abstractmethod
    def splits(self) -> dict[str, int]:
        """Names of the splits and their numbers of rows."""

    @abstractmethod
    def block_rows(self, split: str) -> int:
        """Rows in a block of the split."""

    @abstractmethod
    def block(self, split: str, number: int) -> pa.Table:
        """All rows of one block, by `schema` without the column `id`."""

    def baseline_predictions(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        """By name, what baselinees answer to the rows, by the column `answer`."""
        return {"majority": majority(answers(rows))}

    def baselines(self, split: str) -> dict[str, float]:
        """By name, the accuracy of baselinees on a test split."""
        rows = self.table(split)
        target = answers(rows)
        return {
            name: float((prediction == target).mean()) for name, prediction in self.baseline_predictions(rows).items()
        }

    def parameters(self) -> dict[str, Any]:
        """The parameters by name, as JSON knows them."""
        values = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def changed_parameters(self) -> dict[str, Any]:
        """The parameters that differ from the default config's."""
        defaults = type(self)().parameters()
        return {key: value for key, value in self.parameters().items() if value != defaults[key]}

    def fingerprint(self) -> str:
        """16 hex digits that change with the generator version, the config or a parameter."""
        text = json.dumps([GENERATOR_VERSION, self.name, self.parameters()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def blocks(self, split: str) -> int:
        """The number of blocks of a split."""
        return -(-self.rows(split) // self.block_rows(split))

    def rows(self, split: str) -> int:
        """The number of rows of a split. Raises ParameterError for a split that is not there."""
        splits = self.splits()
        require(split in splits, "split", split, f"one of {', '.join(splits)} for {self.name}", splits)
        return splits[split]

    def tables(self, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Rows start..stop-1 of a split, block by block, with the column `id` first.

        The rows are the same wherever they are asked for; memory stays at a few blocks.
        """
        total = self.rows(split)
        start = require_index("start", start)
        stop = total if stop is None else min(require_index("stop", stop), total)
        size = self.block_rows(split)
        for number in range(start // size, -(-stop // size)):
            first = number * size
            block = _block(self, split, number)
            begin, end = max(start - first, 0), min(stop - first, block.num_rows)
            yield block.slice(begin, end - begin)

    def table(self, split: str, start: int = 0, stop: int | None = None) -> pa.Table:
        """Rows start..stop-1 of a split as one table."""
        return pa.concat_tables([self.schema.empty_table(), *self.tables(split, start, stop)])
