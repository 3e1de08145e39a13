"""Recalling facts: the rank of the right answer among all answers of its relation."""

from collections.abc import Sequence

from harness.reporting import curves, lines
from harness.reporting.parts.others import by_part
from harness.reporting.series import Curve, Plot
from harness.reporting.subjects import Section, Subject, Variant, family
from harness.scoring.grading import GradedChoices

TEXT = (
    "A sentence ends with a capital, a country, a continent or an internet domain. Every answer of the relation is "
    "scored as a continuation; rank 1 is the most probable."
)


def section(subjects: Sequence[Subject]) -> Section:
    """Cumulative ranks by relation."""
    keys = dict.fromkeys(
        key for subject in subjects for key, graded in subject.graded.items()
        if isinstance(graded, GradedChoices) and graded.counted.any()
    )  # fmt: skip
    plots = []
    for task, split in keys:
        groups = dict.fromkeys(group for subject in subjects for one in subject.of(task) for group in one.groups)
        variants = [_variant(task, group) for group in groups]
        plots += family(subjects, f"{task}-rank", "Rank of the right answer", variants, _draw)
        plots.append(by_part(subjects, (task, split)))
    return Section("Recalling facts", TEXT, plots)


def _variant(task: str, group: str) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of(task):
            inside = graded.groups.get(group)
            if isinstance(graded, GradedChoices) and inside is not None and (inside & graded.counted).any():
                return curves.ranks(graded, label, inside)
        return None

    name = group.rpartition("=")[2]
    return Variant("".join(sign if sign.isalnum() else "-" for sign in name), name, curve)


def _draw(name: str, title: str, drawn: list[Curve]) -> Plot:
    return lines.share_curve(
        name, title, drawn, x_label="rank among the candidates, at most", y_label="facts", log_x=True,
        note="A fact in several sentences counts once for each.",
    )  # fmt: skip
