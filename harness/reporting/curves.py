"""From graded observations to the arrays that are plotted. Pure; every interval is one of `harness.scoring.statistics`.

Items whose logits were no numbers are left out everywhere. The baseline at a point is the best one there.
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
from harness.reporting.series import Answers, Curve, Grid
from harness.scoring.grading import Graded, GradedChoices, GradedHistograms, GradedNumbers, GradedReads
from harness.scoring.statistics import Interval, mean_interval, proportion_interval

POSITION_BINS = 8
WORD_LENGTHS = ((0, 5), (6, 6), (7, 7), (8, 8), (9, 9), (10, 11), (12, None))
RANKS = (1, 2, 5, 10, 20, 50, 100)
CHALLENGES = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 48, 64)


class Place(NamedTuple):
    """A point of a curve: its name, where it stands, which items are its."""

    name: str
    x: float
    inside: Bools


def columns(graded: Graded, *names: str) -> list[npt.NDArray[Any]]:
    """Columns of the rows, an element for each item."""
    rows = pa.concat_tables(chunk.select(names) for _, chunk in graded.job.chunks())
    return [np.asarray(rows[name].to_pylist())[graded.row] for name in names]


def share_interval(right: Bools, rows: Ints) -> Interval:
    """The interval of a share of right items, clustered by row."""
    sizes = np.bincount(rows).astype(np.float64)
    low, high = proportion_interval(np.bincount(rows, ~right).astype(np.float64)[sizes > 0], sizes[sizes > 0])
    return Interval(1 - high, 1 - low)


def share_curve(
    graded: Graded, label: str, places: Sequence[Place], right: Bools | None = None, *, single_baseline: bool = False
) -> Curve:
    """The share that is right at each place where anything was counted.

    single_baseline: draw the best baseline of all beside it, not that of each place: where places are right answers,
    each has a baseline that is always right.
    """
    right = graded.right if right is None else right
    kept = [Place(name, x, inside & graded.counted) for name, x, inside in places]
    kept = [place for place in kept if place.inside.any()]
    ends = [share_interval(right[inside], graded.cluster[inside]) for _, _, inside in kept]
    n = np.array([inside.sum() for _, _, inside in kept], dtype=np.int64)
    sums = np.array([right[inside].sum() for _, _, inside in kept], dtype=np.int64)
    return Curve(
        label=label,
        x=np.array([place.x for place in kept], dtype=np.float64),
        names=tuple(place.name for place in kept),
        value=sums / np.maximum(n, 1),
        low=np.array([low for low, _ in ends]),
        high=np.array([high for _, high in ends]),
        n=n,
        errors=n - sums,
        baseline=_baseline_curve(graded, kept, single_baseline) if graded.baselines else None,
    )


def _baseline_curve(graded: Graded, places: Sequence[Place], single_baseline: bool) -> Floats:
    """How often the best baseline is right at each place."""
    if not single_baseline:
        return np.array([graded.best_baseline(place.inside)[1].mean() for place in places])
    right = np.zeros(len(graded.row))
    if graded.counted.any():
        right[graded.counted] = graded.best_baseline(graded.counted)[1]
    return np.array([right[place.inside].mean() for place in places])


def wrong(curve: Curve) -> Curve:
    """The share that is wrong, from that which is right."""
    baseline = None if curve.baseline is None else 1 - curve.baseline
    return Curve(curve.label, curve.x, curve.names, 1 - curve.value, 1 - curve.high, 1 - curve.low, curve.n,
                 curve.errors, baseline, curve.of)  # fmt: skip


def gaps(graded: GradedReads) -> list[Place]:
    """Octaves of the distance from write to read: 1, 2-3, 4-7, ..., at their geometric middle."""
    found, low = [], 1
    while low <= graded.gap.max(initial=0):
        high = 2 * low - 1
        inside = (graded.gap >= low) & (graded.gap <= high)
        found.append(Place(_span(low, high), float(np.sqrt(low * high)), inside))
        low *= 2
    return found


def string_length(graded: GradedReads) -> int:
    """How many symbols the strings of a job have."""
    return cast(FlipFlop | FlipFlopPiecewise, graded.job.config).length


def positions(graded: GradedReads) -> list[Place]:
    """Equal parts of a string, at their middle."""
    edges = np.unique(np.linspace(0, string_length(graded), POSITION_BINS + 1).round().astype(int)).tolist()
    return [
        Place(_span(low, high - 1), (low + high - 1) / 2, (graded.position >= low) & (graded.position < high))
        for low, high in pairwise(edges)
    ]


def values(quantity: npt.NDArray[Any]) -> list[Place]:
    """Every value of a quantity."""
    return [Place(f"{value:,}", float(value), quantity == value) for value in np.unique(quantity).tolist()]


def groups(graded: Graded) -> list[Place]:
    """The parts of a split that its task scores apart."""
    return [Place(name, float(i), inside) for i, (name, inside) in enumerate(graded.groups.items())]


def errors(
    graded: GradedNumbers, label: str, places: Sequence[Place], *, signed: bool, baseline: str | None = None
) -> Curve:
    """The mean error of the numbers said, absolute or as said minus true; answers without a number are left out.

    baseline: the name of the baseline to draw beside it.
    """
    spoken = np.array([number is not None for number in graded.predicted], dtype=bool) & graded.counted
    numbers = np.array([0 if number is None else float(number) for number in graded.predicted])
    off = numbers - graded.target.astype(np.float64)
    off = off if signed else np.abs(off)
    kept = [place for place in places if (place.inside & spoken).any()]
    samples = [off[place.inside & spoken] for place in kept]
    ends = [mean_interval(sample, least=-np.inf if signed else 0.0) or Interval(np.nan, np.nan) for sample in samples]
    other = None if baseline is None else graded.baseline_predictions[baseline] - graded.target.astype(np.float64)
    other = other if signed or other is None else np.abs(other)
    return Curve(
        label=label,
        x=np.array([place.x for place in kept]),
        names=tuple(place.name for place in kept),
        value=np.array([float(sample.mean()) for sample in samples]),
        low=np.array([end.low for end in ends]),
        high=np.array([end.high for end in ends]),
        n=np.array([len(sample) for sample in samples], dtype=np.int64),
        baseline=None if other is None else np.array([float(other[one.inside & spoken].mean()) for one in kept]),
    )


def by_word(graded: GradedNumbers, inside: Bools) -> Grid:
    """Share right by how often the letter occurs and by the length of the word."""
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
    """What was said of some items where the model gave numbers at all."""
    chosen = np.flatnonzero(inside & graded.counted).tolist()
    return Answers(
        [int(graded.target[i]) for i in chosen], [graded.predicted[i] for i in chosen], [graded.kind[i] for i in chosen]
    )


def tally(graded: GradedNumbers, inside: Bools) -> tuple[list[tuple[str, int]], list[tuple[str, int]], int]:
    """How often each number was said, from the least to the largest, and each kind of other output; the right number.

    The right number stands among the numbers even if it was never said. Of more than 12 numbers the rarest are one.
    """
    told = answers(graded, inside)
    right = told.target[0]
    counts = {right: 0}
    for number in told.predicted:
        if number is not None:
            counts[number] = counts.get(number, 0) + 1
    kept = {right, *sorted(counts, key=lambda number: (-counts[number], number))[:12]}
    numbers = [(f"{number:,}", counts[number]) for number in sorted(kept)]
    if rest := sum(count for number, count in counts.items() if number not in kept):
        numbers.append(("other numbers", rest))
    kinds = [(kind, told.kind.count(kind)) for kind in dict.fromkeys(sorted(told.kind)) if kind != ANSWERED]
    return numbers, kinds, [name for name, _ in numbers].index(f"{right:,}")


def standing(graded: GradedNumbers, label: str, *, still: bool) -> Curve | None:
    """The share of a dialogue's rows that is right after k challenges; None if there is nothing to count.

    still: of the rows that are right at first, those that are right at every turn up to it.
    """
    turns = int(graded.turn.max()) + 1
    right = graded.right.reshape(-1, turns)[graded.counted.reshape(-1, turns).all(axis=1)]
    if still:
        right = np.logical_and.accumulate(right, axis=1)[right[:, 0]]
    if not len(right):
        return None
    asked = [k for k in CHALLENGES if k < turns - 1] + [turns - 1]
    return _counted(label, asked, [right[:, k] for k in asked], np.arange(len(right)))


def ranks(graded: GradedChoices, label: str, inside: Bools) -> Curve:
    """The share of facts whose right answer is among the first so many candidates."""
    inside = inside & graded.counted
    rank, facts = graded.rank[inside], graded.cluster[inside]
    most = int(graded.rank[graded.counted].max(initial=1))
    asked = [k for k in RANKS if k < most] + [next((k for k in RANKS if k >= most), most)]
    found = [rank <= k for k in asked]
    return _counted(label, asked, found, facts)


def most_of_a_letter(graded: GradedHistograms) -> Ints:
    """How often the most frequent letter of each word occurs."""
    return np.array([max(counts.values()) for counts in graded.target], dtype=np.int64)


def _counted(label: str, x: Sequence[int], found: Sequence[Bools], rows: Ints) -> Curve:
    """Shares of the same n items at every x."""
    n = len(rows)
    ends = [share_interval(right, rows) for right in found]
    sums = np.array([right.sum() for right in found], dtype=np.int64)
    return Curve(
        label=label,
        x=np.array(x, dtype=np.float64),
        names=tuple(map(str, x)),
        value=sums / n,
        low=np.array([low for low, _ in ends]),
        high=np.array([high for _, high in ends]),
        n=np.full(len(x), n),
        errors=n - sums,
        of=n,
    )


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}"
