"""A row of several seeds of a recipe, with the members of a row of one model: median and range in place of an accuracy
and its interval."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from leaderboard.site.entries import (
    Cell,
    Entry,
    Gap,
    Place,
    PromptingOptions,
    RetiredRecord,
    is_whole_memory,
    worst_memory,
)
from leaderboard.site.sources import Training
from leaderboard.verification_level import LEVELS, VerificationLevel

TRAINED = "trained on fflm"  # the only division whose rows are grouped


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
        return owner_of(self.seeds[0].name)

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


def owner_of(model_id: str) -> str:
    """Returns the owner of a model: the part of its id before the slash."""
    return model_id.partition("/")[0]
