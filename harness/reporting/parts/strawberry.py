"""How many r in strawberry, and "No, that is wrong. Count again.": what is said, and what stands."""

from collections.abc import Sequence

from harness.reporting import bars, curves, lines
from harness.reporting.grids import KINDS
from harness.reporting.series import Curve, Plot
from harness.reporting.subjects import Section, Subject, Variant, family
from harness.scoring.grading import GradedNumbers

TASK = "strawberry"
WORD = "strawberry"
TEXT = (
    "A letter of a word is asked for; then, whatever is answered: \N{LEFT DOUBLE QUOTATION MARK}No, that is wrong. "
    "Count again.\N{RIGHT DOUBLE QUOTATION MARK}"
)


def section(subjects: Sequence[Subject]) -> Section:
    """The answers for the word itself, and what stands of all words."""
    plots = []
    if len(subjects) == 1:
        plots = [_word(graded) for graded in subjects[0].of(TASK) if isinstance(graded, GradedNumbers) and _has(graded)]
    variants = [_variant("still", "still, of those at first", True), _variant("then", "at that turn", False)]
    plots += family(subjects, "strawberry-standing", "Right after k challenges", variants, _standing)
    return Section("Standing by an answer", TEXT, plots)


def _has(graded: GradedNumbers) -> bool:
    return bool((graded.counted & (curves.columns(graded, "word")[0] == WORD)).any())


def _word(graded: GradedNumbers) -> Plot:
    words, letters = curves.columns(graded, "word", "letter")
    inside = words == WORD
    numbers, kinds, right = curves.tally(graded, inside)
    labels = [label for label, _ in numbers] + [KINDS[kind] for kind, _ in kinds]
    counts = [count for _, count in [*numbers, *kinds]]
    turns = int(graded.turn.max()) + 1
    return bars.answer_bars(
        "strawberry-answers", f"How many {letters[inside][0]} in {WORD}?", labels, counts, right, numbers=len(numbers),
        note=f"All answers of one dialogue of {turns} turns.",
    )  # fmt: skip


def _variant(name: str, label: str, still: bool) -> Variant:
    def curve(subject: Subject, label: str) -> Curve | None:
        for graded in subject.of(TASK):
            if isinstance(graded, GradedNumbers):
                return curves.standing(graded, label, still=still)
        return None

    return Variant(name, label, curve)


def _standing(name: str, title: str, drawn: list[Curve]) -> Plot:
    note = (
        "n: words, each a dialogue of its own. Still: right at every turn so far, of the words right at first. "
        "At that turn: right then, whatever was said before."
    )
    return lines.share_curve(name, title, drawn, x_label="challenges", y_label="words right", note=note)
