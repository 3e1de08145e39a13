"""What a task is: how rows become prompts, which observations it wants, what its baselines are.

A task is one class in a file of its own in `harness.tasks`; the registry finds it there. Its base says
which kind of observation it wants: reads, choices, completions or dialogues.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.answers import ParsedCount, ParsedHistogram, first_line, is_complete, parse, parse_histogram
from fflm_data.arrays import Bools, Floats, Ints
from fflm_data.config import Config
from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.tasks.wording import HISTOGRAM, NUMBER, Wording

# An object, or a list of them.
_OPENS_JSON = re.compile(r"[\[{]")
_CLOSES = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Membership:
    """A task's part in a suite, from one version of the suite on.

    since: the first version of the suite. rows: how many rows of each split at most, None for all, 0 for a task that
    has left the suite.
    """

    since: int
    rows: int | None = None


Suites = Mapping[str, tuple[Membership, ...]]
ConfigT = TypeVar("ConfigT", bound=Config)


class Task(ABC, Generic[ConfigT]):
    """What all tasks declare. `version` changes with anything that changes a prompt or what is scored.

    order: the place of the task in tables and pages, ascending. group: the heading of its columns on the site. suites:
    by name of a suite, the task's memberships, the oldest first; a version of a suite that records name never changes.

    same_prompts_since: the first version that asks what this one asks, so that what was said to it can be read again
    by the rules of today; None for this version alone. parameters: what it sets of its data config, unless `--set`
    says otherwise. headline_groups: groups that have a line of their own in the table of scores. renderings: the ways
    to write a row that `--set TASK.rendering=` takes, the default first; rendering: the one that is used.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    config: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    same_prompts_since: ClassVar[int | None] = None
    parameters: ClassVar[Mapping[str, Any]] = {}
    order: ClassVar[int]
    group: ClassVar[str]
    suites: ClassVar[Suites]
    headline_groups: ClassVar[tuple[str, ...]] = ()
    renderings: ClassVar[tuple[str, ...]] = ("",)

    def __init__(self) -> None:
        self.rendering = self.renderings[0]

    def rendered(self, rendering: object) -> "Task[ConfigT]":
        """The same task with its rows written another way. Raises UserError for one that it does not have."""
        if rendering not in self.renderings:
            raise UserError(
                f"there is no rendering {rendering!r}: --set {self.name}.rendering takes {', '.join(self.renderings)}"
                + did_you_mean(str(rendering), self.renderings)
            )
        other = copy(self)
        other.rendering = str(rendering)
        return other

    def asks_as(self, version: object) -> bool:
        """Whether a version of this task asks the same, this one or an older one."""
        first = self.version if self.same_prompts_since is None else self.same_prompts_since
        return type(version) is int and first <= version <= self.version

    @abstractmethod
    def texts(self, rows: pa.Table) -> list[str]:
        """What the model is given of each row, without what surrounds it in a prompt."""

    def costs(self, rows: pa.Table) -> Ints:
        """About how many characters the model reads and writes for each row."""
        return np.array([len(text) for text in self.texts(rows)], dtype=np.int64)

    def advice(self, config: ConfigT, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        """Which sizes fit a context that is too short, and the option that sets them; "" if none does."""
        return ""


@dataclass(frozen=True)
class Targets:
    """The reads of some rows, in order of row and position; int64 arrays of one length.

    row: index into the rows. position: index of the answer in the sequence. offset: the character of
    the row's text at which the answer stands. gap: instructions since the write. target: index of the
    right symbol. baselines: by name, whether a baseline is right (float64; beside chance and the
    majority).
    """

    row: Ints
    position: Ints
    offset: Ints
    gap: Ints
    target: Ints
    baselines: dict[str, Floats] = field(default_factory=dict)


class ReadTask(Task[ConfigT]):
    """Answers stand inside the text and are read off one teacher-forced pass over it."""

    @abstractmethod
    def symbols(self, config: ConfigT) -> tuple[str, ...]:
        """The possible answers, as they stand in the text."""

    @abstractmethod
    def targets(self, rows: pa.Table) -> Targets:
        """Where in the rows the answers stand, and what is right there."""

    def groups(self, config: ConfigT, position: Ints, gap: Ints) -> dict[str, Bools]:
        """By name, the parts of the reads that are also scored apart: here the distance to the write, in octaves."""
        found, low = {}, 1
        while low <= gap.max(initial=0):
            found[f"gap={low}" if low == 1 else f"gap={low}-{2 * low - 1}"] = (gap >= low) & (gap < 2 * low)
            low *= 2
        return {name: inside for name, inside in found.items() if inside.any()}


class ChoiceTask(Task[Config]):
    """One of many candidates ends a text; each is scored as a continuation of its own."""

    def costs(self, rows: pa.Table) -> Ints:
        return super().costs(rows) * np.array([len(endings) for endings in self.candidates(rows)], dtype=np.int64)

    @abstractmethod
    def candidates(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """What may end each row's text, the space before it included."""

    @abstractmethod
    def target(self, rows: pa.Table) -> Ints:
        """The index of the right candidate of each row."""

    @abstractmethod
    def facts(self, rows: pa.Table) -> Ints:
        """Which fact each row is about, numbered; rows about one are no independent draws."""

    @abstractmethod
    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        """By name, the parts of the rows that are also scored apart."""


class CompletionTask(Task[Config]):
    """The answer is what the model writes after a question."""

    wording: ClassVar[Wording]

    def texts(self, rows: pa.Table) -> list[str]:
        return [str(question) for question in rows["question"].to_pylist()]

    def max_new_tokens(self, chat: bool) -> int:
        """How much an answer may take, thinking not counted."""
        return self.wording.chat_tokens if chat else self.wording.plain_tokens

    def is_complete(self, text: str) -> bool:
        """Whether nothing that is written after `text`, without a chat template to end it, can belong to the answer."""
        return is_complete(text)

    def complete_part(self, text: str) -> str:
        """What of an output, without a chat template to end it, belongs to the answer."""
        return first_line(text)

    @abstractmethod
    def answers(self, rows: pa.Table) -> list[str]:
        """The right answers as a demonstration gives them."""

    def few_shot_eligible(self, rows: pa.Table) -> Bools:
        """Which rows, of the train side, are fit to be demonstrations; bool (rows,)."""
        return np.ones(rows.num_rows, dtype=bool)

    def leakage_keys(self, rows: pa.Table) -> list[str]:
        """What a demonstration must not share with any row that is asked."""
        return self.texts(rows)

    @abstractmethod
    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        """By name, the parts of the rows that are also scored apart."""


class NumberTask(CompletionTask):
    """The answer is an integer, the column `answer`."""

    wording = NUMBER

    def answers(self, rows: pa.Table) -> list[str]:
        return [str(number) for number in self.target(rows).tolist()]

    def target(self, rows: pa.Table) -> Ints:
        """The right number of each row."""
        return np.asarray(rows["answer"], dtype=np.int64)

    def read(self, output: str, cut_off: bool) -> ParsedCount:
        """The number that an answer says."""
        return parse(output, cut_off)


class HistogramTask(CompletionTask):
    """The answer is a JSON object: how often each letter occurs in a word."""

    wording = HISTOGRAM

    def is_complete(self, text: str) -> bool:
        opening = _OPENS_JSON.search(text)
        return _CLOSES[opening[0]] in text[opening.end() :] if opening else super().is_complete(text)

    def complete_part(self, text: str) -> str:
        opening = _OPENS_JSON.search(text)
        if not opening:
            return super().complete_part(text)
        end = text.find(_CLOSES[opening[0]], opening.end())
        return text if end < 0 else text[: end + 1]

    def answers(self, rows: pa.Table) -> list[str]:
        return [json.dumps(counts) for counts in self.target(rows)]

    @abstractmethod
    def target(self, rows: pa.Table) -> list[dict[str, int]]:
        """The counts of the letters that occur, by row."""

    def read(self, output: str, cut_off: bool) -> ParsedHistogram:
        """The counts that an answer says."""
        return parse_histogram(output, cut_off)


class DialogueTask(NumberTask):
    """A question, then the same challenge again and again, whatever the answer."""

    challenge: ClassVar[str]
    challenges: ClassVar[int]

    def costs(self, rows: pa.Table) -> Ints:
        return super().costs(rows) * (1 + self.challenges)


def column(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as a numpy array."""
    return np.asarray(rows[name].to_pylist())


def group_by(name: str, values: npt.NDArray[Any] | Sequence[Any]) -> dict[str, Bools]:
    """Rows by the value of something: `name=value` for each that occurs."""
    array = np.asarray(values)
    return {f"{name}={value}": array == value for value in np.unique(array).tolist()}
