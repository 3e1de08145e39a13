"""Holding one bit: glitches by the distance to the write, by the position, and by the length of a story."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from harness.reporting import curves, lines
from harness.reporting.series import Curve, Plot
from harness.reporting.subjects import Section, Subject, Variant, family
from harness.scoring.grading import GradedReads

PROSE = "flipflop-prose"
OCTAVES = [2.0**power for power in range(15)]
TEXT = (
    "A string of writes, reads and ignores over one bit. After each read the model must give the bit last written; "
    "a wrong one is a glitch."
)


def section(subjects: Sequence[Subject]) -> Section:
    """The plots of all flip-flop tasks."""
    plots = _of_strings(subjects, "flipflop", "")
    readings = [_story("vocabulary", "most probable token", two=False), _story("two", "on or off alone", two=True)]
    plots += family(subjects, "length", "As a story, by length", readings, _length)
    plots += _of_strings(subjects, "flipflop-piecewise", ", dense then sparse")
    return Section("Holding one bit", TEXT, plots)


def _of_strings(subjects: Sequence[Subject], task: str, kind: str) -> list[Plot]:
    keys = dict.fromkeys((task, graded.job.split) for subject in subjects for graded in subject.of(task))
    by_gap, by_position = ([_strings(key, places) for key in keys] for places in (curves.gaps, curves.positions))
    plots = family(subjects, f"{task}-distance", f"Glitches by distance{kind}", by_gap, _distance)
    strings = [graded for subject in subjects for graded in subject.of(task) if isinstance(graded, GradedReads)]
    length = max(map(curves.string_length, strings), default=0)
    draw = partial(_position, length=length)
    return plots + family(subjects, f"{task}-position", f"Glitches by position{kind}", by_position, draw)


def _strings(key: tuple[str, str], places: Callable[[GradedReads], list[curves.Place]]) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        graded = subject.graded.get(key)
        if not isinstance(graded, GradedReads):
            return None
        return curves.wrong(curves.share_curve(graded, label, places(graded)))

    split = key[1]
    return Variant(split, split, curve)


def _story(name: str, label: str, *, two: bool) -> Variant:
    """Whether the right word is the most probable token, or the more probable of the two."""

    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of(PROSE):
            if isinstance(graded, GradedReads):
                right = graded.among if two else graded.right
                return curves.wrong(curves.share_curve(graded, label, curves.values(graded.position + 1), right))
        return None

    return Variant(name, label, curve)


def _distance(name: str, title: str, drawn: list[Curve]) -> Plot:
    return lines.rate_curve(
        name,
        title,
        drawn,
        x_label="instructions from write to read",
        log_x=True,
        ticks=OCTAVES,
        note="Distances in octaves: 1, 2 and 3, 4 to 7, and so on. Intervals are clustered by string.",
    )


def _position(name: str, title: str, drawn: list[Curve], *, length: int) -> Plot:
    note = (
        f"The string in {curves.POSITION_BINS} equal parts; those without a read are left out. "
        "Intervals are clustered by string."
    )
    ticks = [length * quarter / 4 for quarter in range(5)]
    return lines.rate_curve(name, title, drawn, x_label="position in the string, symbols", ticks=ticks, note=note)


def _length(name: str, title: str, drawn: list[Curve]) -> Plot:
    ticks = np.unique(np.concatenate([curve.x for curve in drawn])).tolist()
    note = (
        "Two readings: the most probable token of the whole vocabulary is the right word; "
        "of \N{LEFT DOUBLE QUOTATION MARK}on\N{RIGHT DOUBLE QUOTATION MARK} and "
        "\N{LEFT DOUBLE QUOTATION MARK}off\N{RIGHT DOUBLE QUOTATION MARK} the right one is the more probable."
    )
    return lines.rate_curve(name, title, drawn, x_label="string length T, symbols", ticks=ticks, note=note)
