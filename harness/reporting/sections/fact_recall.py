"""Fact recall: the rank of the right answer among all candidates of its relation."""

from collections.abc import Sequence

from harness.reporting import line_plots, plot_data
from harness.reporting.plot_types import Curve, Plot
from harness.reporting.sections.base import GradedRun, Section, Variant, plots_by_variant
from harness.reporting.sections.other_tasks import group_plot
from harness.scoring.grading import GradedChoices

TEXT = (
    "A sentence ends with a capital, a country, a continent or an internet domain. Every answer of the relation is "
    "scored as a continuation. Rank 1 is the most probable."
)


def section(runs: Sequence[GradedRun]) -> Section:
    """Cumulative ranks by relation."""
    keys = dict.fromkeys(
        key for run in runs for key, graded in run.graded.items()
        if isinstance(graded, GradedChoices) and graded.counted.any()
    )  # fmt: skip
    plots = []
    for task, split in keys:
        groups = dict.fromkeys(group for run in runs for graded in run.of(task) for group in graded.groups)
        variants = [_variant(task, group) for group in groups]
        plots += plots_by_variant(runs, f"{task}-rank", "Rank of the right answer", variants, _draw)
        plots.append(group_plot(runs, (task, split)))
    return Section("Fact recall", TEXT, plots)


def _variant(task: str, group: str) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of(task):
            inside = graded.groups.get(group)
            if isinstance(graded, GradedChoices) and inside is not None and (inside & graded.counted).any():
                return plot_data.rank_curve(graded, label, inside)
        return None

    name = group.rpartition("=")[2]
    return Variant("".join(sign if sign.isalnum() else "-" for sign in name), name, curve)


def _draw(name: str, title: str, curves: list[Curve]) -> Plot:
    return line_plots.share_plot(
        name, title, curves, x_label="maximum rank among the candidates", y_label="facts", log_x=True,
        note="A fact in several sentences counts once for each sentence.",
    )  # fmt: skip
