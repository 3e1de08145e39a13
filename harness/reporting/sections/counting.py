"""Counting words of a list: accuracy, absolute and signed error, by vocabulary size."""

from collections.abc import Sequence

import numpy as np

from harness.reporting import grid_plots, line_plots, plot_data
from harness.reporting.plot_types import Curve, Plot
from harness.reporting.sections.base import Draw, GradedRun, Section, Variant, plots_by_variant
from harness.scoring.grading import GradedNumbers

TASKS = {"query-count": "a given word", "most-frequent": "the most frequent word"}
SERIES = (("sequence", "sequences", False), ("control", "binary control", True))
X_LABEL = "vocabulary size, words"
SIGNED = "mean signed error (predicted \N{MINUS SIGN} true)"
TEXT = (
    "The expected count of a given word is the same for every vocabulary size. The binary control has the same length "
    "and the same expected count, but only two words. It separates the effect of the vocabulary from that of the "
    "length."
)


def section(runs: Sequence[GradedRun]) -> Section:
    """The plots of both counting tasks."""
    plots = []
    for task, counted in TASKS.items():
        graded = [entry for run in runs for entry in run.of(task) if isinstance(entry, GradedNumbers)]
        if graded:
            baseline = next((name for name in graded[0].baseline_predictions if name.startswith("always")), None)
            sizes = np.unique(np.concatenate([plot_data.columns(entry, "vocabulary")[0] for entry in graded])).tolist()
            titles = {"right": f"Counting {counted}", "absolute": "Absolute error", "signed": "Signed error"}
            for kind, title in titles.items():
                variants = [_variant(task, *series, kind=kind, baseline=baseline) for series in SERIES]
                heading = title if kind == "right" else f"{title}: {counted}"
                plots += plots_by_variant(runs, f"{task}-{kind}", heading, variants, _draw(kind, sizes, baseline))
        if graded and len(runs) == 1:
            (binary,) = plot_data.columns(graded[0], "control")
            answers = plot_data.answers(graded[0], ~binary)
            if answers.target:
                title = f"Predicted and true count: {counted}"
                plots.append(
                    grid_plots.predicted_against_target(
                        f"{task}-predicted", title, answers, x_label="true count",
                        note="Sequences only, without the control.",
                    )
                )  # fmt: skip
    return Section("Counting words", TEXT, plots)


def _variant(task: str, name: str, label: str, control: bool, *, kind: str, baseline: str | None) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of(task):
            if isinstance(graded, GradedNumbers):
                sizes, binary = plot_data.columns(graded, "vocabulary", "control")
                points = [
                    point._replace(inside=point.inside & (binary == control))
                    for point in plot_data.distinct_values(sizes)
                ]
                if kind == "right":
                    return plot_data.share_curve(graded, label, points)
                shown = baseline if kind == "absolute" else None
                return plot_data.error_curve(graded, label, points, signed=kind == "signed", baseline=shown)
        return None

    return Variant(name, label, curve)


def _draw(kind: str, sizes: list[float], baseline: str | None) -> Draw:
    def draw(name: str, title: str, curves: list[Curve]) -> Plot:
        if kind == "right":
            return line_plots.share_plot(name, title, curves, x_label=X_LABEL, y_label="right", log_x=True, ticks=sizes)
        y_label = "mean absolute error" if kind == "absolute" else SIGNED
        note = "Outputs without a number are excluded."
        return line_plots.error_plot(
            name, title, curves, x_label=X_LABEL, y_label=y_label, ticks=sizes, baseline_label=baseline or "", note=note
        )

    return draw
