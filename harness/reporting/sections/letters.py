"""Counting letters of words: by the letter's count, by word length, in plain and in spelled-out words."""

from collections.abc import Sequence

import numpy as np

from harness.reporting import grid_plots, line_plots, plot_data
from harness.reporting.plot_types import Curve, Plot
from harness.reporting.sections.base import GradedRun, Section, Variant, plots_by_variant
from harness.scoring.grading import GradedHistograms, GradedNumbers

TASKS = {"letters": "plain words", "letters-spelled": "spelled-out words"}
STRATA = {"english": "English words", "random": "random strings"}
TEXT = (
    "How often a letter occurs in a word; the answers 0 to 4 are equally frequent. In spelled-out words each letter is "
    "a token of its own: the difference is the cost of tokenization."
)


def section(runs: Sequence[GradedRun]) -> Section:
    """The plots of letters, letters-spelled and letters-histogram."""
    variants = [_accuracy(task, label) for task, label in TASKS.items()]
    plots = plots_by_variant(runs, "letters-right", "Counting a letter", variants, _by_count)
    if len(runs) == 1:
        for task, label in TASKS.items():
            for graded in runs[0].of(task):
                if isinstance(graded, GradedNumbers):
                    plots += _grids(graded, label)
    strata = [_histogram(name, label) for name, label in STRATA.items()]
    plots += plots_by_variant(runs, "letters-histogram", "All letters of a word", strata, _by_max_count)
    return Section("Counting letters", TEXT, plots)


def _accuracy(task: str, label: str) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of(task):
            if isinstance(graded, GradedNumbers):
                points = plot_data.distinct_values(graded.target)
                return plot_data.share_curve(graded, label, points, single_baseline=True)
        return None

    return Variant(task, label, curve)


def _grids(graded: GradedNumbers, label: str) -> list[Plot]:
    """A heat map per stratum, and predictions against targets."""
    task = graded.job.task.name
    (strata,) = plot_data.columns(graded, "stratum")
    spelled = ", spelled out" if task == "letters-spelled" else ""
    plots = [
        grid_plots.heat_map(f"{task}-{name}", f"{words[0].upper()}{words[1:]}{spelled}",
                       plot_data.accuracy_by_word(graded, strata == name),
                       x_label="letters in the word", y_label="count of the letter", what="right")
        for name, words in STRATA.items() if (graded.counted & (strata == name)).any()
    ]  # fmt: skip
    answers = plot_data.answers(graded, np.ones(len(graded.row), dtype=bool))
    title = f"Predicted and true count: {label}"
    return [
        *plots,
        grid_plots.predicted_against_target(f"{task}-predicted", title, answers, x_label="true count"),
    ]


def _histogram(stratum: str, label: str) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of("letters-histogram"):
            if isinstance(graded, GradedHistograms):
                (strata,) = plot_data.columns(graded, "stratum")
                points = plot_data.distinct_values(plot_data.max_letter_count(graded))
                inside = [point._replace(inside=point.inside & (strata == stratum)) for point in points]
                return plot_data.share_curve(graded, label, inside)
        return None

    return Variant(stratum, label, curve)


def _by_count(name: str, title: str, curves: list[Curve]) -> Plot:
    return line_plots.share_plot(
        name, title, curves, x_label="count of the letter", y_label="right",
        note="The baseline is a constant answer: right at its own count, wrong elsewhere.",
    )  # fmt: skip


def _by_max_count(name: str, title: str, curves: list[Curve]) -> Plot:
    return line_plots.share_plot(
        name, title, curves, x_label="count of the most frequent letter", y_label="every count right",
        note="The model writes the count of each letter of the word as a JSON object.",
    )  # fmt: skip
