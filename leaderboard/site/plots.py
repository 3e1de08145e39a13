"""Small plots by part of a split: from scores to points of a drawing that the templates write as SVG.

Scores of parts are named `gap=2-3`, `vocabulary=5,control`, `head`. The parts of one kind make a plot, in the order
in which the result has them. Parts by two quantities at once have no line and no plot here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from leaderboard.site.entries import Cell, Entry, Place

METRICS = {"accuracy": "accuracy", "still_right": "still right", "letter_accuracy": "letters right"}
NO_KIND = "part"
# Where a group is one target, the baseline that always predicts it is always right: nothing to compare with.
ANSWERS = ("answer", "most")
# Which kind of part a task's page shows, if it has several.
MAIN = ("gap", "vocabulary", "challenges", "multiplicity", "answer", "operation", "relation", "most", "length")
WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 22
LETTER = 5.2  # width of a letter of a label, about
BOLD = 6  # so many models are drawn in colour
DASH = 16  # width of the dash of a model at a part that has no order


class Point(NamedTuple):
    """One part: its name and the numbers. baseline: the best baseline there, None if there is none."""

    label: str
    value: float
    low: float
    high: float
    n: int
    errors: int
    baseline: float | None


@dataclass(frozen=True)
class Series:
    """The parts of one kind: what is scored, the kind, and a point for each part."""

    task: str
    split: str
    metric: str
    kind: str
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """What the plot shows."""
        return f"{METRICS[self.metric]} by {self.kind}"

    @property
    def ordered(self) -> bool:
        """Whether its parts are quantities, so that a line through them says something."""
        return all(point.label[:1].isdigit() for point in self.points)


@dataclass(frozen=True)
class Mark:
    """Where a point is drawn, in units of the drawing: middle, value, ends of the interval, baseline. label: ""
    where labels would overlap."""

    x: float
    y: float
    low: float
    high: float
    baseline: float | None
    label: str


@dataclass(frozen=True)
class Line:
    """One model on the page of a task. path: of SVG, a line through its parts, or a dash at each if they have no order.
    values: by name of the part. number: 1 to `BOLD` for one that is drawn in colour, else 0."""

    label: str
    entry: Entry
    cell: Cell
    path: str
    number: int
    values: Mapping[str, float]

    @property
    def look(self) -> str:
        """The class of its drawing."""
        return f"s{self.number}" if self.number else "part" if self.cell.partial else "thin"


@dataclass(frozen=True)
class Sheet:
    """A drawing of many models over the parts of one split, whole results first, the best first. ordered: whether the
    parts are quantities. labels: name and place of those that are written."""

    split: str
    title: str
    ordered: bool
    names: tuple[str, ...]
    labels: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]

    @property
    def whole(self) -> int:
        """How many of the lines are of whole results."""
        return sum(not line.cell.partial for line in self.lines)


def all_series(result: Mapping[str, Any]) -> dict[Place, list[Series]]:
    """By task and split, a series for every kind of parts in a result that has at least two."""
    grouped: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for score in result["scores"]:
        if score["metric"] in METRICS and score["group"] is not None and score["low"] is not None:
            key = score["task"], score["split"], score["metric"]
            kind = ",".join(part.split("=")[0] for part in score["group"].split(","))
            grouped.setdefault(key, {}).setdefault(kind if "=" in score["group"] else NO_KIND, []).append(score)
    found: dict[Place, list[Series]] = {}
    for (task, split, metric), kinds in grouped.items():
        for kind, scores in kinds.items():
            series = _series(task, split, metric, kind, scores)
            if series is not None:
                found.setdefault((task, split), []).append(series)
    return found


def _series(task: str, split: str, metric: str, kind: str, scores: Sequence[dict[str, Any]]) -> Series | None:
    parts = [score["group"].split(",") for score in scores]
    if kind == NO_KIND:
        labels = [score["group"] for score in scores]
    else:
        # Of several quantities only one may vary: operation=+,digits=4 and operation=+,digits=8 are a line.
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
            one["value"],
            one["low"],
            one["high"],
            one["n"],
            one["errors"],
            None if kind in ANSWERS else one["baseline"],
        )
        for label, one in zip(labels, scores, strict=True)
    )
    return Series(task, split, metric, kind, points)


def height(value: float) -> float:
    """Where a share from 0 to 1 is drawn."""
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 1)


def across(place: int, count: int) -> float:
    """Where the middle of a part is drawn, one of so many."""
    return round(LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / count, 1)


def written(names: Sequence[str]) -> list[str]:
    """The names that there is room for, "" for the others."""
    room = (WIDTH - LEFT - RIGHT) / LETTER
    step = max(1, -(-int(sum(len(name) + 2 for name in names)) // int(room)))
    return [name if place % step == 0 else "" for place, name in enumerate(names)]


def marks(series: Series) -> list[Mark]:
    """How a series is drawn."""
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
    """That which stands for a split where only one is shown."""
    order = {kind: place for place, kind in enumerate(MAIN)}
    return min(series, key=lambda one: order.get(one.kind, len(MAIN)), default=None)


def sheet(split: str, cells: Sequence[tuple[Entry, Cell, Series]], names: Mapping[str, str]) -> Sheet | None:
    """All models over one split, best first; None without any. The first whole ones are in colour. names: what a model
    is called, by slug; its id where there is none."""
    if not cells:
        return None
    best = sorted(cells, key=lambda one: (one[1].partial, -one[1].value, one[0].slug))
    main = best[0][2]
    same = [one for one in best if (one[2].kind, one[2].metric) == (main.kind, main.metric)]
    ordered = all(series.ordered for _, _, series in same)
    parts = _parts([[point.label for point in series.points] for _, _, series in same], ordered)
    place = {part: across(number, len(parts)) for number, part in enumerate(parts)}
    lines = tuple(
        Line(
            names.get(entry.slug, entry.model["id"]), entry, cell, _path(series, place, ordered),
            0 if cell.partial or number > BOLD else number, {point.label: point.value for point in series.points},
        )
        for number, (entry, cell, series) in enumerate(same, start=1)
    )  # fmt: skip
    labels = tuple((place[part], label) for part, label in zip(parts, written(parts), strict=True) if label)
    return Sheet(split, main.title, ordered, tuple(parts), labels, lines)


def _parts(listed: Sequence[Sequence[str]], ordered: bool) -> list[str]:
    """The parts of all models, each once: quantities by number, others in the order that all the lists agree with.
    Few rows may lack a part that others have."""
    if ordered:
        return sorted({part for parts in listed for part in parts}, key=lambda part: (_number(part), part))
    before: dict[str, set[str]] = {}
    for parts in listed:
        for number, part in enumerate(parts):
            before.setdefault(part, set()).update(parts[:number][-1:])
    return list(TopologicalSorter(before).static_order())


def _number(part: str) -> int:
    """The first number of a part's name."""
    return int(re.split(r"\D", part, maxsplit=1)[0])


def _path(series: Series, place: Mapping[str, float], ordered: bool) -> str:
    points = sorted((place[point.label], height(point.value)) for point in series.points)
    if ordered:
        return "M" + "L".join(f"{x} {y}" for x, y in points)
    return "".join(f"M{round(x - DASH / 2, 1)} {y}h{DASH}" for x, y in points)
