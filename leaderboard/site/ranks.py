"""Ranks of models: ranges, because intervals overlap. Within a division, on whole splits.

The seeds of a row compete as one model, whose interval reaches from the lowest to the highest end of theirs. Otherwise
many seeds of one recipe would move all ranks. A single seed is ranked as if it stood in the place of its row.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from leaderboard.site.entries import Place
from leaderboard.site.seed_rows import Row

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


def rank(
    intervals: Mapping[Key, tuple[str, float, float]], among: Mapping[Any, tuple[str, float, float]] | None = None
) -> dict[Key, Rank]:
    """Returns the ranks of rows among models. intervals: model, low and high of each row. among: the same for the rows
    that compete, which include all of the models; default: these rows.

    A row ranks below every other model that has a row wholly above it, and above every other model whose rows are all
    wholly below it. Rows of one model do not affect each other.
    """
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for model, low, high in (intervals if among is None else among).values():
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


def ranks(rows: Iterable[Row]) -> Ranks:
    """Returns the ranks of all rows of the table, and of the seeds of a row. Local runs, disputed rows,
    nondeterministic models, and cells over first rows have none."""
    ranked = [row for row in rows if _is_ranked(row)]
    models = _models(ranked)
    memory: dict[str, _Field] = {}
    cells: dict[tuple[str, Place], _Field] = {}
    for row in ranked:
        for each, is_row in ((row, True), *((seed, False) for seed in row.seeds)):
            model = models[row.slug]
            if each.memory_interval:
                field = memory.setdefault(row.division, _Field({}, {}))
                field.of(is_row)[each.slug] = model, *each.memory_interval
            for place, cell in each.cells.items():
                if not cell.partial:
                    field = cells.setdefault((row.division, place), _Field({}, {}))
                    field.of(is_row)[each.slug, place] = model, *cell.interval
    return Ranks(
        {slug: value for field in memory.values() for slug, value in field.ranks().items()},
        {key: value for field in cells.values() for key, value in field.ranks().items()},
    )


class _Field(NamedTuple):
    """Model, low and high of the rows that compete, and of the seeds of these rows."""

    rows: dict[Any, tuple[str, float, float]]
    seeds: dict[Any, tuple[str, float, float]]

    def of(self, is_row: bool) -> dict[Any, tuple[str, float, float]]:
        return self.rows if is_row else self.seeds

    def ranks(self) -> dict[Any, Rank]:
        return rank(self.rows) | rank(self.seeds, self.rows)


def _is_ranked(row: Row) -> bool:
    return not (row.is_local_run or row.verification.disputed or row.model.get("deterministic") is False)


def _models(rows: Sequence[Row]) -> dict[str, str]:
    """Returns, by slug, a name that is the same for rows that share a model, directly or through other rows: a model id
    in two dtypes, or two rows of the same seeds."""
    name_of: dict[str, str] = {}
    for row in rows:
        ids = {each.name for each in row.seeds or (row,)}
        joined = {name_of.get(one, one) for one in ids}
        name = min(joined)
        name_of |= dict.fromkeys(ids, name)
        name_of = {one: name if current in joined else current for one, current in name_of.items()}
    return {row.slug: name_of[(row.seeds or (row,))[0].name] for row in rows}
