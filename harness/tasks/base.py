"""What a task is: how rows become prompts, which observations it wants, what is trivial to score.

A task is one class in a file of its own in `harness.tasks`; the registry finds it there.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config
from harness.answers import is_complete

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Task(ABC):
    """What all tasks declare. `version` changes with anything that changes a prompt or what is scored."""

    name: ClassVar[str]
    version: ClassVar[int]
    config: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]

    @abstractmethod
    def texts(self, rows: pa.Table) -> list[str]:
        """What the model reads, a text a row."""

    @abstractmethod
    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        """Which sizes fit a context that is too short, and the option that sets them; "" if none does."""


@dataclass(frozen=True)
class Targets:
    """The reads of some rows, in order of row and position; int64 arrays of one length.

    row: index into the rows. position: index of the answer in the sequence. offset: the character of
    the row's text at which the answer stands. gap: instructions since the write. gold: index of the
    right symbol. baselines: by name, whether a trivial guess is right (float64; beside chance).
    """

    row: Ints
    position: Ints
    offset: Ints
    gap: Ints
    gold: Ints
    baselines: dict[str, Floats]


class ReadTask(Task):
    """Answers stand inside the text and are read off one teacher-forced pass over it."""

    @abstractmethod
    def symbols(self, config: Config) -> tuple[str, ...]:
        """The possible answers, as they stand in the text."""

    @abstractmethod
    def targets(self, rows: pa.Table) -> Targets:
        """Where in the rows the answers stand, and what is right there."""


class CompletionTask(Task):
    """The answer is what the model writes after the text: a number."""

    max_new_tokens: ClassVar[int] = 16

    def texts(self, rows: pa.Table) -> list[str]:
        return [
            f"Question: {question}\nAnswer with a number only.\nAnswer:" for question in rows["question"].to_pylist()
        ]

    def is_complete(self, text: str) -> bool:
        """Whether nothing that is written after `text` can belong to the answer."""
        return is_complete(text)

    def gold(self, rows: pa.Table) -> Ints:
        """The right number of each row."""
        return np.asarray(rows["answer"], dtype=np.int64)

    @abstractmethod
    def groups(self, rows: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
        """By name, the parts of the rows that are also scored apart."""


def column(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as a numpy array."""
    return np.asarray(rows[name].to_pylist())
