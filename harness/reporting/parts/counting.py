"""Counting words of a list: right, how far off, and in which direction, by the size of the vocabulary."""

from collections.abc import Sequence

import numpy as np

from harness.reporting import curves, grids, lines
from harness.reporting.series import Curve, Plot
from harness.reporting.subjects import Draw, Section, Subject, Variant, family
from harness.scoring.grading import GradedNumbers

TASKS = {"query-count": "a given word", "most-frequent": "the most frequent word"}
SERIES = (("sequence", "sequences", False), ("control", "binary control", True))
X_LABEL = "vocabulary size, words"
SIGNED = "mean signed error (said \N{MINUS SIGN} true)"
TEXT = (
    "Lists in which a given word is expected equally often, whatever the size of the vocabulary. The binary control "
    "has the same length and the same expected count but only two words: it tells vocabulary from length."
)


def section(subjects: Sequence[Subject]) -> Section:
    """The plots of both counting tasks."""
    plots = []
    for task, counted in TASKS.items():
        graded = [one for subject in subjects for one in subject.of(task) if isinstance(one, GradedNumbers)]
        if graded:
            baseline = next((name for name in graded[0].baseline_predictions if name.startswith("always")), None)
            sizes = np.unique(np.concatenate([curves.columns(one, "vocabulary")[0] for one in graded])).tolist()
            for kind, title in (("right", f"Counting {counted}"), ("absolute", "How far off"), ("signed", "Which way")):
                variants = [_variant(task, *series, kind=kind, baseline=baseline) for series in SERIES]
                heading = title if kind == "right" else f"{title}: {counted}"
                plots += family(subjects, f"{task}-{kind}", heading, variants, _draw(kind, sizes, baseline))
        if graded and len(subjects) == 1:
            (binary,) = curves.columns(graded[0], "control")
            told = curves.answers(graded[0], ~binary)
            if told.target:
                title = f"Said and true: {counted}"
                plots.append(grids.said_against_true(f"{task}-said", title, told, x_label="true count",
                                                     note="Sequences only, without the control."))  # fmt: skip
    return Section("Counting words", TEXT, plots)


def _variant(task: str, name: str, label: str, control: bool, *, kind: str, baseline: str | None) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of(task):
            if isinstance(graded, GradedNumbers):
                sizes, binary = curves.columns(graded, "vocabulary", "control")
                places = [one._replace(inside=one.inside & (binary == control)) for one in curves.values(sizes)]
                if kind == "right":
                    return curves.share_curve(graded, label, places)
                shown = baseline if kind == "absolute" else None
                return curves.errors(graded, label, places, signed=kind == "signed", baseline=shown)
        return None

    return Variant(name, label, curve)


def _draw(kind: str, sizes: list[float], baseline: str | None) -> Draw:
    def draw(name: str, title: str, drawn: list[Curve]) -> Plot:
        if kind == "right":
            return lines.share_curve(name, title, drawn, x_label=X_LABEL, y_label="right", log_x=True, ticks=sizes)
        y_label = "mean absolute error" if kind == "absolute" else SIGNED
        note = "Answers without a number are left out here."
        return lines.error_curve(
            name, title, drawn, x_label=X_LABEL, y_label=y_label, ticks=sizes, baseline_label=baseline or "", note=note
        )

    return draw
