"""Tasks without a section of their own: accuracy by group."""

from collections.abc import Sequence
from dataclasses import replace

from harness.reporting import bar_plots, plot_data
from harness.reporting.plot_types import Plot
from harness.reporting.sections import counting, letters, strawberry
from harness.reporting.sections.base import GradedRun, Section
from harness.scoring.grading import GradedChoices, GradedReads

OWN_SECTION = {*counting.TASKS, *letters.TASKS, "letters-histogram", strawberry.TASK}


def section(runs: Sequence[GradedRun]) -> Section:
    """A plot for each task without a section of its own."""
    keys = dict.fromkeys(
        key for run in runs for key, graded in run.graded.items()
        if key[0] not in OWN_SECTION and not isinstance(graded, GradedReads | GradedChoices)
        and graded.groups and graded.counted.any()
    )  # fmt: skip
    return Section("Accuracy by group", "Groups are scored separately.", [group_plot(runs, key) for key in keys])


def group_plot(runs: Sequence[GradedRun], key: tuple[str, str]) -> Plot:
    """Accuracy by group of one task, a series per run."""
    labelled = [(run.label, run.graded[key]) for run in runs if key in run.graded]
    curves = [
        plot_data.share_curve(graded, label, plot_data.groups(graded))
        for label, graded in labelled
        if graded.counted.any()
    ]
    keys = {name.partition("=")[0] if "=" in name else "" for curve in curves for name in curve.names}
    shared = keys.pop() if len(keys) == 1 else ""  # all groups of arithmetic are operations
    curves = [replace(curve, names=tuple(_without(shared, name) for name in curve.names)) for curve in curves]
    title = f"{key[0][:1].upper()}{key[0][1:].replace('-', ' ')}, by group"
    return bar_plots.dot_plot(f"{'-'.join(key)}-groups", title, curves, x_label="right", y_label=shared or "group")


def _without(key: str, name: str) -> str:
    return name.removeprefix(f"{key}=").replace(",", ", ")
