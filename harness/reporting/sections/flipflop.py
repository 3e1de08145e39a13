"""Flip-flop strings: glitches by distance from write to read, by position, and in stories by length."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from harness.reporting import line_plots, plot_data
from harness.reporting.plot_types import Curve, Plot
from harness.reporting.sections.base import GradedRun, Section, Variant, plots_by_variant
from harness.scoring.grading import GradedReads

PROSE = "flipflop-prose"
OCTAVES = [2.0**power for power in range(15)]
TEXT = (
    "A string of writes, reads and ignores over one bit. After each read the model must predict the bit last written. "
    "A wrong bit is a glitch."
)


def section(runs: Sequence[GradedRun]) -> Section:
    """The plots of all flip-flop tasks."""
    plots = _string_plots(runs, "flipflop", "")
    metrics = [
        _story("vocabulary", "most probable token", among=False),
        _story("two", "more probable of on and off", among=True),
    ]
    plots += plots_by_variant(runs, "length", "Stories, by length", metrics, _length)
    plots += _string_plots(runs, "flipflop-piecewise", ", dense then sparse")
    return Section("Flip-flop", TEXT, plots)


def _string_plots(runs: Sequence[GradedRun], task: str, suffix: str) -> list[Plot]:
    keys = dict.fromkeys((task, graded.job.split) for run in runs for graded in run.of(task))
    by_gap, by_position = (
        [_variant(key, points) for key in keys] for points in (plot_data.gap_octaves, plot_data.position_bins)
    )
    plots = plots_by_variant(runs, f"{task}-distance", f"Glitches by distance{suffix}", by_gap, _distance)
    strings = [graded for run in runs for graded in run.of(task) if isinstance(graded, GradedReads)]
    length = max(map(plot_data.string_length, strings), default=0)
    draw = partial(_position, length=length)
    return plots + plots_by_variant(runs, f"{task}-position", f"Glitches by position{suffix}", by_position, draw)


def _variant(key: tuple[str, str], points: Callable[[GradedReads], list[plot_data.Point]]) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        graded = run.graded.get(key)
        if not isinstance(graded, GradedReads):
            return None
        return plot_data.error_rate(plot_data.share_curve(graded, label, points(graded)))

    split = key[1]
    return Variant(split, split, curve)


def _story(name: str, label: str, *, among: bool) -> Variant:
    """among: a read is right if the target is the more probable symbol; else, if it is the most probable token."""

    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of(PROSE):
            if isinstance(graded, GradedReads):
                right = graded.among if among else graded.right
                points = plot_data.distinct_values(graded.position + 1)
                return plot_data.error_rate(plot_data.share_curve(graded, label, points, right))
        return None

    return Variant(name, label, curve)


def _distance(name: str, title: str, curves: list[Curve]) -> Plot:
    return line_plots.error_rate_plot(
        name,
        title,
        curves,
        x_label="instructions from write to read",
        log_x=True,
        ticks=OCTAVES,
        note="Distances in octaves: 1, 2 and 3, 4 to 7, and so on. Intervals are clustered by string.",
    )


def _position(name: str, title: str, curves: list[Curve], *, length: int) -> Plot:
    note = (
        f"The string in {plot_data.POSITION_BINS} equal parts; parts without reads are omitted. "
        "Intervals are clustered by string."
    )
    ticks = [length * quarter / 4 for quarter in range(5)]
    x_label = "position in the string, symbols"
    return line_plots.error_rate_plot(name, title, curves, x_label=x_label, ticks=ticks, note=note)


def _length(name: str, title: str, curves: list[Curve]) -> Plot:
    ticks = np.unique(np.concatenate([curve.x for curve in curves])).tolist()
    note = (
        "Two metrics: whether the right word is the most probable token of the vocabulary, and whether it is the more "
        "probable of \N{LEFT DOUBLE QUOTATION MARK}on\N{RIGHT DOUBLE QUOTATION MARK} and "
        "\N{LEFT DOUBLE QUOTATION MARK}off\N{RIGHT DOUBLE QUOTATION MARK}."
    )
    return line_plots.error_rate_plot(name, title, curves, x_label="string length T, symbols", ticks=ticks, note=note)
