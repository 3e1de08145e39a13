"""What the table is made of: sources (judged records and runs), cells, entries (its rows), past records.

Nothing here has been escaped: texts are as records have them.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from harness.errors import UserError
from harness.models.model_name import is_local, variant
from harness.runs.run import Run
from harness.tasks import get_task
from leaderboard.attestations import REPLAY, Attestation
from leaderboard.site.verified import Findings
from leaderboard.submission import Submission
from leaderboard.verification_level import LEVELS, VerificationLevel

MEMORY_TASK = "flipflop"
YOUR_RUN = "your run"

Place = tuple[str, str]  # task and split


@dataclass(frozen=True)
class PromptingOptions:
    """The options of prompting: chat template, number of few-shot examples, system prompt, tokens for thinking."""

    chat: bool = False
    shots: int = 0
    system: str | None = None
    thinking: int = 0

    @property
    def description(self) -> str:
        """In words, "" for a bare text."""
        parts = [
            "chat template" if self.chat else "",
            f"{self.shots} demonstrations" if self.shots else "",
            f"system prompt {self.system!r}" if self.system is not None else "",
            f"up to {self.thinking:,} tokens to think" if self.thinking else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class ShownTemplate:
    """The chat template of a source. sha256: 64 hex digits. text: "" where an older record does not have it. own:
    whether it is known to be the one of the model's repository at the recorded revision; known: a phrase on that."""

    sha256: str
    text: str
    own: bool
    known: str


@dataclass(frozen=True)
class Source:
    """A record, or a run given beside the records, with what its observations give.

    submission, place, attestations: of records only; place is None for a given run. digest: 64 hex digits of its
    contents. outdated: the version of its data or of a task, if this version cannot regenerate it, and then it has no
    findings; else "". withdrawn: why it no longer counts, by an attestation of it or of a record that it repeats; else
    "".
    """

    run: Run
    findings: Findings
    digest: str
    verification: VerificationLevel
    submission: Submission | None = None
    place: PurePosixPath | None = None
    attestations: tuple[Attestation, ...] = ()
    outdated: str = ""
    withdrawn: str = ""

    @property
    def division(self) -> str:
        """The division that its submission states, or that it is a run of one's own."""
        return YOUR_RUN if self.submission is None else self.submission.division

    @property
    def template(self) -> ShownTemplate | None:
        """What questions went through, None for bare texts and for a service's own."""
        tasks = self.run.facts["data"]["tasks"].values()
        hashes = [one["prompting"]["template"] for one in tasks if one.get("prompting", {}).get("template")]
        if not hashes or self.run.external:
            return None
        model = self.run.facts["model"]
        stated = model.get("chat_template") or {}
        known = ""
        if is_local(model["id"]):
            known = "of somebody's folder, not of a repository"
        elif stated.get("of") == "adapter":
            known = "the adapter's, not that of the model's repository"
        elif not any(one.kind == REPLAY for one in self.attestations):
            known = "not compared with that of the model's repository yet"
        own = known or "that of the model's repository at this revision, by a replay"
        return ShownTemplate(hashes[0], str(stated.get("text", "")), not known, own)

    @property
    def trust(self) -> int:
        """The more has been shown of it, the higher; nothing is lower than a replay that said something else."""
        return -1 if self.verification.disputed else LEVELS.index(self.verification.word)

    @property
    def created(self) -> datetime:
        """When it was begun. Raises UserError if run.json does not say a time."""
        try:
            when = datetime.fromisoformat(self.run.facts["created"].replace("Z", "+00:00"))
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            raise UserError(f"{self.run.folder}/run.json does not say when it was created: delete the folder")
        return when


@dataclass(frozen=True)
class Cell:
    """One score of one model, from one source, over the first `rows` of `of` rows. baseline, baseline_name: accuracy
    and name of the best baseline. lost: answers whose logits were not finite."""

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
    of: int
    lost: int
    source: Source

    @property
    def partial(self) -> bool:
        """Whether it was taken over the first rows only."""
        return self.rows < self.of

    @property
    def against_baseline(self) -> str:
        """How it compares with the best baseline: above, below, or not told apart by the interval."""
        return "above" if self.low > self.baseline else "below" if self.high < self.baseline else "near"


@dataclass(frozen=True)
class Gap:
    """How much better a model does on the public rows than on fresh ones, with its interval; at: the day."""

    task: str
    split: str
    value: float
    low: float
    high: float
    at: str


@dataclass(frozen=True)
class Past:
    """A record of a model that does not count any more, and why."""

    source: Source
    reason: str


@dataclass(frozen=True)
class Entry:
    """One row. model: as the latest of its sources has it. sources: those that its cells come from, oldest first.
    gaps: by place, from the latest comparison with fresh rows."""

    slug: str
    model: dict[str, Any]
    prompting: PromptingOptions
    cells: dict[Place, Cell]
    sources: tuple[Source, ...]
    history: tuple[Past, ...]
    gaps: dict[Place, Gap]

    @property
    def yours(self) -> bool:
        """Whether any of it is from a run that is no record."""
        return any(source.place is None for source in self.sources)

    @property
    def division(self) -> str:
        """The division that its sources state, or that it is a run of one's own."""
        return self.sources[-1].division

    @property
    def external(self) -> bool:
        """Whether outputs came from elsewhere, so that nobody can replay them."""
        return any(source.run.external for source in self.sources)

    @property
    def verification(self) -> VerificationLevel:
        """That of the source of which least has been shown; disputed if one is."""
        lowest = min((source.verification for source in self.sources), key=lambda one: LEVELS.index(one.word))
        disputed = next((source.verification.disputed for source in self.sources if source.verification.disputed), "")
        return VerificationLevel(lowest.word, lowest.how, disputed)

    @property
    def partial(self) -> bool:
        """Whether all of its cells were taken over part of a split."""
        return all(cell.partial for cell in self.cells.values())

    @property
    def memory(self) -> Cell | None:
        """The flip-flop split with the lowest accuracy; a partial one only if there is no full one."""
        cells = [cell for (task, _), cell in self.cells.items() if task == MEMORY_TASK]
        full = [cell for cell in cells if not cell.partial]
        return min(full or cells, key=lambda cell: (cell.value, cell.low), default=None)

    @property
    def whole_memory(self) -> Cell | None:
        """The same, if all splits were asked in full: a memory is as good as its worst split."""
        full = {split for (task, split), cell in self.cells.items() if task == MEMORY_TASK and not cell.partial}
        return self.memory if full == set(get_task(MEMORY_TASK).splits) else None

    @property
    def largest_gap(self) -> Gap | None:
        """The difference between public and fresh rows that is most surely one: whose interval begins highest."""
        return max(self.gaps.values(), key=lambda gap: (gap.low, gap.value), default=None)

    @property
    def variant(self) -> str:
        """In what form it was loaded, "" for as it is: a file of GGUF, quantized, with an adapter."""
        return variant(self.model)

    @property
    def family(self) -> str:
        """Its architecture, without what all class names end in; the organisation for a model of unknown class."""
        name = self.model.get("class")
        if not isinstance(name, str) or not name:
            return str(self.model["id"]).split("/", maxsplit=1)[0][:40]
        return re.sub(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration)$", "", name)[:40] or name[:40]
