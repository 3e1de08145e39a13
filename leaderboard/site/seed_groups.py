"""Rows of several seeds: models of one owner that were trained by one recipe share a row, with median and range.

That a model was trained by a recipe is a statement of its submitter, which anybody can copy. So seeds are grouped only
within the models of one owner (for local models, of one contact), and a group hides nothing: a model that is disputed
or not deterministic, or whose seeds another model of the group has already, keeps a row of its own, and the page of the
group lists these and the records that no longer count.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from harness.models.model_name import is_local, path_name
from leaderboard.site.entries import (
    Cell,
    Entry,
    Gap,
    Place,
    PromptingOptions,
    RetiredRecord,
    Source,
    Training,
    is_whole_memory,
    worst_memory,
)
from leaderboard.site.rows import Rows
from leaderboard.verification_level import LEVELS, VerificationLevel

TRAINED = "trained on fflm"  # the only division whose rows are grouped
FEWEST_SEEDS = 2
_LONGEST_NAME = 60  # of the owner in a slug


@dataclass(frozen=True)
class SpreadCell:
    """The accuracies of several seeds on a task and split. cells: of the seeds with most rows, at least one. Where a
    cell has an interval, this one has the range of the seeds."""

    cells: tuple[Cell, ...]

    @property
    def value(self) -> float:
        """Median."""
        return float(median(cell.value for cell in self.cells))

    @property
    def low(self) -> float:
        """Minimum."""
        return min(cell.value for cell in self.cells)

    @property
    def high(self) -> float:
        """Maximum."""
        return max(cell.value for cell in self.cells)

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest end of the seeds' intervals."""
        return min(cell.low for cell in self.cells), max(cell.high for cell in self.cells)

    @property
    def task(self) -> str:
        """Task."""
        return self.cells[0].task

    @property
    def split(self) -> str:
        """Split."""
        return self.cells[0].split

    @property
    def rows(self) -> int:
        """Number of first rows of the split that each seed was evaluated on."""
        return self.cells[0].rows

    @property
    def split_rows(self) -> int:
        """Number of rows of the split."""
        return self.cells[0].split_rows

    @property
    def partial(self) -> bool:
        """Whether it is over the first rows only."""
        return self.cells[0].partial

    @property
    def baseline(self) -> float:
        """Accuracy of the best baseline."""
        return self.cells[0].baseline

    @property
    def baseline_name(self) -> str:
        """Name of the best baseline."""
        return self.cells[0].baseline_name

    @property
    def non_finite(self) -> int:
        """Number of excluded answers of all seeds."""
        return sum(cell.non_finite for cell in self.cells)

    @property
    def errors(self) -> tuple[int, int]:
        """Lowest and highest number of errors."""
        return min(cell.errors for cell in self.cells), max(cell.errors for cell in self.cells)

    @property
    def n(self) -> int:
        """Number of answers of each seed."""
        return max(cell.n for cell in self.cells)

    @property
    def against_baseline(self) -> str:
        """Position of all seeds relative to the best baseline: "above", "below", or "near" if they differ."""
        positions = {cell.against_baseline for cell in self.cells}
        return positions.pop() if len(positions) == 1 else "near"


class _Trained(NamedTuple):
    """An entry and its training."""

    entry: Entry
    training: Training


class _Key(NamedTuple):
    """What the seeds of a row have in common. contact: of local models, whose owner is unknown; else ""."""

    owner: str
    contact: str
    digest: str
    dtype: str
    variant: str
    prompting: PromptingOptions
    partial: bool
    model_class: str
    parameters: int


@dataclass(frozen=True)
class SeedGroup:
    """A row of several seeds. training: of the first seed; the others differ in seeds and command. seeds: an entry for
    each seed, in the order of seeds. left_out: other entries of the same recipe, which have rows of their own. retired:
    records of the same recipe that no longer count."""

    slug: str
    training: Training
    seeds: tuple[Entry, ...]
    cells: dict[Place, SpreadCell]
    left_out: tuple[Entry, ...]
    retired: tuple[RetiredRecord, ...]

    @property
    def page(self) -> str:
        """Path of its page."""
        return f"recipes/{self.slug}.html"

    @property
    def name(self) -> str:
        """Recipe, changes and number of seeds: "flipflop-small, model.positions=rope, 3 seeds"."""
        return f"{self.training.description}, {len(self.seeds)} seeds"

    @property
    def owner(self) -> str:
        """Owner of the models: the part of their ids before the slash."""
        return _owner(self.seeds[0].name)

    @property
    def not_counted(self) -> int:
        """Number of other results of the recipe."""
        return len(self.left_out) + len(self.retired)

    @property
    def model(self) -> dict[str, Any]:
        """Model of the first seed. All have the same class, number of parameters and dtype."""
        return self.seeds[0].model

    @property
    def prompting(self) -> PromptingOptions:
        """Prompting of all seeds."""
        return self.seeds[0].prompting

    @property
    def variant(self) -> str:
        """How all were loaded."""
        return self.seeds[0].variant

    @property
    def family(self) -> str:
        """Architecture of all seeds."""
        return self.seeds[0].family

    @property
    def division(self) -> str:
        """Division of all seeds."""
        return TRAINED

    @property
    def is_local_run(self) -> bool:
        """Whether it has a run that is not a record: never."""
        return False

    @property
    def external(self) -> bool:
        """Whether it has external outputs: never."""
        return False

    @property
    def partial(self) -> bool:
        """Whether all results are over the first rows only."""
        return self.seeds[0].partial

    @property
    def verification(self) -> VerificationLevel:
        """The lowest level of the seeds, none of which is disputed."""
        lowest = min((seed.verification for seed in self.seeds), key=lambda each: LEVELS.index(each.level))
        return VerificationLevel(lowest.level, f"the lowest level of {len(self.seeds)} seeds: {lowest.evidence}")

    @property
    def memory(self) -> SpreadCell | None:
        """The flip-flop split with the lowest median."""
        return worst_memory(self.cells.values())

    @property
    def whole_memory(self) -> SpreadCell | None:
        """The same, if all splits are whole."""
        return self.memory if is_whole_memory(self.cells.values()) else None

    @property
    def memory_interval(self) -> tuple[float, float] | None:
        """Lowest and highest end of the intervals of the seeds' memories; None if none is whole."""
        intervals = [interval for seed in self.seeds if (interval := seed.memory_interval)]
        return (min(low for low, _ in intervals), max(high for _, high in intervals)) if intervals else None

    @property
    def largest_gap(self) -> Gap | None:
        """The gap of a seed whose interval has the highest lower end."""
        gaps = [gap for seed in self.seeds if (gap := seed.largest_gap)]
        return max(gaps, key=lambda gap: (gap.low, gap.value), default=None)


