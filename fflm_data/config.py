"""Base class of the data configs: frozen, validated parameters that determine every row."""

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

from fflm_data.suggestions import did_you_mean
from fflm_data.version import GENERATOR_VERSION


class ParameterError(ValueError):
    """A parameter outside its allowed range; the message names parameter, value and range."""


def require(condition: bool, parameter: str, value: object, allowed: str, known: Iterable[str] = ()) -> None:
    """Raises ParameterError unless `condition` holds. known: valid names, for a spelling suggestion."""
    if not condition:
        near = did_you_mean(str(value), known)
        raise ParameterError(f"{parameter}={value!r} is out of range: {parameter} must be {allowed}{near}")


def require_integer(parameter: str, value: object, low: int, high: int | None = None) -> None:
    """Raises ParameterError unless `value` is an integer in low..high (None: no upper bound)."""
    allowed = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    require(is_integer and low <= value and (high is None or value <= high), parameter, value, allowed)  # type: ignore[operator]


def normalize_integers(
    record: Any, parameter: str, low: int, high: int | None = None, least: int = 1
) -> tuple[int, ...]:
    """Converts a field of a frozen dataclass to a tuple of distinct integers in low..high. A single integer is allowed.

    Raises ParameterError for other values, or for fewer than `least` integers.
    """
    values = getattr(record, parameter)
    values = (values,) if isinstance(values, int) else values
    require(isinstance(values, tuple) and len(values) >= least, parameter, values, "a list of integers")
    for value in values:
        require_integer(parameter, value, low, high)
    require(len(set(values)) == len(values), parameter, values, "free of duplicates")
    object.__setattr__(record, parameter, values)
    return tuple(values)


def require_index(parameter: str, value: Any) -> int:
    """Converts a Python or numpy integer to a Python integer. Raises ParameterError unless it is at least 0."""
    value = to_python(value)
    require_integer(parameter, value, 0)
    return int(value)


def to_python(value: Any) -> Any:
    """Converts numpy scalars to Python numbers, and arrays, ranges and lists to tuples (hashable, valid in JSON)."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | range | np.ndarray):
        return tuple(map(to_python, value))
    return value


def normalize_fields(record: Any) -> None:
    """Applies `to_python` to all fields of a frozen dataclass."""
    for field in dataclasses.fields(record):
        object.__setattr__(record, field.name, to_python(getattr(record, field.name)))


def answer_column(rows: pa.Table) -> npt.NDArray[Any]:
    """Returns the column `answer` as an array, int64 or object (strings)."""
    return np.asarray(rows["answer"].to_pylist(), dtype=None if pa.types.is_integer(rows["answer"].type) else object)


def majority(answers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Predicts the most frequent answer (ties: the smallest) for every row."""
    values, counts = np.unique(answers, return_counts=True)
    return np.full_like(answers, values[np.argmax(counts)])


@lru_cache(maxsize=8)
def _block(config: "Config", split: str, number: int) -> pa.Table:
    """Returns a block with the column `id`. The cache avoids regenerating a block for every row read from it."""
    block = config.block(split, number)
    first = number * config.block_rows(split)
    ids = pa.array(range(first, first + block.num_rows), pa.int64())
    return block.add_column(0, "id", ids).cast(config.schema)


@dataclass(frozen=True)
class Config(ABC):
    """Base class of the configs. Subclasses add parameters and generate blocks of rows.

    A block is the unit of seeding: its rows are drawn from one random stream. Blocks are numbered
    within a split, and all but the last have `block_rows(split)` rows.
    """

    seed: int = 0

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    licence: ClassVar[str] = "mit"
    schema: ClassVar[pa.Schema]

    def __post_init__(self) -> None:
        normalize_fields(self)
        require_integer("seed", self.seed, 0, 2**63 - 1)
        self.validate()

    @abstractmethod
    def validate(self) -> None:
        """Raises ParameterError if a parameter is out of range."""

    @abstractmethod
    def splits(self) -> dict[str, int]:
        """Returns the number of rows of each split."""

    @abstractmethod
    def block_rows(self, split: str) -> int:
        """Returns the number of rows per block of the split."""

    @abstractmethod
    def block(self, split: str, number: int) -> pa.Table:
        """Returns all rows of a block, with the columns of `schema` except `id`."""

    def baseline_predictions(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        """Returns the predictions of each baseline for the rows, computed from the column `answer`."""
        return {"majority": majority(answer_column(rows))}

    def baselines(self, split: str) -> dict[str, float]:
        """Returns the accuracy of each baseline on a split."""
        rows = self.table(split)
        target = answer_column(rows)
        return {
            name: float((prediction == target).mean()) for name, prediction in self.baseline_predictions(rows).items()
        }

    def parameters(self) -> dict[str, Any]:
        """Returns the parameters as JSON-serializable values."""
        values = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def changed_parameters(self) -> dict[str, Any]:
        """Returns the parameters that differ from the defaults."""
        defaults = type(self)().parameters()
        return {key: value for key, value in self.parameters().items() if value != defaults[key]}

    def fingerprint(self) -> str:
        """Returns 16 hex digits that identify generator version, config and parameters."""
        text = json.dumps([GENERATOR_VERSION, self.name, self.parameters()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def blocks(self, split: str) -> int:
        """Returns the number of blocks of a split."""
        return -(-self.rows(split) // self.block_rows(split))

    def rows(self, split: str) -> int:
        """Returns the number of rows of a split. Raises ParameterError for an unknown split."""
        splits = self.splits()
        require(split in splits, "split", split, f"one of {', '.join(splits)} for {self.name}", splits)
        return splits[split]

    def tables(self, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Yields rows start..stop-1 of a split, block by block, with the column `id` first.

        A row does not depend on `start` and `stop`. Memory stays at a few blocks.
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
        """Returns rows start..stop-1 of a split as one table."""
        return pa.concat_tables([self.schema.empty_table(), *self.tables(split, start, stop)])
