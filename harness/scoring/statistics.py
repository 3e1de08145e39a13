"""95% intervals and tests, clustered by sequence: for shares, means, skills, and differences of two models.

Reads of one sequence share its context, so they are not independent samples; sequences are. Everything is
deterministic, without resampling. All intervals are in this file, since they share the same few parts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fflm_data.arrays import Bools, Floats, Ints

LEVEL = 0.95
# With fewer erring sequences than this, the clustering of errors cannot be estimated.
FEW_SEQUENCES = 10
# Tolerance of the bisection for the ends of intervals.
PRECISION = 1e-12


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


class Comparison(NamedTuple):
    """Two models on the same items.

    difference: accuracy of A minus that of B; low, high: its 95% interval. p_value: two-sided, of no difference.
    n: items; only_a, only_b: items that only A, or only B, has right.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    only_a: int
    only_b: int


def proportion_interval(errors: Floats, sizes: Floats) -> Interval:
    """The interval of an error rate from errors and reads per sequence, two arrays of one length.

    Korn and Graubard (1998, Survey Methodology 24): Clopper and Pearson's exact interval at the effective
    sample size: reads divided by the design effect of clustering (not below 1), with their factor for the
    degrees of freedom of that many sequences. With fewer than `FEW_SEQUENCES` erring (or non-erring) sequences, all
    reads of a sequence are assumed to be equal: the sample is the sequences. Zero errors still have an upper bound.
    """
    from scipy.special import stdtrit

    clusters, total = len(sizes), float(sizes.sum())
    rate = float(errors.sum()) / total
    erring = min(int((errors > 0).sum()), int((errors < sizes).sum()))
    if clusters == total:
        effective = total
    elif erring < FEW_SEQUENCES:
        effective = float(clusters)
    else:
        spread = float(((errors - rate * sizes) ** 2).sum()) * clusters / (clusters - 1)
        design_effect = spread / total / (rate * (1 - rate))
        quantile = (1 + LEVEL) / 2
        few_clusters = float(stdtrit(total - 1, quantile) / stdtrit(clusters - 1, quantile)) ** 2
        effective = min(total, max(total / design_effect * few_clusters, 1.0))
    return clopper_pearson(rate * effective, effective)


def error_interval(wrong: Bools, clusters: Ints) -> Interval:
    """The interval of an error rate from items. wrong: whether each is wrong; clusters: the sequence of each, any
    integers."""
    _, number = np.unique(clusters, return_inverse=True)
    return proportion_interval(np.bincount(number, wrong).astype(np.float64), np.bincount(number).astype(np.float64))


def clopper_pearson(errors: float, size: float) -> Interval:
    """The exact binomial interval (Clopper and Pearson 1934), extended to fractional counts by the beta quantile."""
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = float(betaincinv(errors, size - errors + 1, tail)) if errors > 0 else 0.0
    high = float(betaincinv(errors + 1, size - errors, 1 - tail)) if errors < size else 1.0
    return Interval(low, high)