Row = Entry | SeedGroup


def seed_groups(rows: Rows) -> list[SeedGroup]:
    """Returns the groups of all entries, in no particular order."""
    alike: dict[_Key, list[_Trained]] = {}
    for entry in rows.entries:
        if (trained := _trained(entry)) is not None:
            alike.setdefault(_key(*trained), []).append(trained)
    retired = [each for entry in rows.entries for each in entry.history] + rows.retired
    groups: list[SeedGroup] = []
    taken = {entry.slug for entry in rows.entries}
    for key, members in alike.items():
        chosen = _seeds(members)
        if len(chosen) < FEWEST_SEEDS:
            continue
        training, seeds = chosen[0].training, tuple(member.entry for member in chosen)
        entries = [member.entry for member in members]
        counted = {seed.slug for seed in seeds}
        left_out = tuple(entry for entry in entries if entry.slug not in counted)
        slug = _slug(key, training.recipe, taken)
        taken.add(slug)
        groups.append(SeedGroup(slug, training, seeds, _spread(seeds), left_out, _retired(key, entries, retired)))
    return groups


def _trained(entry: Entry) -> _Trained | None:
    """Returns an entry with its training, None if it is never grouped."""
    training = entry.training
    if training is None or entry.is_local_run or entry.external or entry.division != TRAINED:
        return None
    return _Trained(entry, training)


def _key(entry: Entry, training: Training) -> _Key:
    contacts = {source.submission.contact for source in entry.sources if source.submission}
    return _Key(
        _owner(entry.name), "; ".join(sorted(contacts)) if is_local(entry.name) else "", training.digest,
        entry.model["dtype"], entry.variant, entry.prompting, entry.partial, str(entry.model.get("class")),
        entry.model["parameters"],
    )  # fmt: skip


def _owner(model_id: str) -> str:
    return model_id.partition("/")[0]


def _seeds(members: Iterable[_Trained]) -> list[_Trained]:
    """Returns one member for each pair of seeds, sorted by seeds: that with the highest verification level; among
    those, the latest. So a seed that is submitted twice does not count twice."""
    chosen: dict[tuple[int, int], _Trained] = {}
    for member in members:
        entry, seed = member.entry, member.training.seed
        if entry.verification.disputed or entry.model.get("deterministic") is False:
            continue
        if seed not in chosen or _priority(entry) > _priority(chosen[seed].entry):
            chosen[seed] = member
    return [chosen[seed] for seed in sorted(chosen)]


def _priority(entry: Entry) -> tuple[Any, ...]:
    return min(source.trust for source in entry.sources), entry.sources[-1].created, entry.slug


def _spread(seeds: Sequence[Entry]) -> dict[Place, SpreadCell]:
    """Returns the cells of a group. Results over fewer rows than those of another seed do not count."""
    places = dict.fromkeys(place for seed in seeds for place in seed.cells)
    cells = {place: [seed.cells[place] for seed in seeds if place in seed.cells] for place in places}
    most = {place: max(cell.rows for cell in cells[place]) for place in places}
    return {place: SpreadCell(tuple(cell for cell in cells[place] if cell.rows == most[place])) for place in places}


def _retired(key: _Key, entries: Sequence[Entry], retired: Iterable[RetiredRecord]) -> tuple[RetiredRecord, ...]:
    """Returns the records of a recipe that no longer count and whose model has no row."""
    shown = {entry.name for entry in entries}
    found = {
        each.source.digest: each
        for each in retired
        if each.source.run.facts["model"]["id"] not in shown and _is_of(key, each.source)
    }
    return tuple(found.values())


def _is_of(key: _Key, source: Source) -> bool:
    model, submission = source.run.facts["model"], source.submission
    training = model.get("training") or {}
    return (
        submission is not None
        and (_owner(model["id"]), training.get("digest")) == (key.owner, key.digest)
        and key.contact in ("", submission.contact)
    )


def _slug(key: _Key, recipe: str, taken: Collection[str]) -> str:
    """Returns a unique, portable, lower-case file name."""
    parts = [f"{path_name(key.owner)[:_LONGEST_NAME]}--{recipe}", "seeds", key.digest, key.dtype[:20]]
    slug = re.sub(r"[^a-z0-9._-]+", "-", "-".join(parts).lower()).lstrip("._-")
    if slug not in taken:
        return slug
    digest = hashlib.sha256(json.dumps(key, default=repr).encode()).hexdigest()
    return next(longer for digits in range(8, 65) if (longer := f"{slug}-{digest[:digits]}") not in taken)
