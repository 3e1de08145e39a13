"""Rows of the table: entries (a row of one model), their cells, retired records.

Texts are unescaped, as in the records. The templates escape them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from harness.models.model_name import variant
from harness.tasks import get_task
from leaderboard.site.sources import Source, Training
from leaderboard.verification_level import LEVELS, VerificationLevel

MEMORY_TASK = "flipflop"

Place = tuple[str, str]  # task and split


@dataclass(frozen=True)
class PromptingOptions:
    """Prompting of a row: chat template, number of few-shot examples, system prompt, tokens for thinking."""

    chat: bool = False
    shots: int = 0
    system: str | None = None
    thinking: int = 0

    @property
    def description(self) -> str:
        """A description, "" for a plain prompt."""
        parts = [
            "chat template" if self.chat else "",
            f"{self.shots} few-shot examples" if self.shots else "",
            f"system prompt {self.system!r}" if self.system is not None else "",
            f"up to {self.thinking:,} tokens of thinking" if self.thinking else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Cell:
    """A score from one source, over the first `rows` of `split_rows` rows. baseline, baseline_name: accuracy and name
    of the best baseline. non_finite: number of excluded answers with non-finite logits."""

    task: str
    split: str
    value: float
    low: float
    high: float
    errors: int
    n: int
    baseline: float
    baseline_name: str
    skill: float | None
    rows: int
    split_rows: int
    non_finite: int
    source: Source

    @property
    def partial(self) -> bool:
        """Whether it is over the first rows only."""
        return self.rows < self.split_rows

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval."""
        return self.low, self.high

    @property
    def against_baseline(self) -> str:
        """Position relative to the best baseline: "above", "below", or "near" if the interval includes it."""
        return "above" if self.low > self.baseline else "below" if self.high < self.baseline else "near"


class AnyCell(Protocol):
    """A cell of one model or of several seeds."""

    @property
    def task(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def partial(self) -> bool: ...


AnyCellType = TypeVar("AnyCellType", bound=AnyCell)


def worst_memory(cells: Iterable[AnyCellType]) -> AnyCellType | None:
    """Returns the flip-flop cell with the lowest accuracy; over the first rows only if there is no whole one."""
    flipflop = [cell for cell in cells if cell.task == MEMORY_TASK]
    full = [cell for cell in flipflop if not cell.partial]
    return min(full or flipflop, key=lambda cell: (cell.value, cell.low), default=None)


def is_whole_memory(cells: Iterable[AnyCell]) -> bool:
    """Returns whether all splits of the flip-flop are there, and whole."""
    full = {cell.split for cell in cells if cell.task == MEMORY_TASK and not cell.partial}
    return full == set(get_task(MEMORY_TASK).splits)


@dataclass(frozen=True)
class Gap:
    """Accuracy on public rows minus that on fresh rows, with its interval. date: of the attestation."""

    task: str
    split: str
    value: float
    low: float
    high: float
    date: str


@dataclass(frozen=True)
class RetiredRecord:
    """A record that no longer counts, with the reason."""

    source: Source
    reason: str


@dataclass(frozen=True)
class Entry:
    """A row. model: from its latest source. sources: those of its cells, oldest first. gaps: latest comparison with
    fresh rows by place."""

    slug: str
    model: dict[str, Any]
    prompting: PromptingOptions
    cells: dict[Place, Cell]
    sources: tuple[Source, ...]
    history: tuple[RetiredRecord, ...]
    gaps: dict[Place, Gap]
    seeds: ClassVar[tuple["Entry", ...]] = ()  # only a row of several seeds has them

    @property
    def page(self) -> str:
        """Path of its page."""
        return f"models/{self.slug}.html"

    @property
    def name(self) -> str:
        """Model id."""
        return str(self.model["id"])

    @property
    def training(self) -> Training | None:
        """How it was trained; None if no source states it, or if sources contradict each other."""
        stated = [source.run.facts["model"].get("training") for source in self.sources]
        distinct = {json.dumps(each, sort_keys=True): each for each in stated if each is not None}
        return Training(**next(iter(distinct.values()))) if len(distinct) == 1 else None

    @property
    def is_local_run(self) -> bool:
        """Whether it has a run that is not a record."""
        return any(source.place is None for source in self.sources)

    @property
    def division(self) -> str:
        """Its division, YOUR_RUN for a local run."""
        return self.sources[-1].division

    @property
    def external(self) -> bool:
        """Whether it has external outputs, which cannot be replayed."""
        return any(source.run.external for source in self.sources)

    @property
    def verification(self) -> VerificationLevel:
        """The lowest level of its sources; disputed if one of them is."""
        levels = [source.verification for source in self.sources]
        lowest = min(levels, key=lambda verification: LEVELS.index(verification.level))
        disputed = next((source.verification.disputed for source in self.sources if source.verification.disputed), "")
        return VerificationLevel(lowest.level, lowest.evidence, disputed)

    @property
    def partial(self) -> bool:
        """Whether all of its cells are over the first rows only."""
        return all(cell.partial for cell in self.cells.values())

    @property
    def memory(self) -> Cell | None:
        """The flip-flop split with the lowest accuracy; over the first rows only if there is no whole split."""
        return worst_memory(self.cells.values())

    @property
    def whole_memory(self) -> Cell | None:
        """The same, if all splits are whole: a memory is as good as its worst split."""
        return self.memory if is_whole_memory(self.cells.values()) else None

    @property
    def memory_interval(self) -> tuple[float, float] | None:
        """Interval of the whole memory."""
        return self.whole_memory.interval if self.whole_memory else None

    @property
    def largest_gap(self) -> Gap | None:
        """The gap whose interval has the highest lower end."""
        return max(self.gaps.values(), key=lambda gap: (gap.low, gap.value), default=None)

    @property
    def variant(self) -> str:
        """How it was loaded: GGUF file, quantization, adapter; "" if as published."""
        return variant(self.model)

    @property
    def family(self) -> str:
        """Its architecture without the common suffix of class names; the organisation if the class is unknown."""
        name = self.model.get("class")
        if not isinstance(name, str) or not name:
            return str(self.model["id"]).split("/", maxsplit=1)[0][:40]
        return re.sub(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration)$", "", name)[:40] or name[:40]
