"""Bar plots of answer counts, and dot plots of shares with intervals."""

from collections.abc import Sequence

import numpy as np

from fflm_data.number_formats import percent
from harness.reporting import style
from harness.reporting.canvas import LABEL, Key, fit, fitted, sheet, to_svg
from harness.reporting.line_plots import series_style
from harness.reporting.plot_types import Curve, Plot, table_rows

LINE_HEIGHT = 21.0
BOTTOM = 46.0
LABEL_ROOM = 150.0


def answer_bars(
    name: str, title: str, labels: Sequence[str], counts: Sequence[int], right: int | None, *, numbers: int,
    x_label: str = "count", y_label: str = "answer", note: str = "",
) -> Plot:  # fmt: skip
    """A bar per answer, the right one in colour. The first `numbers` labels are numbers, the others are not."""
    n = sum(counts)
    with sheet(name, title, f"blue: the right answer; n = {n:,}", 24 + BOTTOM + LINE_HEIGHT * len(labels)) as page:
        axes = page.axes(BOTTOM, x_label, y_label)
        colours = [style.SERIES[0] if i == right else style.SERIES[1] for i in range(len(labels))]
        for i, (count, colour) in enumerate(zip(counts, colours, strict=True)):
            number = i < numbers
            axes.barh(
                i, count, height=0.68, color=colour.light if number else "none", alpha=0.85,
                edgecolor=style.SOFT.light, linewidth=0 if number else 1.2,
            )  # fmt: skip
            axes.annotate(
                f"{count:,}", (count, i), xytext=(5, 0), textcoords="offset points", va="center",
                color=style.INK.light if count else style.SOFT.light, fontsize=LABEL,
            )  # fmt: skip
        axes.set_yticks(range(len(labels)), [fitted(label, LABEL_ROOM, LABEL) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(0, 1.18 * max([*counts, 1]))
        axes.set_xticks([])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set(visible=True, color=style.AXIS.light)
        if right is not None:
            axes.get_yticklabels()[right].set(color=style.INK.light, weight="bold")
        fit(axes)
        svg, inline = to_svg(page, f"{title}: {x_label} by {y_label}, n = {n:,}.")
    rows = [
        (label, f"{count:,}", "yes" if i == right else "")
        for i, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
    return Plot(name, title, note, svg, inline, (y_label, x_label, "right"), rows)


def dot_plot(
    name: str, title: str, curves: Sequence[Curve], *, x_label: str, y_label: str,
    baseline_label: str = "best baseline", note: str = "",
) -> Plot:  # fmt: skip
    """Shares in percent with their intervals, one line per point name."""
    names = list(dict.fromkeys(name for curve in curves for name in curve.names))
    kinds = len(style.SERIES)
    keys = [Key(f"{curve.label}, n = {curve.total:,}", style.SERIES[i % kinds], style.MARKERS[i % kinds], "none")
            for i, curve in enumerate(curves)]  # fmt: skip
    tall = max(LINE_HEIGHT, 10.0 * len(curves) + 8)
    if any(curve.baseline is not None for curve in curves):
        keys.append(Key(baseline_label, style.SOFT, "|", "none"))
    with sheet(name, title, "bars: 95% intervals", 24 + BOTTOM + tall * len(names), keys) as page:
        axes = page.axes(BOTTOM, f"{x_label}, %", y_label)
        for index, curve in enumerate(curves):
            colour, marker, _ = series_style(index)
            y = np.array([names.index(name) for name in curve.names]) + (index - (len(curves) - 1) / 2) * 10 / tall
            axes.hlines(y, 100 * curve.low, 100 * curve.high, color=colour, linewidth=1.5, zorder=3)
            axes.plot(100 * curve.value, y, color=colour, marker=marker, markersize=6, markeredgewidth=0,
                      linestyle="", zorder=4, clip_on=False)  # fmt: skip
            if curve.baseline is not None:
                axes.plot(100 * curve.baseline, y, color=style.SOFT.light, marker="|", markersize=11,
                          markeredgewidth=1.6, linestyle="", zorder=2, clip_on=False)  # fmt: skip
        axes.set_yticks(range(len(names)), [fitted(name, LABEL_ROOM, LABEL) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 104)
        axes.set_xticks([0, 25, 50, 75, 100])
        fit(axes)
        svg, inline = to_svg(page, f"{title}: {x_label} in percent by {y_label}. Intervals are 95%.")
    header = (y_label, "series", f"{x_label}, %", "95% interval", "errors", "n", f"{baseline_label}, %")
    return Plot(name, title, note, svg, inline, header, table_rows(curves, percent))
