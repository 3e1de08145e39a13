"""Plots of scores by group: computes the coordinates that the templates render as SVG.

Groups have names such as `gap=2-3`, `vocabulary=5,control`, `head`. The groups of one kind make a plot, in the order of
the result. Groups by two varying quantities have no plot.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from statistics import median
from typing import Any, NamedTuple

from leaderboard.site.entries import Cell, Place
from leaderboard.site.seed_rows import Row, SpreadCell

METRICS = {"accuracy": "accuracy", "still_right": "still right", "letter_accuracy": "letters right"}
NO_KIND = "part"
# Kinds whose groups have a single target: the baseline that always predicts it is always right, so none is drawn.
ANSWERS = ("answer", "most")
# Kinds of groups for a task's page, by priority.
MAIN = ("gap", "vocabulary", "challenges", "multiplicity", "answer", "operation", "relation", "most", "length")
WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 22
LETTER = 5.2  # mean width of a letter of a label
BOLD = 6  # number of models drawn in colour
DASH = 16  # width of a model's dash at a group without order


class Point(NamedTuple):
    """A group: its name and scores. baseline: accuracy of the best baseline, None if none is drawn."""

    label: str
    value: float
    low: float
    high: float
    n: int
    errors: int
    baseline: float | None


@dataclass(frozen=True)
class Series:
    """The groups of one kind: the metric, the kind, and a point per group."""

    task: str
    split: str
    metric: str
    kind: str
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """Title of the plot."""
        return f"{METRICS[self.metric]} by {self.kind}"

    @property
    def ordered(self) -> bool:
        """Whether its groups are quantities, so that a line through them is meaningful."""
        return all(point.label[:1].isdigit() for point in self.points)


@dataclass(frozen=True)
class Mark:
    """Coordinates of a point: middle, value, ends of the interval, baseline. label: "" if labels would overlap."""

    x: float
    y: float
    low: float
    high: float
    baseline: float | None
    label: str


@dataclass(frozen=True)
class Line:
    """A row on the page of a task. path: SVG path, a line through its groups, or a dash at each if they have no
    order. values: by name of the group. number: 1 to `BOLD` if it is drawn in colour, else 0."""

    label: str
    row: Row
    cell: Cell | SpreadCell
    path: str
    number: int
    values: Mapping[str, float]

    @property
    def css_class(self) -> str:
        """CSS class of its path."""
        return f"s{self.number}" if self.number else "part" if self.cell.partial else "thin"


@dataclass(frozen=True)
class Sheet:
    """A plot of many models over the groups of a split, whole results first, best first. ordered: whether the groups
    are quantities. labels: position and name of the axis labels."""

    split: str
    title: str
    ordered: bool
    names: tuple[str, ...]
    labels: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]

    @property
    def whole(self) -> int:
        """Number of lines with whole results."""
        return sum(not line.cell.partial for line in self.lines)


def all_series(result: Mapping[str, Any]) -> dict[Place, list[Series]]:
    """Returns, by task and split, a series for every kind with at least two groups."""
    grouped: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for score in result["scores"]:
        if score["metric"] in METRICS and score["group"] is not None and score["low"] is not None:
            key = score["task"], score["split"], score["metric"]
            kind = ",".join(part.split("=")[0] for part in score["group"].split(","))
            grouped.setdefault(key, {}).setdefault(kind if "=" in score["group"] else NO_KIND, []).append(score)
    by_place: dict[Place, list[Series]] = {}
    for (task, split, metric), kinds in grouped.items():
        for kind, scores in kinds.items():
            series = _series(task, split, metric, kind, scores)
            if series is not None:
                by_place.setdefault((task, split), []).append(series)
    return by_place


def _series(task: str, split: str, metric: str, kind: str, scores: Sequence[dict[str, Any]]) -> Series | None:
    parts = [score["group"].split(",") for score in scores]
    if kind == NO_KIND:
        labels = [score["group"] for score in scores]
    else:
        # Only one quantity may vary: operation=+,digits=4 and operation=+,digits=8 are a line.
        varied = [column for column in zip(*parts, strict=True) if len(set(column)) > 1]
        if len(varied) != 1:
            return None
        same = [column[0] for column in zip(*parts, strict=True) if len(set(column)) == 1]
        labels = [name.partition("=")[2] for name in varied[0]]
        kind = ", ".join([varied[0][0].partition("=")[0], *same])
    if len(scores) < 2:
        return None
    points = tuple(
        Point(
            label,
            score["value"],
            score["low"],
            score["high"],
            score["n"],
            score["errors"],
            None if kind in ANSWERS else score["baseline"],
        )
        for label, score in zip(labels, scores, strict=True)
    )
    return Series(task, split, metric, kind, points)


def spread_series(seeds: Sequence[Mapping[Place, Sequence[Series]]]) -> dict[Place, list[Series]]:
    """Returns the plots of several seeds: in each point the median, and as its interval the range of the seeds. Groups
    that a seed lacks are omitted. seeds: plots of each seed by place."""
    spread: dict[Place, list[Series]] = {}
    for place in dict.fromkeys(place for plots in seeds for place in plots):
        by_kind: dict[tuple[str, str], list[Series]] = {}
        for plots in seeds:
            for series in plots.get(place, []):
                by_kind.setdefault((series.metric, series.kind), []).append(series)
        joined = [_joined(same) for same in by_kind.values()]
        if kept := [series for series in joined if len(series.points) > 1]:
            spread[place] = kept
    return spread


def _joined(same: Sequence[Series]) -> Series:
    by_label: dict[str, list[Point]] = {}
    for series in same:
        for point in series.points:
            by_label.setdefault(point.label, []).append(point)
    points = tuple(
        Point(
            label,
            median(values := [point.value for point in points]),
            min(values),
            max(values),
            sum(point.n for point in points),
            sum(point.errors for point in points),
            points[0].baseline,
        )
        for label, points in by_label.items()
        if len(points) == len(same)
    )
    return replace(same[0], points=points)


def height(value: float) -> float:
    """Returns the y coordinate of a share from 0 to 1."""
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 1)


def across(place: int, count: int) -> float:
    """Returns the x coordinate of a group. place: its index among `count` groups."""
    return round(LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / count, 1)


def written(names: Sequence[str]) -> list[str]:
    """Returns the axis labels: names as far as there is room, "" for the others."""
    room = (WIDTH - LEFT - RIGHT) / LETTER
    step = max(1, -(-int(sum(len(name) + 2 for name in names)) // int(room)))
    return [name if place % step == 0 else "" for place, name in enumerate(names)]


def marks(series: Series) -> list[Mark]:
    """Returns the coordinates of a series."""
    count = len(series.points)
    return [
        Mark(
            across(place, count), height(point.value), height(point.low), height(point.high),
            None if point.baseline is None else height(point.baseline), label,
        )
        for place, (point, label) in enumerate(
            zip(series.points, written([point.label for point in series.points]), strict=True)
        )
    ]  # fmt: skip


def main_series(series: Iterable[Series]) -> Series | None:
    """Returns the series that a task's page shows, None if there is none."""
    order = {kind: place for place, kind in enumerate(MAIN)}
    return min(series, key=lambda each: order.get(each.kind, len(MAIN)), default=None)


