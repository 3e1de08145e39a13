"""Graded runs, and the sections of plots that a report makes from them.

A plot of one run has a series for each variant (such as the splits). For several runs there is one plot per variant,
with a series for each run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.reporting.plot_types import Curve, Plot
from harness.runs.run import Run
from harness.scoring.grading import Graded


@dataclass(frozen=True)
class GradedRun:
    """A run with its graded answers by task and split. label: its name in legends."""

    label: str
    run: Run
    graded: dict[tuple[str, str], Graded]

    def of(self, task: str) -> list[Graded]:
        """The splits of a task in which any logits are finite."""
        return [graded for (name, _), graded in self.graded.items() if name == task and graded.counted.any()]


@dataclass(frozen=True)
class Section:
    """Title, introduction and plots."""

    title: str
    text: str
    plots: list[Plot]


@dataclass(frozen=True)
class Variant:
    """A series of plots. name: for file names. curve: makes the curve of a run with a label; None if it has none."""

    name: str
    label: str
    curve: Callable[[GradedRun, str], Curve | None]


Draw = Callable[[str, str, list[Curve]], Plot]


def plots_by_variant(
    runs: Sequence[GradedRun], name: str, title: str, variants: Sequence[Variant], draw: Draw
) -> list[Plot]:
    """For one run, a plot with all variants; for several runs, a plot per variant with all runs."""
    if len(runs) == 1:
        sheets = [(name, title, [variant.curve(runs[0], variant.label) for variant in variants])]
    else:
        sheets = []
        for variant in variants:
            heading = f"{title}: {variant.label}" if len(variants) > 1 else title
            sheets.append((f"{name}-{variant.name}", heading, [variant.curve(run, run.label) for run in runs]))
    plots = []
    for file, heading, candidates in sheets:
        curves = [curve for curve in candidates if curve is not None and len(curve.x)]
        if curves:
            plots.append(draw(file, heading, curves))
    return plots
