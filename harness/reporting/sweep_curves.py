"""Figures of a sweep over an axis: training curves of all seeds, and errors by distance from write to read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Floats
from fflm_data.number_formats import percent, significant
from harness.reporting import style
from harness.reporting.canvas import Key, fit, sheet, to_svg
from harness.reporting.line_plots import series_style, set_ticks
from harness.reporting.log_axis import ErrorAxis
from harness.reporting.plot_types import Plot
from harness.reporting.sweep_data import CURVE_SETS, SETS, Panel, Series, distances
from harness.reporting.sweep_plots import quartet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT, BOTTOM = 215.0, 46.0
OCTAVES = [2.0**power for power in range(0, 15, 2)]


def loss_curves(name: str, title: str, curves: Sequence[tuple[str, list[pa.Table]]], unit: str) -> Plot:
    """The loss over steps, a line per seed and a colour per label."""
    keys = [_key(label, index) for index, (label, _) in enumerate(curves)] if len(curves) > 1 else []
    rows = []
    with sheet(name, title, "a line per seed", HEIGHT, keys) as page:
        axes = page.axes(BOTTOM, "step", f"loss, {unit}")
        axes.set_yscale("log")
        for index, (label, tables) in enumerate(curves):
            for seed, table in enumerate(tables):
                steps, losses = _points(table, "loss")
                axes.plot(steps, losses, color=series_style(index)[0], linewidth=1, alpha=0.7,
                          linestyle=_dashes(index))  # fmt: skip
                rows.append((label, str(seed), f"{int(steps[-1]):,}", significant(float(losses[-1]))))
        _loss_ticks(axes)
        _steps_axis(axes)
        fit(axes)
        svg, inline = to_svg(page, f"{title}: loss in {unit} over training steps, {len(rows)} lines, one per seed.")
    return Plot(name, title, "", svg, inline, ("series", "line", "last step", "last loss"), rows)


def error_curves(series: Series, output: Path) -> Plot | None:
    """Error rates of the sets over steps, a line per seed and set; None without evaluations during training."""
    tables = series.curves(output)
    sets = [name for name in CURVE_SETS if all(f"{name}_errors" in table.column_names for table in tables)]
    if not sets:
        return None
    name, title = f"errors-{series.name}", f"Errors in training: {series.label}"
    lines = [(index, each, row["seed"], *_rates(table, each))
             for index, each in enumerate(sets) for row, table in zip(series.rows, tables, strict=True)]  # fmt: skip
    axis = ErrorAxis(np.concatenate([rates for *_, rates in lines]))
    words = "\nbeyond the dashed line: no error" if axis.zero is not None else ""
    keys = [_key(SETS[each], index) for index, each in enumerate(sets)]
    with sheet(name, title, f"a line per seed; first rows of each set{words}", HEIGHT, keys) as page:
        axes = page.axes(BOTTOM, "step", "wrong reads, %")
        axis.apply(axes, "y")
        for index, _, _, steps, rates in lines:
            axes.plot(steps, axis.place(rates), color=series_style(index)[0], linewidth=1, alpha=0.7,
                      marker=style.MARKERS[index], markersize=3)  # fmt: skip
        _steps_axis(axes)
        fit(axes)
        svg, inline = to_svg(page, f"{title}: wrong reads in percent over training steps, {len(lines)} lines, one per "
                             "seed and set.")  # fmt: skip
    rows = [(SETS[each], str(seed), f"{int(steps[-1]):,}", percent(rates[-1] / 100))
            for _, each, seed, steps, rates in lines]  # fmt: skip
    return Plot(name, title, "", svg, inline, ("set", "seed", "last step", "wrong %"), rows)


def distance_plot(series: Series, output: Path) -> Plot | None:
    """Error rate by distance from write to read, median and range over seeds for each set; None without any error."""
    found = {name: distances(series, output, name) for name in CURVE_SETS if series.has(name)}
    every = np.concatenate([rates for points in found.values() for _, rates in points.values()] or [np.zeros(0)])
    if not (every > 0).any():
        return None
    name, title = f"distance-{series.name}", f"Errors by distance: {series.label}"
    axis = ErrorAxis(every)
    words = "\nbeyond the dashed line: no error" if axis.zero is not None else ""
    keys = [_key(SETS[each], index, style.MARKERS[index]) for index, each in enumerate(found)]
    rows = []
    subtitle = f"median of {series.size}; bars: range{words}"
    with sheet(name, title, subtitle, HEIGHT, keys) as page:
        axes = page.axes(BOTTOM, "instructions from write to read", "wrong reads, %")
        axis.apply(axes, "y")
        axes.set_xscale("log")
        for index, (each, points) in enumerate(found.items()):
            colour, marker, dashes = series_style(index)
            x = np.array([*points]) * 1.045 ** (index - 1)  # side by side
            low, median, high = np.array([quartet(rates) for _, rates in points.values()]).reshape(-1, 3).T
            axes.vlines(x, axis.place(low), axis.place(high), color=colour, linewidth=1.3)
            axes.plot(x, axis.place(median), color=colour, linestyle=dashes, linewidth=1.6, marker=marker, markersize=5)
            rows += [(gap, SETS[each], *(percent(value / 100) for value in quartet(rates)))
                     for gap, rates in points.values()]  # fmt: skip
        low_x, high_x = axes.get_xlim()
        set_ticks(axes, "x", [tick for tick in OCTAVES if low_x <= tick <= high_x])
        fit(axes)
        svg, inline = to_svg(page, f"{title}: wrong reads in percent by instructions from write to read, median and "
                             f"range over {series.size}.")  # fmt: skip
    header = ("distance", "set", "min wrong %", "median wrong %", "max wrong %")
    return Plot(name, title, "", svg, inline, header, rows)


def counting_curves(panel: Panel, width: int, output: Path) -> Plot:
    """The loss of the models of one width, a colour per vocabulary."""
    members = panel.by_width[width]
    title = f"{panel.title}, width {width}"
    curves = [(f"m = {one.rows[0]['vocabulary']}", one.curves(output)) for one in members]
    name = f"loss-{members[0].name}"
    return loss_curves(name, title, curves, "squared counts")


def _rates(table: pa.Table, name: str) -> tuple[Floats, Floats]:
    steps, errors = _points(table, f"{name}_errors")
    return steps, 100 * errors / _points(table, f"{name}_reads")[1]


def _points(table: pa.Table, column: str) -> tuple[Floats, Floats]:
    """Steps and values where a column has any."""
    kept = table.filter(table[column].is_valid())
    return kept["step"].to_numpy().astype(float), kept[column].to_numpy().astype(float)


def _key(label: str, index: int, marker: str = "") -> Key:
    kinds = len(style.SERIES)
    return Key(
        label, style.SERIES[index % kinds], marker, _dashes(index) if not marker else style.DASHES[index % kinds]
    )


def _dashes(index: int) -> Any:
    """Solid lines; others when the colours repeat."""
    return style.DASHES[index // len(style.SERIES) % len(style.DASHES)]


def _steps_axis(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    last = max(float(np.max(line.get_xdata())) for line in axes.lines)
    axes.set_xlim(-0.02 * last, 1.04 * last)
    set_ticks(axes, "x", [tick for tick in MaxNLocator(4, integer=True).tick_values(0, last) if 0 <= tick <= last])


def _loss_ticks(axes: "Axes") -> None:
    """Ticks at powers of ten, or at 1, 2 and 5 if there are few."""
    low, high = axes.get_ylim()
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    inner: Any = (1, 2, 5) if len(powers) <= 3 else (1,)
    step = -(-len(powers) // 7)
    ticks = [10.0**power * k for power in powers[::step] for k in inner]
    set_ticks(axes, "y", [tick for tick in ticks if low <= tick <= high])
