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


def rank(intervals: Mapping[Key, tuple[float, float]]) -> dict[Key, Rank]:
    """From intervals, low and high, to places: behind every model whose interval lies wholly above one's own, before
    every one whose interval lies wholly below."""
    lows = np.sort([low for low, _ in intervals.values()])
    highs = np.sort([high for _, high in intervals.values()])
    count = len(intervals)
    return {
        key: Rank(
            1 + count - int(np.searchsorted(lows, high, side="right")),
            count - int(np.searchsorted(highs, low, side="left")),
            count,
        )
        for key, (low, high) in intervals.items()
    }


def ranks(entries: Iterable[Entry]) -> Ranks:
    """All places. Runs that are no records and cells over part of a split have none."""
    memory: dict[str, dict[str, tuple[float, float]]] = {}
    cells: dict[tuple[str, Place], dict[tuple[str, Place], tuple[float, float]]] = {}
    for entry in entries:
        if entry.yours:
            continue
        if worst := entry.whole_memory:
            memory.setdefault(entry.division, {})[entry.slug] = worst.low, worst.high
        for place, cell in entry.cells.items():
            if not cell.partial:
                cells.setdefault((entry.division, place), {})[entry.slug, place] = cell.low, cell.high
    return Ranks(
        {slug: one for group in memory.values() for slug, one in rank(group).items()},
        {key: one for group in cells.values() for key, one in rank(group).items()},
    )
