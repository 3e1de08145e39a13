"""What a report is about: one run, or several in the same axes.

A plot of one run has a series for each variant (the splits, say). Of several runs there is a plot for each
variant, with a series for each run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.reporting.series import Curve, Plot
from harness.runs.run import Run
from harness.scoring.grading import Graded


@dataclass(frozen=True)
class Subject:
    """A run and what its answers were worth, by task and split; label: as it is called in legends."""

    label: str
    run: Run
    graded: dict[tuple[str, str], Graded]

    def of(self, task: str) -> list[Graded]:
        """The splits of a task in which the model gave numbers at all."""
        return [graded for (name, _), graded in self.graded.items() if name == task and graded.counted.any()]


@dataclass(frozen=True)
class Section:
    """A heading, what it is about, and plots."""

    title: str
    text: str
    plots: list[Plot]


@dataclass(frozen=True)
class Variant:
    """A series of a run's plot. name: for file names. curve: of a subject under a label, None if it has none."""

    name: str
    label: str
    curve: Callable[[Subject, str], Curve | None]


Draw = Callable[[str, str, list[Curve]], Plot]


def family(subjects: Sequence[Subject], name: str, title: str, variants: Sequence[Variant], draw: Draw) -> list[Plot]:
    """One plot of all variants of one run; or a plot for each variant with all runs in it."""
    if len(subjects) == 1:
        sheets = [(name, title, [one.curve(subjects[0], one.label) for one in variants])]
    else:
        sheets = []
        for one in variants:
            heading = f"{title}: {one.label}" if len(variants) > 1 else title
            sheets.append((f"{name}-{one.name}", heading, [one.curve(each, each.label) for each in subjects]))
    plots = []
    for file, heading, found in sheets:
        curves = [curve for curve in found if curve is not None and len(curve.x)]
        if curves:
            plots.append(draw(file, heading, curves))
    return plots
