"""What is plotted, as plain arrays: points with their 95% intervals, grids, bars; and a finished plot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fflm_data.arrays import Floats, Ints

NOTHING = "\N{EN DASH}"  # where a table has no number


@dataclass(frozen=True)
class Curve:
    """One series of points; arrays of one length.

    x: where they stand; names: what each place is called in the table. value, low, high: in the unit
    of the y axis, float64, the interval being NaN where there is none. n: on how much each was
    counted. errors: how many of them were wrong, if that is what is plotted. baseline: what the best
    baseline gives at the same places. of: what the whole curve was counted on, the sum of n if None.
    """

    label: str
    x: Floats
    names: tuple[str, ...]
    value: Floats
    low: Floats
    high: Floats
    n: Ints
    errors: Ints | None = None
    baseline: Floats | None = None
    of: int | None = None

    @property
    def total(self) -> int:
        """What the whole curve was counted on."""
        return int(self.n.sum()) if self.of is None else self.of


@dataclass(frozen=True)
class Grid:
    """Shares by two quantities, shape (len(rows), len(columns)); n = 0 where nothing was asked."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    value: Floats
    n: Ints


@dataclass(frozen=True)
class Answers:
    """Answers that are numbers, in lists of one length: the target, the predicted number, or None and why in `kind`."""

    target: list[int]
    predicted: list[int | None]
    kind: list[str]


@dataclass(frozen=True)
class Plot:
    """A drawn figure and the numbers in it.

    name: of its file, unique on a page. svg: standing alone, with its own background. inline: to stand on a
    page that defines the colours (`style.page_css`). note: what a reader must know beside it. header,
    rows: the same numbers as a table.
    """

    name: str
    title: str
    note: str
    svg: str
    inline: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]] = field(repr=False)


def figures(value: float, digits: int = 3) -> str:
    """A number in so many significant figures, never in powers of ten: 0.0013, 12.3, 1,234."""
    if not np.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table_rows(curves: Sequence[Curve], written: Callable[[float], str]) -> list[tuple[str, ...]]:
    """Place, series, value, interval, errors, n and baseline of every point."""

    def cell(values: Floats | None, i: int) -> str:
        return NOTHING if values is None or not np.isfinite(values[i]) else written(float(values[i]))

    return [
        (
            curve.names[i],
            curve.label,
            cell(curve.value, i),
            f"{cell(curve.low, i)} to {cell(curve.high, i)}" if np.isfinite(curve.low[i]) else NOTHING,
            NOTHING if curve.errors is None else f"{int(curve.errors[i]):,}",
            f"{int(curve.n[i]):,}",
            cell(curve.baseline, i),
        )
        for curve in curves
        for i in range(len(curve.x))
    ]
