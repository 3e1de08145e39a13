"""Figures of a sweep with one point per run: sparse against dense error rates, and strips by group."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fflm_data.number_formats import percent
from harness.reporting import style
from harness.reporting.canvas import LABEL, Key, fit, fitted, sheet, to_svg
from harness.reporting.line_plots import shifted
from harness.reporting.log_axis import ErrorAxis, spread
from harness.reporting.plot_types import Plot
from harness.reporting.sweep_data import SETS, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQUARE, BOTTOM, STRIP = 330.0, 46.0, 26.0
LABEL_ROOM = 130.0
POINT: dict[str, Any] = {"linestyle": "", "markersize": 5.5, "markeredgewidth": 0.6, "alpha": 0.85, "zorder": 3}


def series_key(series: Series, index: int) -> Key:
    """The legend entry of a series; up to 36 differ."""
    kinds = len(style.SERIES)
    marker = style.MARKERS[(index + index // kinds) % kinds]
    return Key(f"{series.label}, {series.size}", style.SERIES[index % kinds], marker, "none")


def sparse_against_dense(series: Sequence[Series]) -> Plot | None:
    """Sparse against dense error rate, one point a run; None if no series has both."""
    drawn = [one for one in series if one.has("val_sparse") and one.has("val_dense")]
    if not drawn:
        return None
    title = "Errors on both tails"
    keys = [series_key(one, index) for index, one in enumerate(drawn)]
    dense = ErrorAxis(np.concatenate([one.rates("val_dense") for one in drawn]))
    sparse = ErrorAxis(np.concatenate([one.rates("val_sparse") for one in drawn]))
    subtitle = "one point per run; equal points are spread" + _zero_words(dense, sparse)
    with sheet("sparse-dense", title, subtitle, SQUARE, keys) as page:
        axes = page.axes(BOTTOM, f"wrong reads, {SETS['val_dense']}, %", f"wrong reads, {SETS['val_sparse']}, %")
        dense.apply(axes, "x")
        sparse.apply(axes, "y")
        axes.grid(axis="x", color=style.GRID.light, linewidth=0.8)
        points = [(x, y, key) for one, key in zip(drawn, keys, strict=True)
                  for x, y in zip(dense.place(one.rates("val_dense")), sparse.place(one.rates("val_sparse")),
                                  strict=True)]  # fmt: skip
        _draw_points(axes, points)
        fit(axes)
        svg, inline = to_svg(page, f"{title}: sparse against dense error rate in percent, {len(points)} runs of "
                             f"{len(drawn)} series: {_words(drawn)}.")  # fmt: skip
    rows = [
        (one.label, str(row["seed"]), *(f"{row[f'{name}_errors']:,} / {row[f'{name}_reads']:,}" for name in
         ("val_sparse", "val_dense")), percent(row["val_sparse_rate"]), percent(row["val_dense_rate"]))
        for one in drawn for row in one.rows
    ]  # fmt: skip
    header = ("series", "seed", "sparse errors", "dense errors", "sparse wrong %", "dense wrong %")
    return Plot("sparse-dense", title, "", svg, inline, header, rows)


def strips(series: Sequence[Series], set_name: str) -> Plot | None:
    """Error rates on a set by series, one point a run with their median; None if no series has the set."""
    drawn = [one for one in series if one.has(set_name)]
    if not drawn:
        return None
    title, name = f"Errors by group: {SETS[set_name]}", f"strips-{set_name.replace('_', '-')}"
    axis = ErrorAxis(np.concatenate([one.rates(set_name) for one in drawn]))
    subtitle = "one point per run; bar: median over seeds" + _zero_words(axis)
    with sheet(name, title, subtitle, 24 + BOTTOM + STRIP * len(drawn)) as page:
        axes = page.axes(BOTTOM, "wrong reads, %", "")
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axis.apply(axes, "x", powers=4)
        for index, one in enumerate(drawn):
            key, rates = series_key(one, index), one.rates(set_name)
            _draw_points(axes, [(x, float(index), key) for x in axis.place(rates)], up=True)
            median = float(axis.place(np.array([np.median(rates)]))[0])
            axes.plot([median] * 2, [index - 0.36, index + 0.36], color=style.INK.light, linewidth=1.6, zorder=2.5)
        labels = [fitted(one.label, LABEL_ROOM, LABEL) for one in drawn]
        axes.set_yticks(range(len(drawn)), labels)
        fit(axes)
        svg, inline = to_svg(page, f"{title}: error rates in percent, one point per run: {_words(drawn)}.")
    rows = [(one.label, str(len(one.rows)), *map(_percent, quartet(one.rates(set_name)))) for one in drawn]
    header = ("series", "seeds", "min wrong %", "median wrong %", "max wrong %")
    return Plot(name, title, "", svg, inline, header, rows)


def quartet(values: Any) -> tuple[float, float, float]:
    """Minimum, median and maximum."""
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def _percent(value: float) -> str:
    return percent(value / 100)


def _draw_points(axes: "Axes", points: Sequence[tuple[float, float, Key]], up: bool = False) -> None:
    """Draws points; equal ones are spread, only vertically if `up`."""
    places: dict[tuple[float, float], list[Key]] = {}
    for x, y, key in points:
        places.setdefault((float(x), float(y)), []).append(key)
    for (x, y), keys in places.items():
        for (right, higher), key in zip(spread(len(keys)), keys, strict=True):
            where = shifted(axes, right, max(-9.0, min(9.0, higher)) if up else higher)
            axes.plot([x], [y], color=key.colour.light, marker=key.marker, transform=where, clip_on=False,
                      markeredgecolor=style.PAGE.light, **POINT)  # fmt: skip


def _zero_words(*axes: ErrorAxis) -> str:
    return "\nbeyond the dashed line: no error" if any(axis.zero is not None for axis in axes) else ""


def _words(series: Sequence[Series]) -> str:
    return "; ".join(f"{one.label}, {one.size}" for one in series)
