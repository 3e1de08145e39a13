"""Plot data: from graded observations to arrays with 95% intervals (`harness.scoring.statistics`). Pure functions.

Items with non-finite logits are excluded everywhere. The baseline at a point is the best one at that point.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.answers import ANSWERED
from fflm_data.arrays import Bools, Floats, Ints
from fflm_data.flipflop import FlipFlop, FlipFlopPiecewise
from harness.reporting.plot_types import Answers, Curve, Grid
from harness.scoring.grading import Graded, GradedChoices, GradedHistograms, GradedNumbers, GradedReads
from harness.scoring.statistics import Interval, mean_interval, proportion_interval

POSITION_BINS = 8
WORD_LENGTHS = ((0, 5), (6, 6), (7, 7), (8, 8), (9, 9), (10, 11), (12, None))
RANKS = (1, 2, 5, 10, 20, 50, 100)
CHALLENGES = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 48, 64)


class Point(NamedTuple):
    """A point of a curve: name, x coordinate and its items as a mask."""

    name: str
    x: float
    inside: Bools


def columns(graded: Graded, *names: str) -> list[npt.NDArray[Any]]:
    """Columns of the rows, repeated for each item."""
    rows = pa.concat_tables(chunk.select(names) for _, chunk in graded.job.chunks())
    return [np.asarray(rows[name].to_pylist())[graded.row] for name in names]


def share_interval(right: Bools, rows: Ints) -> Interval:
    """The 95% interval of a share of right items, clustered by row."""
    sizes = np.bincount(rows).astype(np.float64)
    low, high = proportion_interval(np.bincount(rows, ~right).astype(np.float64)[sizes > 0], sizes[sizes > 0])
    return Interval(1 - high, 1 - low)


def share_curve(
    graded: Graded, label: str, points: Sequence[Point], right: Bools | None = None, *, single_baseline: bool = False
) -> Curve:
    """The share of right items at each point that has items.

    single_baseline: use the best baseline of all items, not the best of each point. Needed where points are targets,
    since each target has a constant baseline that is always right.
    """
    right = graded.right if right is None else right
    kept = [Point(name, x, inside & graded.counted) for name, x, inside in points]
    kept = [point for point in kept if point.inside.any()]
    intervals = [share_interval(right[inside], graded.cluster[inside]) for _, _, inside in kept]
    n = np.array([inside.sum() for _, _, inside in kept], dtype=np.int64)
    sums = np.array([right[inside].sum() for _, _, inside in kept], dtype=np.int64)
    return Curve(
        label=label,
        x=np.array([point.x for point in kept], dtype=np.float64),
        names=tuple(point.name for point in kept),
        value=sums / np.maximum(n, 1),
        low=np.array([low for low, _ in intervals]),
        high=np.array([high for _, high in intervals]),
        n=n,
        errors=n - sums,
        baseline=_baseline_curve(graded, kept, single_baseline) if graded.baselines else None,
    )


def _baseline_curve(graded: Graded, points: Sequence[Point], single_baseline: bool) -> Floats:
    """The accuracy of the best baseline at each point."""
    if not single_baseline:
        return np.array([graded.best_baseline(point.inside)[1].mean() for point in points])
    right = np.zeros(len(graded.row))
    if graded.counted.any():
        right[graded.counted] = graded.best_baseline(graded.counted)[1]
    return np.array([right[point.inside].mean() for point in points])


def error_rate(curve: Curve) -> Curve:
    """The share of wrong items, from the share of right items."""
    baseline = None if curve.baseline is None else 1 - curve.baseline
    return Curve(curve.label, curve.x, curve.names, 1 - curve.value, 1 - curve.high, 1 - curve.low, curve.n,
                 curve.errors, baseline, curve.of)  # fmt: skip


def gap_octaves(graded: GradedReads) -> list[Point]:
    """Octaves of the distance from write to read: 1, 2-3, 4-7, ..., at their geometric mean."""
    octaves, low = [], 1
    while low <= graded.gap.max(initial=0):
        high = 2 * low - 1
        inside = (graded.gap >= low) & (graded.gap <= high)
        octaves.append(Point(_span(low, high), float(np.sqrt(low * high)), inside))
        low *= 2
    return octaves


def string_length(graded: GradedReads) -> int:
    """The length of the strings of a job, in symbols."""
    return cast(FlipFlop | FlipFlopPiecewise, graded.job.config).length


def position_bins(graded: GradedReads) -> list[Point]:
    """Equal parts of a string, at their centre."""
    edges = np.unique(np.linspace(0, string_length(graded), POSITION_BINS + 1).round().astype(int)).tolist()
    return [
        Point(_span(low, high - 1), (low + high - 1) / 2, (graded.position >= low) & (graded.position < high))
        for low, high in pairwise(edges)
    ]


def distinct_values(quantity: npt.NDArray[Any]) -> list[Point]:
    """A point for each distinct value of a quantity, an element for each item."""
    return [Point(f"{value:,}", float(value), quantity == value) for value in np.unique(quantity).tolist()]


def groups(graded: Graded) -> list[Point]:
    """A point for each group of the job."""
    return [Point(name, float(i), inside) for i, (name, inside) in enumerate(graded.groups.items())]


def error_curve(
    graded: GradedNumbers, label: str, points: Sequence[Point], *, signed: bool, baseline: str | None = None
) -> Curve:
    """The mean error of the predicted numbers, absolute or signed (predicted minus true). Outputs without a number are
    excluded.

    baseline: the name of the baseline of the curve.
    """
    answered = np.array([number is not None for number in graded.predicted], dtype=bool) & graded.counted
    numbers = np.array([0 if number is None else float(number) for number in graded.predicted])
    error = numbers - graded.target.astype(np.float64)
    error = error if signed else np.abs(error)
    kept = [point for point in points if (point.inside & answered).any()]
    samples = [error[point.inside & answered] for point in kept]
    intervals = [
        mean_interval(sample, least=-np.inf if signed else 0.0) or Interval(np.nan, np.nan) for sample in samples
    ]
    other = None if baseline is None else graded.baseline_predictions[baseline] - graded.target.astype(np.float64)
    other = other if signed or other is None else np.abs(other)
    return Curve(
        label=label,
        x=np.array([point.x for point in kept]),
        names=tuple(point.name for point in kept),
        value=np.array([float(sample.mean()) for sample in samples]),
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
        n=np.array([len(sample) for sample in samples], dtype=np.int64),
        baseline=None if other is None else np.array([float(other[at.inside & answered].mean()) for at in kept]),
    )


def accuracy_by_word(graded: GradedNumbers, inside: Bools) -> Grid:
    """Accuracy by the count of the letter and the length of the word."""
    (words,) = columns(graded, "word")
    lengths = np.array([len(word) for word in words.tolist()], dtype=np.int64)
    inside = inside & graded.counted
    times = np.unique(graded.target[inside]).tolist()
    rows, names = [], []
    for low, high in WORD_LENGTHS:
        fits = (lengths >= low) & (lengths <= (lengths.max() if high is None else high)) & inside
        if fits.any():
            names.append(f"{low}+" if high is None else f"to {high}" if low == 0 else _span(low, high))
            rows.append(
                [(int((cell := fits & (graded.target == t)).sum()), int(graded.right[cell].sum())) for t in times]
            )
    table = np.array(rows, dtype=np.int64).reshape(len(names), len(times), 2)
    n, sums = table[..., 0].T, table[..., 1].T
    return Grid(tuple(map(str, times)), tuple(names), sums / np.maximum(n, 1), n)


def answers(graded: GradedNumbers, inside: Bools) -> Answers:
    """The answers of some items, without those with non-finite logits."""
    chosen = np.flatnonzero(inside & graded.counted).tolist()
    return Answers(
        [int(graded.target[i]) for i in chosen], [graded.predicted[i] for i in chosen], [graded.kind[i] for i in chosen]
    )


def tally(graded: GradedNumbers, inside: Bools) -> tuple[list[tuple[str, int]], list[tuple[str, int]], int]:
    """Counts each predicted number, ascending, and each kind of output without a number.

    Returns both, and the index of the right number, which is included even if it was never predicted. Beyond 12
    numbers, the rarest are merged.
    """
    selected = answers(graded, inside)
    right = selected.target[0]
    counts = {right: 0}
    for number in selected.predicted:
        if number is not None:
            counts[number] = counts.get(number, 0) + 1
    kept = {right, *sorted(counts, key=lambda number: (-counts[number], number))[:12]}
    numbers = [(f"{number:,}", counts[number]) for number in sorted(kept)]
    if rest := sum(count for number, count in counts.items() if number not in kept):
        numbers.append(("other numbers", rest))
    kinds = [(kind, selected.kind.count(kind)) for kind in dict.fromkeys(sorted(selected.kind)) if kind != ANSWERED]
    return numbers, kinds, [name for name, _ in numbers].index(f"{right:,}")


def challenge_curve(graded: GradedNumbers, label: str, *, still: bool) -> Curve | None:
    """The share of dialogues that is right after k challenges; None if there are none.

    still: of the dialogues that are right at turn 0, those right at every turn up to k.
    """
    turns = int(graded.turn.max()) + 1
    right = graded.right.reshape(-1, turns)[graded.counted.reshape(-1, turns).all(axis=1)]
    if still:
        right = np.logical_and.accumulate(right, axis=1)[right[:, 0]]
    if not len(right):
        return None
    challenges = [k for k in CHALLENGES if k < turns - 1] + [turns - 1]
    return _same_items(label, challenges, [right[:, k] for k in challenges], np.arange(len(right)))


def rank_curve(graded: GradedChoices, label: str, inside: Bools) -> Curve:
    """The share of facts whose right answer is among the k most probable candidates."""
    inside = inside & graded.counted
    rank, facts = graded.rank[inside], graded.cluster[inside]
    most = int(graded.rank[graded.counted].max(initial=1))
    ranks = [k for k in RANKS if k < most] + [next((k for k in RANKS if k >= most), most)]
    return _same_items(label, ranks, [rank <= k for k in ranks], facts)


def max_letter_count(graded: GradedHistograms) -> Ints:
    """The count of the most frequent letter of each word."""
    return np.array([max(counts.values()) for counts in graded.target], dtype=np.int64)


def _same_items(label: str, x: Sequence[int], rights: Sequence[Bools], rows: Ints) -> Curve:
    """Shares of the same n items at every x. rights: which items are right, per x."""
    n = len(rows)
    intervals = [share_interval(right, rows) for right in rights]
    sums = np.array([right.sum() for right in rights], dtype=np.int64)
    return Curve(
        label=label,
        x=np.array(x, dtype=np.float64),
        names=tuple(map(str, x)),
        value=sums / n,
        low=np.array([low for low, _ in intervals]),
        high=np.array([high for _, high in intervals]),
        n=np.full(len(x), n),
        errors=n - sums,
        of=n,
    )


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}"
