"""Line plots with 95% intervals, several series: error rates, shares, count errors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fflm_data.number_formats import percent, significant, typographic
from harness.reporting import style
from harness.reporting.canvas import Key, fit, sheet, to_svg
from harness.reporting.plot_types import Curve, Plot, table_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

PLOT_HEIGHT = 232.0
BOTTOM = 46.0
LINEAR_UP_TO = 30.0
SPREAD = 3.2  # pixels between the points of two series at one x
INTERVALS = "bars: 95% intervals"


def error_rate_plot(
    name: str,
    title: str,
    curves: Sequence[Curve],
    *,
    x_label: str,
    log_x: bool = False,
    ticks: Sequence[float] | None = None,
    baseline_label: str = "best baseline",
    note: str = "",
) -> Plot:
    """Error rate in percent on a logarithmic axis with an extra tick for 0. A point without errors is an open marker at
    0, with a bar up to the upper bound of its interval."""
    percents = [_scaled(curve, 100) for curve in curves]
    seen = np.concatenate([np.where(curve.value > 0, curve.value, curve.high) for curve in percents])
    lowest = float(seen[seen > 0].min(initial=10.0))
    floor = 10.0 ** np.floor(np.log10(min(lowest, 10.0)) + 1e-9)
    # Leaves room for the label of 0, whatever the number of decades.
    zero = floor / 10 ** max(0.4, 0.13 * (2 - np.log10(floor))) if _no_error(curves) else None
    subtitle = INTERVALS if zero is None else f"{INTERVALS}\nopen marker: no error, bar up to the upper bound"
    with sheet(name, title, subtitle, PLOT_HEIGHT, _keys(curves, baseline_label)) as page:
        axes = page.axes(BOTTOM, x_label, "wrong answers, %")
        axes.set_yscale("log")
        axes.set_ylim(0.8 * floor if zero is None else 0.7 * zero, 130)
        decades = [10.0**power for power in range(round(np.log10(floor)), 3)]
        near = len(decades) < 4
        ticked = [base * k for base in decades for k in ((1, 2, 5) if near else (1,)) if base * k <= 100]
        set_ticks(axes, "y", ticked if zero is None else [zero, *ticked], zero)
        _x_axis(axes, percents, log_x, ticks)
        _draw(axes, percents, 0.8 * floor, zero)
        fit(axes)
        svg, inline = to_svg(page, _description(title, x_label, "wrong answers in percent", curves))
    header = (x_label, "series", "wrong %", "95% interval", "errors", "n", f"{baseline_label}, wrong %")
    rows = table_rows(curves, percent)
    return Plot(name, title, note, svg, inline, header, rows)


def share_plot(
    name: str, title: str, curves: Sequence[Curve], *, x_label: str, y_label: str, log_x: bool = False,
    ticks: Sequence[float] | None = None, baseline_label: str = "best baseline", note: str = "",
) -> Plot:  # fmt: skip
    """A share in percent, from 0 to 100."""
    percents = [_scaled(curve, 100) for curve in curves]
    with sheet(name, title, INTERVALS, PLOT_HEIGHT, _keys(curves, baseline_label)) as page:
        axes = page.axes(BOTTOM, x_label, f"{y_label}, %")
        axes.set_ylim(-2, 103)
        set_ticks(axes, "y", [0, 25, 50, 75, 100])
        _x_axis(axes, percents, log_x, ticks)
        _draw(axes, percents, 0)
        fit(axes)
        svg, inline = to_svg(page, _description(title, x_label, f"{y_label} in percent", curves))
    header = (x_label, "series", f"{y_label}, %", "95% interval", "errors", "n", f"{baseline_label}, %")
    return Plot(name, title, note, svg, inline, header, table_rows(curves, percent))


def error_plot(
    name: str, title: str, curves: Sequence[Curve], *, x_label: str, y_label: str,
    ticks: Sequence[float] | None = None, baseline_label: str = "best baseline", note: str = "",
) -> Plot:  # fmt: skip
    """Errors of predicted numbers, absolute or signed. Linear axis; symlog from 10 if they exceed `LINEAR_UP_TO`."""
    ends = np.concatenate([np.r_[c.value, c.low, c.high, [] if c.baseline is None else c.baseline] for c in curves])
    ends = ends[np.isfinite(ends)]
    least, most = float(ends.min(initial=0.0)), float(ends.max(initial=1.0))
    wide = max(-least, most) > LINEAR_UP_TO
    subtitle = INTERVALS + ("\nvertical axis logarithmic beyond 10" if wide else "")
    with sheet(name, title, subtitle, PLOT_HEIGHT, _keys(curves, baseline_label)) as page:
        axes = page.axes(BOTTOM, x_label, y_label)
        if wide:
            # Leaves room for the labels of 0 and 10, whatever the number of decades.
            axes.set_yscale("symlog", linthresh=10, linscale=max(1.0, 0.4 * np.log10(max(-least, most))))
            set_ticks(axes, "y", _powers(least, most))
        span = most - least
        axes.set_ylim(*((1.5 * least, 1.5 * most) if wide else (least - 0.04 * span, most + 0.06 * span)))
        if not wide:
            from matplotlib.ticker import MaxNLocator

            set_ticks(
                axes, "y", [v for v in MaxNLocator(5).tick_values(least, most) if least - 0.04 * span <= v <= most]
            )
        if least < 0:
            axes.axhline(0, color=style.AXIS.light, linewidth=1)
        _x_axis(axes, curves, True, ticks)
        _draw(axes, curves, -np.inf)
        fit(axes)
        svg, inline = to_svg(page, _description(title, x_label, y_label, curves))
    header = (x_label, "series", y_label, "95% interval", "errors", "n", baseline_label)
    return Plot(name, title, note, svg, inline, header, table_rows(curves, significant))


def _draw(axes: "Axes", curves: Sequence[Curve], floor: float, zero: float | None = None) -> None:
    """Draws baseline, intervals, line and points of every curve; the series are shifted against each other.

    floor: lower end of bars that extend below the axis. zero: coordinate of 0 on a logarithmic axis.
    """
    _draw_baselines(axes, curves, floor)
    for index, curve in enumerate(curves):
        colour, marker, dashes = series_style(index)
        shift = SPREAD * (index - (len(curves) - 1) / 2)
        moved = shifted(axes, shift, 0)
        none = np.zeros(len(curve.value), dtype=bool) if zero is None else curve.value <= 0
        value = np.where(none, zero or 0.0, curve.value)
        bounded = np.isfinite(curve.low)
        low, high = np.where(none, zero or 0.0, np.maximum(curve.low, floor))[bounded], curve.high[bounded]
        axes.vlines(curve.x[bounded], low, high, color=colour, linewidth=1.3, transform=moved, zorder=3)
        axes.plot(curve.x, value, color=colour, linewidth=1.6, linestyle=dashes, transform=moved, zorder=4)
        full: dict[str, Any] = {
            "linestyle": "",
            "marker": marker,
            "color": colour,
            "markersize": 5.5,
            "markeredgewidth": 0,
        }
        axes.plot(curve.x[~none], value[~none], **full, transform=moved, zorder=5)
        hollow: dict[str, Any] = full | {"markerfacecolor": style.PAGE.light, "markeredgewidth": 1.3}
        axes.plot(curve.x[none], value[none], **hollow, transform=moved, zorder=6)


def _draw_baselines(axes: "Axes", curves: Sequence[Curve], floor: float) -> None:
    """Draws the baselines, once if all curves have the same one."""
    baselines = [(i, curve.x, curve.baseline) for i, curve in enumerate(curves) if curve.baseline is not None]
    points = [dict(zip(x.tolist(), baseline.tolist(), strict=True)) for _, x, baseline in baselines]
    shared = all(point == points[0] for point in points)
    for index, x, baseline in baselines[: 1 if shared else None]:
        colour = style.SOFT.light if shared else series_style(index)[0]
        line: dict[str, Any] = {"color": colour, "linewidth": 1.2, "linestyle": style.BASELINE_DASHES, "zorder": 2}
        if len(x) == 1:
            axes.axhline(max(float(baseline[0]), floor), **line)
        else:
            axes.plot(x, np.maximum(baseline, floor), **line)


def shifted(axes: "Axes", right: float, up: float) -> "Transform":
    """Data coordinates, shifted by pixels."""
    from matplotlib.transforms import Affine2D

    return axes.transData + Affine2D().translate(right, up)


def series_style(index: int) -> tuple[str, str, object]:
    """Colour, marker and dashes of a series."""
    kinds = len(style.SERIES)
    return style.SERIES[index % kinds].light, style.MARKERS[index % kinds], style.DASHES[index % kinds]


def _keys(curves: Sequence[Curve], baseline_label: str) -> list[Key]:
    kinds = len(style.SERIES)
    keys = [
        Key(
            f"{curve.label}, n = {curve.total:,}",
            style.SERIES[i % kinds],
            style.MARKERS[i % kinds],
            style.DASHES[i % kinds],
        )
        for i, curve in enumerate(curves)
    ]
    if any(curve.baseline is not None for curve in curves):
        keys.append(Key(baseline_label, style.SOFT))
    return keys


def _x_axis(axes: "Axes", curves: Sequence[Curve], log_x: bool, ticks: Sequence[float] | None) -> None:
    x_values = np.unique(np.concatenate([curve.x for curve in curves]))
    least, most = float(x_values[0]), float(x_values[-1])
    if log_x:
        axes.set_xscale("log")
        pad = 1.15 * (most / least) ** 0.04
        axes.set_xlim(least / pad, most * pad)
    else:
        least, most = min([least, *(ticks or [])]), max([most, *(ticks or [])])
        pad = max((most - least) * 0.04, 0.3)
        axes.set_xlim(least - pad, most + pad)
    if ticks is None and not log_x:
        from matplotlib.ticker import MaxNLocator

        ticks = list(MaxNLocator(6, integer=True).tick_values(least, most))
    low, high = axes.get_xlim()
    set_ticks(axes, "x", [value for value in (x_values if ticks is None else ticks) if low <= value <= high])


def set_ticks(axes: "Axes", which: str, values: Sequence[float], zero: float | None = None) -> None:
    """Sets exactly these ticks, labelled with plain numbers. zero: the tick that is labelled 0."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: _short(0.0 if value == zero else value))


def _powers(least: float, most: float) -> list[float]:
    """0 and the powers of ten in the range of the values, at most four on each side."""
    last = int(np.ceil(np.log10(max(-least, most))))
    powers = [10.0**power for power in range(1, last + 1, -(-last // 4))]
    return [value for value in [-power for power in reversed(powers)] + [0.0, *powers] if least <= value <= 1.3 * most]


def _short(value: float) -> str:
    """A tick label: 0.001, 2.5, 1,000, 100K, 10M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= size:
            return typographic(f"{significant(value / (1e3 if unit == 'K' else size))}{unit}")
    return typographic(significant(value))


def _scaled(curve: Curve, factor: float) -> Curve:
    baseline = None if curve.baseline is None else factor * curve.baseline
    return Curve(curve.label, curve.x, curve.names, factor * curve.value, factor * curve.low, factor * curve.high,
                 curve.n, curve.errors, baseline, curve.of)  # fmt: skip


def _no_error(curves: Sequence[Curve]) -> bool:
    return any(bool((curve.value <= 0).any()) for curve in curves)


def _description(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> str:
    series = "; ".join(f"{c.label}, n = {c.total:,}" for c in curves)
    return f"{title}: {y_label} against {x_label}. Series: {series}. Intervals are 95%."