def mean_interval(values: Floats, least: float = -np.inf, most: float = np.inf) -> Interval | None:
    """The interval of the mean of independent values; None for fewer than two values, or if all are equal.

    least, most: range of a value, which bounds the interval. At each end the wider of Student's t (1908, Biometrika 6)
    and Hall's transformed t, which corrects for skewness (1992, Journal of the Royal Statistical Society B 54). Count
    errors are skewed, mostly 0 with a tail: with 10% of 50 answers wrong, Student's t alone covers the mean absolute
    error 85% of the time, Hall's the mean signed error 86%, both together 98% and 93%. No method covers rare, huge
    errors that are not in a small sample (2% of answers off by 100: 63% at n = 50, 98% at n = 200). Equal values give
    no information about the size of other errors.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2 or (values == values[0]).all():
        return None
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    error, quantile = spread / n**0.5, float(stdtrit(n - 1, (1 + LEVEL) / 2))
    skewness = n / ((n - 1) * (n - 2)) * float((((values - mean) / spread) ** 3).sum()) if n > 2 else 0.0
    bend = skewness / 3 / n**0.5

    def hall(t: float) -> float:
        return (float(np.cbrt(1 + 3 * bend * (t - bend / 2))) - 1) / bend if abs(bend) > 1e-9 else t

    low, high = mean - error * max(quantile, hall(quantile)), mean + error * max(quantile, -hall(-quantile))
    return Interval(max(low, least), min(high, most))


def skill_interval(right: Bools, baseline: Bools | Floats, clusters: Ints) -> Interval | None:
    """The interval of a skill, (accuracy - baseline) / (1 - baseline); None if the baseline is always right.

    right, baseline: whether model and baseline have each item right, arrays of one length; clusters: the sequence of
    each item. For a random baseline, `baseline` has probabilities between 0 and 1. These are known in advance, so the
    interval is that of the accuracy (`proportion_interval`), rescaled.

    Skill is 1 minus the ratio of two error rates on the same items. The interval of the ratio consists of the values
    that the score test of matched pairs does not reject (Nam and Blackwelder 2002, Statistics in Medicine 21), with its
    variance times the design effect of clustering at that ratio (see `paired_comparison`). With fewer than
    `FEW_SEQUENCES` erring sequences it is at least as wide as the exact interval of the model's errors. Skill 0 is
    tested by `paired_comparison`, whose p-value the interval never contradicts. The choice of the best of several
    baselines on the same items is not corrected for.
    """
    errors, misses = 1 - right.astype(np.float64), 1 - baseline.astype(np.float64)
    erring, missing = float(errors.sum()), float(misses.sum())
    if missing == 0:
        return None
    by_errors, by_items = _by_cluster(clusters, errors, np.ones(len(errors)))
    share, scale = proportion_interval(by_errors, by_items), missing / len(errors)
    alone = Interval(1 - share.high / scale, 1 - share.low / scale)
    if ((misses > 0) & (misses < 1)).any():
        return alone
    both = float(errors @ misses)
    some = erring + missing - both
    design_effect = _design_effect(errors, misses, clusters, _few(clusters, errors > 0, errors != misses))

    def statistic(ratio: float) -> float:
        # The most likely share of shared errors among the items that either has wrong, given this ratio.
        linear = both * (1 + ratio**2) + (erring - both) + (missing - both) * ratio**2
        root = max(linear**2 - 4 * ratio**2 * some * both, 0.0) ** 0.5
        shared = 2 * both * ratio / (linear + root) if linear else 0.0
        return _squared(erring - ratio * missing, design_effect(ratio) * some * ratio * (1 - shared))

    ratio = erring / missing
    beyond = max(1.0, 2 * ratio)
    while statistic(beyond) <= _critical():
        beyond *= 2
    low, high = 1 - _end(statistic, ratio, beyond), 1 - _end(statistic, ratio, 0.0)
    if int((by_errors > 0).sum()) < FEW_SEQUENCES:
        low, high = min(low, alone.low), max(high, alone.high)
    return _agreeing(Interval(low, high), 1 - ratio, sign_flip_test(*_by_cluster(clusters, misses - errors)))


def paired_comparison(right_a: Bools, right_b: Bools, clusters: Ints) -> Comparison:
    """Two models on the same items: arrays of one length; clusters: the sequence of each item.

    The p-value is that of `sign_flip_test` on the differences per sequence; with one item per sequence this is the
    exact test of McNemar (1947, Psychometrika 12). The interval is Tango's (1998, Statistics in Medicine 17): the
    differences that the score test of paired proportions does not reject, here with its variance times the design
    effect of clustering (sum of squares of the sequence totals over that of the items, both about the tested
    difference, not below 1). Unclustered it is Tango's interval; at no difference the statistic is that of Durkalski
    et al. (2003, Statistics in Medicine 22) for clustered pairs. If the models differ (or agree) in fewer than
    `FEW_SEQUENCES` sequences and in less than half of them, all items of a sequence are assumed to be equal. Without
    any differing item the interval is 0 plus or minus about 3.84 / sequences.

    p-value and interval never contradict each other, since the former tests the difference 0: 0 is inside if p is
    0.05 or more; otherwise the interval does not extend beyond 0 (an end may be 0).
    """
    if not len(right_a) == len(right_b) == len(clusters) > 0:
        raise ValueError(f"right_a, right_b, clusters: {len(right_a)}, {len(right_b)}, {len(clusters)} items, not > 0")
    n, steps = len(right_a), right_a.astype(np.float64) - right_b.astype(np.float64)
    only_a, only_b = int((steps > 0).sum()), int((steps < 0).sum())
    few = _few(clusters, *(steps != step for step in (-1, 0, 1)))
    design_effect = _design_effect(steps, np.ones(n), clusters, few)

    def statistic(difference: float) -> float:
        # The most likely share of items that only B has right, given this difference.
        linear = (2 * n - only_a + only_b) * difference - only_a - only_b
        root = max(linear**2 + 8 * n * only_b * difference * (1 - difference), 0.0) ** 0.5
        share = (root - linear) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return _squared(only_a - only_b - n * difference, design_effect(difference) * variance)

    estimate = (only_a - only_b) / n
    p_value = sign_flip_test(*_by_cluster(clusters, steps))
    interval = Interval(_end(statistic, estimate, -1.0), _end(statistic, estimate, 1.0))
    return Comparison(estimate, *_agreeing(interval, estimate, p_value), p_value, n, only_a, only_b)


def difference_interval(first: float, of_first: Interval, second: float, of_second: Interval) -> Interval:
    """The interval of the difference of two independent estimates, first minus second, from an interval of each.

    MOVER (Zou and Donner 2008, Statistics in Medicine 27): at each end, the root of the summed squares of the two
    estimates' distances from the relevant ends of their intervals. Asymmetric intervals, such as those of shares near 0
    or 1, give an asymmetric one. It is at least as wide as the wider of the two.
    """
    difference = first - second
    below = float(np.hypot(first - of_first.low, of_second.high - second))
    above = float(np.hypot(of_first.high - first, second - of_second.low))
    return Interval(difference - below, difference + above)


def sign_flip_test(totals: Floats) -> float:
    """Two-sided p-value of integer differences of A and B per sequence, under exchangeability of A and B.

    Fisher's exact randomisation test of pairs (1935, The Design of Experiments, section 21): compares the sum over the
    sequences with the sums for all signs of the same totals, counted by a fast Fourier transform of their distribution.
    Five or fewer differing sequences are never significant at 5%.
    """
    from scipy.special import bdtr

    signed = totals[totals != 0].astype(np.int64)
    if not len(signed):
        return 1.0
    signed //= np.gcd.reduce(signed)
    sizes, counts = np.unique(np.abs(signed), return_counts=True)
    most, seen = int(sizes @ counts), abs(int(signed.sum()))
    if len(sizes) == 1:  # signs alone: a binomial distribution
        return min(1.0, 2 * float(bdtr((most - seen) // 2, most, 0.5)))
    # (sum + most) / 2 runs from 0 to most; its characteristic function is a product of cosines.
    angles = np.pi * np.arange((most + 1) // 2 + 1) / (most + 1)
    transform = np.exp(-1j * most * angles)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        transform *= np.cos(size * angles) ** count
    tail = float(np.fft.irfft(transform, most + 1)[(most + seen) // 2 :].sum())
    return min(1.0, max(2 * round(tail, 12), 0.0))  # the error of the transform is smaller


def _by_cluster(clusters: Ints, *columns: Floats) -> list[Floats]:
    """The sum of each column over each cluster."""
    _, index = np.unique(clusters, return_inverse=True)
    return [np.bincount(index, column).astype(np.float64) for column in columns]


def _few(clusters: Ints, *marks: Bools) -> bool:
    """Whether a mark is in too few clusters to estimate its clustering."""
    marked = [int((total > 0).sum()) for total in _by_cluster(clusters, *(mark.astype(np.float64) for mark in marks))]
    return min(marked) < min(FEW_SEQUENCES, len(np.unique(clusters)) / 2)


def _design_effect(values: Floats, others: Floats, clusters: Ints, few: bool) -> Callable[[float], float]:
    """The factor by which clustering raises the variance of the sum of values - x * others, for any x."""
    totals, other_totals = _by_cluster(clusters, values, others)
    least = len(values) / len(totals) if few else 1.0

    def squares(left: Floats, right: Floats) -> tuple[float, float, float]:
        return float(left @ left), float(left @ right), float(right @ right)

    of_clusters, of_items = squares(totals, other_totals), squares(values, others)

    def factor(x: float) -> float:
        above, below = ((first - 2 * x * mixed + x * x * last) for first, mixed, last in (of_clusters, of_items))
        return max(least, above / below) if below > 0 else least

    return factor


def _squared(distance: float, variance: float) -> float:
    """The square of a standardised distance."""
    if variance > 0:
        return distance**2 / variance
    return 0.0 if distance == 0 else float("inf")


def _critical() -> float:
    """The value that a squared standard normal variable exceeds with probability 5%."""
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2)) ** 2


def _end(statistic: Callable[[float], float], inside: float, outside: float) -> float:
    """The end of the accepted values between `inside`, which the test accepts, and `outside`, by bisection."""
    critical = _critical()
    if statistic(outside) <= critical:
        return outside
    while abs(outside - inside) > PRECISION * max(1.0, abs(inside)):
        middle = (inside + outside) / 2
        if statistic(middle) <= critical:
            inside = middle
        else:
            outside = middle
    return inside


def _agreeing(interval: Interval, estimate: float, p_value: float) -> Interval:
    """The interval, extended to 0 or cut at 0 so that it agrees with an exact test of 0."""
    low, high = interval
    if p_value >= 1 - LEVEL:
        return Interval(min(low, 0.0), max(high, 0.0))
    return Interval(max(low, 0.0), high) if estimate > 0 else Interval(low, min(high, 0.0))
