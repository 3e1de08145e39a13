"""The units of a sweep: members that are trained together, with their labels and folders."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.training.recipe import Recipe

# Rows of each split that are evaluated if the file does not say.
ROWS = 1_000
# Names that Windows reserves for devices.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
LONGEST_SLUG = 80


@dataclass(frozen=True)
class Evaluation:
    """What a trained model is evaluated on. tasks: empty for counting. limit: number of first rows of each split."""

    tasks: tuple[str, ...] = ("flipflop",)
    limit: int = ROWS


@dataclass(frozen=True)
class Member:
    """A recipe with a seed. cell: the values of the grid. folder: below the output of the sweep."""

    group: str
    cell: tuple[tuple[str, Any], ...]
    recipe: Recipe
    evaluation: Evaluation
    folder: PurePosixPath

    @property
    def seed(self) -> int:
        """Data seed and weight seed."""
        return self.recipe.model.seed

    @property
    def label(self) -> str:
        """Group, grid values and seed, for messages."""
        return f"{cell_label(self.group, cell_words(self.cell))}, seed {self.seed}"


@dataclass(frozen=True)
class Unit:
    """Members that are trained together: one, or side by side all seeds of a cell."""

    members: tuple[Member, ...]
    side_by_side: bool

    @property
    def label(self) -> str:
        """The label of its member, or of all seeds."""
        first = self.members[0]
        if not self.side_by_side:
            return first.label
        return f"{first.label.rpartition(', ')[0]}, {len(self.members)} seeds"


@dataclass(frozen=True)
class Sweep:
    """All units of a sweep file, in its order."""

    title: str
    units: tuple[Unit, ...]

    @property
    def members(self) -> list[Member]:
        """All members in the order of the file."""
        return [member for unit in self.units for member in unit.members]


def breadth_first(units: Iterable[Unit]) -> list[Unit]:
    """Units in the order of training: the first seed of every cell, then the second of every cell, and so on.

    So each row and figure has a value early, and a stopped sweep has seeds of all cells.
    """
    seen: Counter[tuple[str, tuple[tuple[str, Any], ...]]] = Counter()
    rounds: list[tuple[int, Unit]] = []
    for unit in units:
        cell = (unit.members[0].group, unit.members[0].cell)
        rounds.append((seen[cell], unit))
        seen[cell] += 1
    return [unit for _, unit in sorted(rounds, key=lambda pair: pair[0])]


def cell_words(cell: tuple[tuple[str, Any], ...]) -> str:
    """The values of a cell in words, such as "width 8, vocabulary 16"."""
    return ", ".join(f"{key.rpartition('.')[2]} {_text(value)}" for key, value in cell)


def cell_label(group: str, words: str) -> str:
    """Group and values of the grid; a key that the group is named after is left out: "Positions, rope"."""
    values = words.removeprefix(f"{group.lower()} ")
    return f"{group}, {values}" if values else group


def slug(text: str) -> str:
    """A folder name for a text, portable: lower-case letters, digits, dots and hyphens."""
    name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:LONGEST_SLUG].strip("-.")
    return f"{name}-" if RESERVED.fullmatch(name) else name or "group"


def _text(value: Any) -> str:
    return "+".join(map(_text, value)) if isinstance(value, tuple) else str(value)
