"""Base classes of tasks: prompts, observations, targets, groups, baselines.

A task is one class in its own file in `harness.tasks`, where the registry finds it. Its base class is its kind of
observation: reads, choices, completions or dialogues.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
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
    """A task's membership in a suite.

    since: first version of the suite. rows: maximum number of rows of each split, None for all, 0 if the task has left
    the suite.
    """

    since: int
    rows: int | None = None


Suites = Mapping[str, tuple[Membership, ...]]
ConfigT = TypeVar("ConfigT", bound=Config)


class Task(ABC, Generic[ConfigT]):
    """The declarations of a task. `version` changes with every change of prompts or scoring.

    order: position in tables and pages, ascending. group: heading of its columns on the site. suites: memberships by
    suite, oldest first; a suite version that a record names must not change.

    same_prompts_since: first version with the prompts of this version, whose outputs can be scored by current rules;
    None for this version only. parameters: defaults of its data config, which `--set` overrides. headline_groups:
    groups with a line in the table of scores. renderings: values of `--set TASK.rendering=`, the default first.
    rendering: the one in use.
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
        """The task with another rendering. Raises UserError for an unknown one."""
        if rendering not in self.renderings:
            raise UserError(
                f"there is no rendering {rendering!r}: --set {self.name}.rendering takes {', '.join(self.renderings)}"
                + did_you_mean(str(rendering), self.renderings)
            )
        other = copy(self)
        other.rendering = str(rendering)
        return other

    def has_same_prompts(self, version: object) -> bool:
        """Whether a version of this task, current or older, has the same prompts."""
        first = self.version if self.same_prompts_since is None else self.same_prompts_since
        return type(version) is int and first <= version <= self.version

    @abstractmethod
    def texts(self, rows: pa.Table) -> list[str]:
        """The text of each row, without the instructions and examples of its prompt."""

    def costs(self, rows: pa.Table) -> Ints:
        """The approximate number of characters that the model processes for each row, int64 (rows,)."""
        return np.array([len(text) for text in self.texts(rows)], dtype=np.int64)

    def advice(self, config: ConfigT, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        """The data sizes that fit the context, with the option that sets them; "" if none fits."""
        return ""


@dataclass(frozen=True)
class Targets:
    """The reads of some rows, in order of row and position; int64 arrays of one length.

    row: index into the rows. position: index of the answer in the sequence. offset: character offset of the answer in
    the row's text. gap: instructions since the write. target: index of the correct symbol. baselines: by name, whether
    a baseline is correct (float64); chance and the most frequent symbol are always added.
    """

    row: Ints
    position: Ints
    offset: Ints
    gap: Ints
    target: Ints
    baselines: dict[str, Floats] = field(default_factory=dict)


class ReadTask(Task[ConfigT]):
    """A task whose answers are inside the text, scored in one teacher-forced forward pass."""

    @abstractmethod
    def symbols(self, config: ConfigT) -> tuple[str, ...]:
        """The possible answers, as in the text."""

    @abstractmethod
    def targets(self, rows: pa.Table) -> Targets:
        """The positions of the answers in the rows, and their targets."""

    def groups(self, config: ConfigT, position: Ints, gap: Ints) -> dict[str, Bools]:
        """Groups of reads that are scored separately, by name: distance to the write, in octaves."""
        octaves, low = {}, 1
        while low <= gap.max(initial=0):
            octaves[f"gap={low}" if low == 1 else f"gap={low}-{2 * low - 1}"] = (gap >= low) & (gap < 2 * low)
            low *= 2
        return {name: members for name, members in octaves.items() if members.any()}


class ChoiceTask(Task[Config]):
    """A task whose text is completed by one of many candidates, each scored as a continuation."""

    def costs(self, rows: pa.Table) -> Ints:
        return super().costs(rows) * np.array([len(endings) for endings in self.candidates(rows)], dtype=np.int64)

    @abstractmethod
    def candidates(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """The candidates of each row, each with its leading space."""

    @abstractmethod
    def target(self, rows: pa.Table) -> Ints:
        """The index of the correct candidate of each row."""

    @abstractmethod
    def facts(self, rows: pa.Table) -> Ints:
        """The index of each row's fact; rows about the same fact are not independent and form a cluster."""

    @abstractmethod
    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        """Groups of rows that are scored separately, by name."""


class CompletionTask(Task[Config]):
    """A task whose answer is generated text."""

    wording: ClassVar[Wording]

    def texts(self, rows: pa.Table) -> list[str]:
        return [str(question) for question in rows["question"].to_pylist()]

    def max_new_tokens(self, chat: bool) -> int:
        """The token limit of an answer, without thinking."""
        return self.wording.chat_tokens if chat else self.wording.plain_tokens

    def is_complete(self, text: str) -> bool:
        """Whether the output of a base model contains the whole answer, so that generation can stop."""
        return is_complete(text)

    def complete_part(self, text: str) -> str:
        """The part of a base model's output that belongs to the answer."""
        return first_line(text)

    @abstractmethod
    def answers(self, rows: pa.Table) -> list[str]:
        """The targets as text, as in few-shot examples."""

    def few_shot_eligible(self, rows: pa.Table) -> Bools:
        """Which training rows can be few-shot examples; bool (rows,)."""
        return np.ones(rows.num_rows, dtype=bool)

    def leakage_keys(self, rows: pa.Table) -> list[str]:
        """A key per row that a few-shot example must not share with any evaluated row."""
        return self.texts(rows)

    @abstractmethod
    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        """Groups of rows that are scored separately, by name."""


class NumberTask(CompletionTask):
    """A task whose answer is an integer, the column `answer`."""

    wording = NUMBER

    def answers(self, rows: pa.Table) -> list[str]:
        return [str(number) for number in self.target(rows).tolist()]

    def target(self, rows: pa.Table) -> Ints:
        """The target of each row, int64 (rows,)."""
        return np.asarray(rows["answer"], dtype=np.int64)

    def read(self, output: str, cut_off: bool) -> ParsedCount:
        """Parses the number in an answer."""
        return _parsed(output, cut_off)


@lru_cache(maxsize=4096)
def _parsed(output: str, cut_off: bool) -> ParsedCount:
    """Parses an answer. Cached, because most answers are one of few numbers, and tables are graded repeatedly."""
    return parse(output, cut_off)


class HistogramTask(CompletionTask):
    """A task whose answer is a JSON object: the number of occurrences of each letter in a word."""

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
        """The counts of the letters that occur, per row."""

    def read(self, output: str, cut_off: bool) -> ParsedHistogram:
        """Parses the counts in an answer."""
        return parse_histogram(output, cut_off)


class DialogueTask(NumberTask):
    """A question, followed by the same challenge after every answer."""

    challenge: ClassVar[str]
    challenges: ClassVar[int]

    def costs(self, rows: pa.Table) -> Ints:
        return super().costs(rows) * (1 + self.challenges)


def column(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as a numpy array."""
    return np.asarray(rows[name].to_pylist())


def group_by(name: str, values: npt.NDArray[Any] | Sequence[Any]) -> dict[str, Bools]:
    """Groups of rows by value: `name=value` for each value that occurs."""
    array = np.asarray(values)
    return {f"{name}={value}": array == value for value in np.unique(array).tolist()}
