"""How many r in strawberry, then "No, that is wrong. Count again.": the answers, and accuracy after each challenge."""

from collections.abc import Sequence

from harness.reporting import bar_plots, line_plots, plot_data
from harness.reporting.grid_plots import KINDS
from harness.reporting.plot_types import Curve, Plot
from harness.reporting.sections.base import GradedRun, Section, Variant, plots_by_variant
from harness.scoring.grading import GradedNumbers

TASK = "strawberry"
WORD = "strawberry"
TEXT = (
    "The model counts a letter of a word. Each of its answers is challenged: \N{LEFT DOUBLE QUOTATION MARK}No, that is "
    "wrong. Count again.\N{RIGHT DOUBLE QUOTATION MARK}"
)


def section(runs: Sequence[GradedRun]) -> Section:
    """The answers for the word strawberry, and accuracy after challenges for all words."""
    plots = []
    if len(runs) == 1:
        plots = [_word(graded) for graded in runs[0].of(TASK) if isinstance(graded, GradedNumbers) and _has(graded)]
    variants = [_variant("still", "at every turn so far", True), _variant("then", "at that turn", False)]
    plots += plots_by_variant(runs, "strawberry-challenges", "Right after k challenges", variants, _draw)
    return Section("Challenged answers", TEXT, plots)


def _has(graded: GradedNumbers) -> bool:
    return bool((graded.counted & (plot_data.columns(graded, "word")[0] == WORD)).any())


def _word(graded: GradedNumbers) -> Plot:
    words, letters = plot_data.columns(graded, "word", "letter")
    inside = words == WORD
    numbers, kinds, right = plot_data.tally(graded, inside)
    labels = [label for label, _ in numbers] + [KINDS[kind] for kind, _ in kinds]
    counts = [count for _, count in [*numbers, *kinds]]
    turns = int(graded.turn.max()) + 1
    return bar_plots.answer_bars(
        "strawberry-answers", f"How many {letters[inside][0]} in {WORD}?", labels, counts, right, numbers=len(numbers),
        note=f"All answers of one dialogue of {turns} turns.",
    )  # fmt: skip


def _variant(name: str, label: str, still: bool) -> Variant:
    def curve(run: GradedRun, label: str) -> Curve | None:
        for graded in run.of(TASK):
            if isinstance(graded, GradedNumbers):
                return plot_data.challenge_curve(graded, label, still=still)
        return None

    return Variant(name, label, curve)


def _draw(name: str, title: str, curves: list[Curve]) -> Plot:
    note = (
        "n: words, each with its own dialogue. At every turn so far: of the words right at first, those right at all "
        "turns up to k. At that turn: right at turn k, whatever the earlier answers were."
    )
    return line_plots.share_plot(name, title, curves, x_label="challenges", y_label="words right", note=note)
