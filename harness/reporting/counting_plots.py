"""The figure of counting models: accuracy against vocabulary for each width, with the threshold m_thr."""

import numpy as np

from fflm_data.number_formats import percent, significant
from harness.reporting import style
from harness.reporting.canvas import Key, fit, sheet, to_svg
from harness.reporting.line_plots import SPREAD, series_style, set_ticks, shifted
from harness.reporting.plot_types import Plot
from harness.reporting.sweep_data import THRESHOLD, Panel, Series
from harness.reporting.sweep_plots import quartet
from harness.training.sweep_units import slug

HEIGHT, BOTTOM = 250.0, 46.0


def accuracy_plot(panel: Panel) -> Plot:
    """Accuracy against vocabulary, a line of medians per width and a point per seed; m_thr is a vertical line."""
    name, title = f"accuracy-{slug(panel.title)}", f"{panel.title}: accuracy"
    kinds = len(style.SERIES)
    keys = [
        Key(f"width {width}, {_threshold(panel, width)}", style.SERIES[index % kinds], style.MARKERS[index % kinds],
            style.DASHES[index % kinds])
        for index, width in enumerate(panel.by_width)
    ]  # fmt: skip
    subtitle = "line: median; a point per seed; dashed: 80%\nvertical line: m_thr, the last vocabulary of at least 80%"
    sizes = sorted({_size(series) for members in panel.by_width.values() for series in members})
    with sheet(name, title, subtitle, HEIGHT, keys) as page:
        axes = page.axes(BOTTOM, "vocabulary m", "accuracy, %")
        axes.set_ylim(-4, 104)
        set_ticks(axes, "y", [0, 25, 50, 75, 100])
        axes.set_xscale("log")
        axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
        axes.axhline(100 * THRESHOLD, color=style.SOFT.light, linewidth=1.1, linestyle=style.BASELINE_DASHES, zorder=1)
        for index, (width, members) in enumerate(panel.by_width.items()):
            colour, marker, dashes = series_style(index)
            where = shifted(axes, SPREAD * (index - (len(panel.by_width) - 1) / 2), 0)
            points = [(_size(one), 100 * row["accuracy"]) for one in members for row in one.rows]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, linestyle="", alpha=0.7,
                      markeredgewidth=0, transform=where, zorder=3)  # fmt: skip
            medians = [100 * np.median(_accuracies(one)) for one in members]
            axes.plot([_size(one) for one in members], medians, color=colour, linestyle=dashes, linewidth=1.6,
                      transform=where, zorder=4)  # fmt: skip
            if threshold := panel.threshold(width):
                axes.vlines([threshold], -4, 100 * THRESHOLD, color=colour, linewidth=1.4, linestyle=":",
                            transform=where, zorder=2)  # fmt: skip
        set_ticks(axes, "x", _apart(sizes))
        fit(axes)
        found = "; ".join(f"width {width}: {_threshold(panel, width)}" for width in panel.by_width)
        svg, inline = to_svg(page, f"{title} in percent against vocabulary, a line per width. {found}.")
    rows = [
        (str(width), str(_size(one)), str(len(one.rows)), *map(percent, quartet(_accuracies(one))),
         significant(float(np.median([row["mean_absolute_error"] for row in one.rows]))))
        for width, members in panel.by_width.items() for one in members
    ]  # fmt: skip
    header = ("width", "m", "seeds", "min accuracy %", "median %", "max %", "median absolute error")
    return Plot(name, title, "", svg, inline, header, rows)


def _apart(sizes: list[int]) -> list[int]:
    """The sizes whose tick labels do not touch on a logarithmic axis, the smallest and the largest among them."""
    room = 0.09 * np.log(1.44 * sizes[-1] / sizes[0])
    kept = [sizes[0]]
    for size in sizes[1:-1]:
        if np.log(size / kept[-1]) >= room and np.log(sizes[-1] / size) >= room:
            kept.append(size)
    return list(dict.fromkeys([*kept, sizes[-1]]))


def _threshold(panel: Panel, width: int) -> str:
    threshold = panel.threshold(width)
    return "no m_thr" if threshold is None else f"m_thr = {threshold:,}"


def _size(series: Series) -> int:
    return int(series.rows[0]["vocabulary"])


def _accuracies(series: Series) -> list[float]:
    return [row["accuracy"] for row in series.rows]
