"""Which place a model has: a range, since intervals overlap. Models of one division, on whole splits."""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from leaderboard.site.entries import Entry, Place

Key = TypeVar("Key", bound=Hashable)


class Rank(NamedTuple):
    """From the best to the worst place that the intervals allow, of so many models."""

    best: int
    worst: int
    of: int


class Ranks(NamedTuple):
    """memory: by slug, by the worst flip-flop split. cells: by slug, task and split. Rows that are not ranked are in
    neither."""

    memory: dict[str, Rank]
    cells: dict[tuple[str, Place], Rank]


def rank(intervals: Mapping[Key, tuple[str, float, float]]) -> dict[Key, Rank]:
    """From rows, each a model's id and an interval (low, high), to places among models.

    A row comes after every other model that has a row wholly above it, and before every other one all of whose rows
    are wholly below it. Rows of one model do not take places from each other.
    """
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for model, low, high in intervals.values():
        lows[model] = max(low, lows.get(model, low))
        highs[model] = max(high, highs.get(model, high))
    ordered_lows, ordered_highs = np.sort([*lows.values()]), np.sort([*highs.values()])
    count = len(lows)
    found = {}
    for key, (model, low, high) in intervals.items():
        above = count - int(np.searchsorted(ordered_lows, high, side="right")) - (lows[model] > high)
        below = int(np.searchsorted(ordered_highs, low, side="left")) - (highs[model] < low)
        found[key] = Rank(1 + above, count - below, count)
    return found


def ranks(entries: Iterable[Entry]) -> Ranks:
    """All places. Runs that are no records, what is disputed, models that answer otherwise each time, and cells over
    part of a split have none."""
    memory: dict[str, dict[str, tuple[str, float, float]]] = {}
    cells: dict[tuple[str, Place], dict[tuple[str, Place], tuple[str, float, float]]] = {}
    for entry in entries:
        if entry.yours or entry.verification.disputed or entry.model.get("deterministic") is False:
            continue
        model = entry.model["id"]
        if worst := entry.whole_memory:
            memory.setdefault(entry.division, {})[entry.slug] = model, worst.low, worst.high
        for place, cell in entry.cells.items():
            if not cell.partial:
                cells.setdefault((entry.division, place), {})[entry.slug, place] = model, cell.low, cell.high
    return Ranks(
        {slug: one for group in memory.values() for slug, one in rank(group).items()},
        {key: one for group in cells.values() for key, one in rank(group).items()},
    )
