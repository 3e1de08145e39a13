"""Types of plot data (curves, grids, answers) and of finished plots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fflm_data.arrays import Floats, Ints
from fflm_data.number_formats import NO_VALUE


@dataclass(frozen=True)
class Curve:
    """One series of points; arrays of one length.

    x: coordinates; names: names of the points in the table. value, low, high: value and 95% interval in the unit of
    the y axis, float64; the interval is NaN where there is none. n: number of items per point. errors: number of wrong
    items, if shares are plotted. baseline: value of the best baseline at the same points. of: number of items of the
    whole curve; None: the sum of n.
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
        """Number of items of the whole curve."""
        return int(self.n.sum()) if self.of is None else self.of


@dataclass(frozen=True)
class Grid:
    """Shares by two quantities, shape (len(rows), len(columns)); n = 0 in cells without items."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    value: Floats
    n: Ints


@dataclass(frozen=True)
class Answers:
    """Numeric answers, in lists of one length. predicted: None if there is no number, with the reason in `kind`."""

    target: list[int]
    predicted: list[int | None]
    kind: list[str]


@dataclass(frozen=True)
class Plot:
    """A drawn figure and the numbers in it.

    name: file name, unique on a page. svg: a complete file with its own background. inline: for a page that defines
    the colours (`style.page_css`). note: caption. header, rows: the same data as a table.
    """

    name: str
    title: str
    note: str
    svg: str
    inline: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]] = field(repr=False)


def table_rows(curves: Sequence[Curve], formatted: Callable[[float], str]) -> list[tuple[str, ...]]:
    """Name, series, value, interval, errors, n and baseline of every point."""

    def cell(values: Floats | None, i: int) -> str:
        return NO_VALUE if values is None or not np.isfinite(values[i]) else formatted(float(values[i]))

    return [
        (
            curve.names[i],
            curve.label,
            cell(curve.value, i),
            f"{cell(curve.low, i)} to {cell(curve.high, i)}" if np.isfinite(curve.low[i]) else NO_VALUE,
            NO_VALUE if curve.errors is None else f"{int(curve.errors[i]):,}",
            f"{int(curve.n[i]):,}",
            cell(curve.baseline, i),
        )
        for curve in curves
        for i in range(len(curve.x))
    ]
