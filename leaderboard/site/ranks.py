"""Ranks of models: ranges, because intervals overlap. Within a division, on whole splits."""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from leaderboard.site.entries import Entry, Place

Key = TypeVar("Key", bound=Hashable)


class Rank(NamedTuple):
    """The best and worst rank that the intervals allow, among `models` models."""

    best: int
    worst: int
    models: int


class Ranks(NamedTuple):
    """memory: by slug, over the worst flip-flop split. cells: by slug, task and split. Unranked rows are omitted."""

    memory: dict[str, Rank]
    cells: dict[tuple[str, Place], Rank]


def rank(intervals: Mapping[Key, tuple[str, float, float]]) -> dict[Key, Rank]:
    """Returns the ranks of rows among models. intervals: model id, low and high of each row.

    A row ranks below every other model that has a row wholly above it, and above every other model whose rows are all
    wholly below it. Rows of one model do not affect each other.
    """
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for model, low, high in intervals.values():
        lows[model] = max(low, lows.get(model, low))
        highs[model] = max(high, highs.get(model, high))
    ordered_lows, ordered_highs = np.sort([*lows.values()]), np.sort([*highs.values()])
    count = len(lows)
    result = {}
    for key, (model, low, high) in intervals.items():
        above = count - int(np.searchsorted(ordered_lows, high, side="right")) - (lows[model] > high)
        below = int(np.searchsorted(ordered_highs, low, side="left")) - (highs[model] < low)
        result[key] = Rank(1 + above, count - below, count)
    return result


def ranks(entries: Iterable[Entry]) -> Ranks:
    """Returns all ranks. Local runs, disputed rows, nondeterministic models, and cells over first rows have none."""
    memory: dict[str, dict[str, tuple[str, float, float]]] = {}
    cells: dict[tuple[str, Place], dict[tuple[str, Place], tuple[str, float, float]]] = {}
    for entry in entries:
        if entry.is_local_run or entry.verification.disputed or entry.model.get("deterministic") is False:
            continue
        model = entry.model["id"]
        if worst := entry.whole_memory:
            memory.setdefault(entry.division, {})[entry.slug] = model, worst.low, worst.high
        for place, cell in entry.cells.items():
            if not cell.partial:
                cells.setdefault((entry.division, place), {})[entry.slug, place] = model, cell.low, cell.high
    return Ranks(
        {slug: value for group in memory.values() for slug, value in rank(group).items()},
        {key: value for group in cells.values() for key, value in rank(group).items()},
    )
