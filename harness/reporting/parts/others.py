"""Every other task: the share right in each part that its task scores apart."""

from collections.abc import Sequence
from dataclasses import replace

from harness.reporting import bars, curves
from harness.reporting.parts import counting, letters, strawberry
from harness.reporting.series import Plot
from harness.reporting.subjects import Section, Subject
from harness.scoring.grading import GradedChoices, GradedReads

DRAWN = {*counting.TASKS, *letters.TASKS, "letters-histogram", strawberry.TASK}


def section(subjects: Sequence[Subject]) -> Section:
    """A plot for each task that has no part of its own."""
    keys = dict.fromkeys(
        key for subject in subjects for key, graded in subject.graded.items()
        if key[0] not in DRAWN and not isinstance(graded, GradedReads | GradedChoices)
        and graded.groups and graded.counted.any()
    )  # fmt: skip
    plots = [by_part(subjects, key) for key in keys]
    return Section("Part by part", "The share right in each part of a task that is scored apart.", plots)


def by_part(subjects: Sequence[Subject], key: tuple[str, str]) -> Plot:
    """The share right in each part of one task, a series a run."""
    found = [(subject.label, subject.graded[key]) for subject in subjects if key in subject.graded]
    drawn = [
        curves.share_curve(graded, label, curves.groups(graded)) for label, graded in found if graded.counted.any()
    ]
    named = {name.partition("=")[0] if "=" in name else "" for curve in drawn for name in curve.names}
    shared = named.pop() if len(named) == 1 else ""  # the parts of arithmetic are all of operations
    drawn = [replace(curve, names=tuple(_without(shared, name) for name in curve.names)) for curve in drawn]
    title = f"{key[0][:1].upper()}{key[0][1:].replace('-', ' ')}, part by part"
    return bars.dot_plot(f"{'-'.join(key)}-parts", title, drawn, x_label="right", y_label=shared or "part")


def _without(key: str, name: str) -> str:
    return name.removeprefix(f"{key}=").replace(",", ", ")
