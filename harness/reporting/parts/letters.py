"""Counting letters of words: by how often the letter occurs, by the length of the word, spelled out or not."""

from collections.abc import Sequence

import numpy as np

from harness.reporting import curves, grids, lines
from harness.reporting.series import Curve, Plot
from harness.reporting.subjects import Section, Subject, Variant, family
from harness.scoring.grading import GradedHistograms, GradedNumbers

TASKS = {"letters": "words as they are", "letters-spelled": "words spelled out"}
STRATA = {"english": "English words", "random": "random strings"}
TEXT = (
    "How often a letter occurs in a word, every answer from 0 to 4 equally frequent. Spelled out, each letter is a "
    "token of its own: what that gains is what tokenization costs."
)


def section(subjects: Sequence[Subject]) -> Section:
    """The plots of letters, letters-spelled and letters-histogram."""
    variants = [_right(task, label) for task, label in TASKS.items()]
    plots = family(subjects, "letters-right", "Counting a letter", variants, _by_count)
    if len(subjects) == 1:
        for task, label in TASKS.items():
            for graded in subjects[0].of(task):
                if isinstance(graded, GradedNumbers):
                    plots += _grids(graded, label)
    words = [_histogram(name, label) for name, label in STRATA.items()]
    plots += family(subjects, "letters-histogram", "All letters of a word", words, _by_most)
    return Section("Counting letters", TEXT, plots)


def _right(task: str, label: str) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of(task):
            if isinstance(graded, GradedNumbers):
                return curves.share_curve(graded, label, curves.values(graded.target), single_baseline=True)
        return None

    return Variant(task, label, curve)


def _grids(graded: GradedNumbers, label: str) -> list[Plot]:
    """Two maps, and what was said against what is true."""
    task = graded.job.task.name
    (strata,) = curves.columns(graded, "stratum")
    spelled = ", spelled out" if task == "letters-spelled" else ""
    plots = [
        grids.heat_map(f"{task}-{name}", f"{words[0].upper()}{words[1:]}{spelled}",
                       curves.by_word(graded, strata == name),
                       x_label="letters in the word", y_label="how often the letter occurs", what="right")
        for name, words in STRATA.items() if (graded.counted & (strata == name)).any()
    ]  # fmt: skip
    everything = curves.answers(graded, np.ones(len(graded.row), dtype=bool))
    return [
        *plots,
        grids.said_against_true(f"{task}-said", f"Said and true: {label}", everything, x_label="true count"),
    ]


def _histogram(stratum: str, label: str) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of("letters-histogram"):
            if isinstance(graded, GradedHistograms):
                (strata,) = curves.columns(graded, "stratum")
                places = curves.values(curves.most_of_a_letter(graded))
                inside = [one._replace(inside=one.inside & (strata == stratum)) for one in places]
                return curves.share_curve(graded, label, inside)
        return None

    return Variant(stratum, label, curve)


def _by_count(name: str, title: str, drawn: list[Curve]) -> Plot:
    return lines.share_curve(
        name, title, drawn, x_label="how often the letter occurs", y_label="right",
        note="The baseline is a constant answer: right at its own count, wrong at every other.",
    )  # fmt: skip


def _by_most(name: str, title: str, drawn: list[Curve]) -> Plot:
    return lines.share_curve(
        name, title, drawn, x_label="how often the most frequent letter occurs", y_label="every count right",
        note="The model writes how often each letter of the word occurs, as a JSON object.",
    )  # fmt: skip