def sheet(split: str, cells: Sequence[tuple[Row, Cell | SpreadCell, Series]], names: Mapping[str, str]) -> Sheet | None:
    """Returns the plot of all models over a split, best first; None if there are none. The first whole results are in
    colour. names: labels by slug, default: the model id."""
    if not cells:
        return None
    best = sorted(cells, key=lambda row: (row[1].partial, -row[1].value, row[0].slug))
    main = best[0][2]
    same = [row for row in best if (row[2].kind, row[2].metric) == (main.kind, main.metric)]
    ordered = all(series.ordered for _, _, series in same)
    parts = _parts([[point.label for point in series.points] for _, _, series in same], ordered)
    place = {part: across(number, len(parts)) for number, part in enumerate(parts)}
    lines = tuple(
        Line(
            names.get(row.slug, row.name), row, cell, _path(series, place, ordered),
            0 if cell.partial or number > BOLD else number, {point.label: point.value for point in series.points},
        )
        for number, (row, cell, series) in enumerate(same, start=1)
    )  # fmt: skip
    labels = tuple((place[part], label) for part, label in zip(parts, written(parts), strict=True) if label)
    return Sheet(split, main.title, ordered, tuple(parts), labels, lines)


def _parts(listed: Sequence[Sequence[str]], ordered: bool) -> list[str]:
    """Returns the groups of all models, each once: quantities sorted by number, others in the common order of all
    lists. A model with few rows may lack some groups."""
    if ordered:
        return sorted({part for parts in listed for part in parts}, key=lambda part: (_number(part), part))
    before: dict[str, set[str]] = {}
    for parts in listed:
        for number, part in enumerate(parts):
            before.setdefault(part, set()).update(parts[:number][-1:])
    return list(TopologicalSorter(before).static_order())


def _number(part: str) -> int:
    """Returns the first number in the name of a group."""
    return int(re.split(r"\D", part, maxsplit=1)[0])


def _path(series: Series, place: Mapping[str, float], ordered: bool) -> str:
    points = sorted((place[point.label], height(point.value)) for point in series.points)
    if ordered:
        return "M" + "L".join(f"{x} {y}" for x, y in points)
    return "".join(f"M{round(x - DASH / 2, 1)} {y}h{DASH}" for x, y in points)
