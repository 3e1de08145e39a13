"""Intervals and tests against known values, slow oracles, and simulations of their coverage."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest

from fflm_data.arrays import Bools, Floats, Ints
from harness.scoring.statistics import (
    Interval,
    clopper_pearson,
    difference_interval,
    mean_interval,
    paired_comparison,
    proportion_interval,
    sign_flip_test,
    skill_interval,
)

Pairs = tuple[Bools, Bools, Ints]
CRITICAL = 1.959963984540054**2


def test_clopper_pearson_known_values() -> None:
    # The rule of three, made exact for two sides; and 5 of 20 from the tables.
    assert clopper_pearson(0, 100) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert clopper_pearson(100, 100) == (pytest.approx(0.025 ** (1 / 100)), 1.0)
    assert clopper_pearson(5, 20) == (pytest.approx(0.08657, abs=1e-5), pytest.approx(0.49105, abs=1e-5))


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("clustering", [0.0, 0.1, 0.5])
def test_coverage(rate: float, clustering: float) -> None:
    """Beta-binomial sequences: the true rate lies in at least 93% of the intervals (95% nominal)."""
    generator = np.random.default_rng(1)
    hits, trials = 0, 400
    for _ in range(trials):
        sizes = generator.integers(5, 40, 150)
        if clustering:
            strength = 1 / clustering - 1
            rates = generator.beta(rate * strength, (1 - rate) * strength, len(sizes))
        else:
            rates = np.full(len(sizes), rate)
        errors = generator.binomial(sizes, rates)
        low, high = proportion_interval(errors.astype(float), sizes.astype(float))
        hits += low <= rate <= high
    assert hits >= 0.93 * trials


def test_interval_bounds_without_errors() -> None:
    sizes = np.full(1000, 26.0)
    highs = []
    for erring in range(10):
        errors = np.zeros(1000)
        errors[:erring] = 1
        low, high = proportion_interval(errors, sizes)
        assert low <= erring / 26_000 <= high
        highs.append(high)
    assert highs == sorted(highs)
    assert highs[0] == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_interval_is_symmetric() -> None:
    sizes = np.array([3.0, 5.0, 4.0, 6.0] * 20)
    errors = np.array([1.0, 0.0, 2.0, 3.0] * 20)
    low, high = proportion_interval(errors, sizes)
    assert proportion_interval(sizes - errors, sizes) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_mean_interval() -> None:
    assert mean_interval(np.array([1.0])) is None and mean_interval(np.zeros(50)) is None
    interval = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))  # symmetric: Student's t
    assert interval is not None
    assert interval == (pytest.approx(2.5 - 2.05426, abs=1e-4), pytest.approx(2.5 + 2.05426, abs=1e-4))
    skewed = np.array([0.0] * 30 + [1.0] * 5 + [7.0])
    low, high = mean_interval(skewed) or (0.0, 0.0)
    assert high - skewed.mean() > skewed.mean() - low
    assert mean_interval(-skewed) == (pytest.approx(-high), pytest.approx(-low))
    few = np.array([0.0, 0.0, 0.9])
    assert (mean_interval(few) or (0,))[0] < 0 and mean_interval(few, 0, 1) == (0, 1)


def wrong(share: float, down: float = 0.0) -> Callable[[np.random.Generator, int], Floats]:
    """Count errors with the given share of non-zero values, and of negative ones among these."""

    def draw(generator: np.random.Generator, n: int) -> Floats:
        signs = np.where(generator.random(n) < down, -1.0, 1.0)
        return np.where(generator.random(n) < share, generator.geometric(0.4, n) * signs, 0.0)

    return draw


@pytest.mark.slow("harness/scoring/statistics.py")
@pytest.mark.parametrize("n", [14, 50, 100, 200])
@pytest.mark.parametrize(
    ("mean", "draw"),
    [
        (1.0, lambda generator, n: generator.poisson(1.0, n).astype(float)),
        (4.0, lambda generator, n: generator.poisson(generator.gamma(0.5, 8, n)).astype(float)),
        (-3.5, lambda generator, n: -generator.poisson(generator.gamma(0.7, 5, n)).astype(float)),
        (-1.0, lambda generator, n: generator.normal(-1, 3, n)),
        (0.75, wrong(0.3)),
        (0.25, wrong(0.1)),
        (-0.3, wrong(0.3, down=0.7)),
        (-0.1, wrong(0.1, down=0.7)),
    ],
    ids=["poisson", "long-tail", "signed-long-tail", "normal", "30%-wrong", "10%-wrong", "signed-30%", "signed-10%"],
)
def test_coverage_of_mean_errors(mean: float, draw: Callable[[np.random.Generator, int], Floats], n: int) -> None:
    """At least 93% coverage for samples with different values; 92% for small samples with 10% errors."""
    generator = np.random.default_rng(2)
    found = [interval for _ in range(1000) if (interval := mean_interval(draw(generator, n))) is not None]
    least = 0.92 if mean == -0.1 and n < 100 else 0.93
    assert sum(low <= mean <= high for low, high in found) >= least * len(found)


def test_coverage_with_rare_huge_errors() -> None:
    """No method covers values that are not in the sample."""
    covered = {}
    for n in (50, 200):
        generator = np.random.default_rng(3)
        samples = [generator.poisson(1.0, n) + 100.0 * (generator.random(n) < 0.02) for _ in range(1000)]
        covered[n] = np.mean([low <= 3 <= high for low, high in filter(None, map(mean_interval, samples))])
    assert 0.55 < covered[50] < 0.7 and covered[200] > 0.95


def pairs(
    generator: np.random.Generator, clusters: int, sizes: tuple[int, int], shares: tuple[float, ...], clustering: float
) -> Pairs:
    """Items that only A, only B, both or neither has right; the shares vary between sequences (Dirichlet)."""
    size = generator.integers(*sizes, clusters)
    if clustering:
        strength = 1 / clustering - 1
        cells = np.array([generator.dirichlet(np.maximum(np.array(shares) * strength, 1e-9)) for _ in range(clusters)])
    else:
        cells = np.tile(np.array(shares), (clusters, 1))
    counts = generator.multinomial(size, cells / cells.sum(axis=1, keepdims=True)).ravel()
    right_a = np.repeat(np.tile([True, False, True, False], clusters), counts)
    right_b = np.repeat(np.tile([False, True, True, False], clusters), counts)
    return right_a, right_b, np.repeat(np.arange(clusters), size)


def table(only_a: int, only_b: int, both: int, neither: int) -> Pairs:
    """The same, unclustered, from a table of four."""
    counts = [only_a, only_b, both, neither]
    right_a = np.repeat([True, False, True, False], counts)
    return right_a, np.repeat([False, True, True, False], counts), np.arange(sum(counts))


SAMPLES = [
    # sequences, items in one, clustering
    (60, (1, 2), 0.0),
    (400, (1, 2), 0.0),
    (8, (5, 40), 0.1),
    (14, (5, 40), 0.5),
    (50, (5, 40), 0.0),
    (50, (5, 40), 0.5),
    (150, (5, 40), 0.1),
]
# Shares of items that only A, only B, both, neither has right.
SAME = [(0.001, 0.001, 0.9, 0.098), (0.02, 0.02, 0.56, 0.4), (0.1, 0.1, 0.6, 0.2), (0.3, 0.3, 0.3, 0.1)]
DIFFERENT = [
    (0.006, 0.0, 0.994, 0.0),
    (0.1, 0.02, 0.58, 0.3),
    (0.5, 0.1, 0.3, 0.1),
    (0.3, 0.004, 0.694, 0.002),
    (0.01, 0.3, 0.39, 0.3),
]


HARD = [
    ((60, (1, 2), 0.0), (0.5, 0.1, 0.3, 0.1)),
    ((50, (5, 40), 0.1), (0.03, 0.0, 0.77, 0.2)),
    ((150, (5, 40), 0.1), (0.3, 0.3, 0.3, 0.1)),
]


# 200 trials at the nominal 95% stay above 90%, false alarms of 5% below 10%: three standard errors of either.
@pytest.mark.slow("harness/scoring/statistics.py")
@pytest.mark.parametrize(
    ("sample", "shares", "trials", "least", "most"),
    [
        *((sample, shares, 200, 0.90, 0.10) for sample in SAMPLES for shares in SAME + DIFFERENT),
        *((sample, shares, 1500, 0.93, 0.06) for sample, shares in HARD),
    ],
    ids=str,
)
def test_coverage_of_differences_and_skills(
    sample: tuple[int, tuple[int, int], float], shares: tuple[float, ...], trials: int, least: float, most: float
) -> None:
    """Coverage of both intervals, false positive rate, and agreement of p-value and intervals."""
    generator = np.random.default_rng(4)
    difference = shares[0] - shares[1]
    skill = 1 - (shares[1] + shares[3]) / (shares[0] + shares[3])
    covered, called, skilled = [], [], []
    for _ in range(trials):
        right_a, right_b, clusters = pairs(generator, *sample[:2], shares, sample[2])
        found = paired_comparison(right_a, right_b, clusters)
        covered.append(found.low - 1e-9 <= difference <= found.high + 1e-9)
        called.append(found.p_value < 0.05)
        assert -1 <= found.low <= found.difference <= found.high <= 1 and found.low < found.high
        of_skill = skill_interval(right_a, right_b, clusters)
        assert (of_skill is None) == right_b.all()
        if of_skill is not None:
            skilled.append(of_skill.low - 1e-9 <= skill <= of_skill.high + 1e-9)
        for low, high in filter(None, [(found.low, found.high), of_skill]):
            if found.p_value >= 0.05:
                assert low <= 0 <= high
            else:
                assert low >= 0 if found.difference > 0 else high <= 0
    assert np.mean(covered) >= least and np.mean([True, *skilled]) >= least
    if difference == 0:
        assert np.mean(called) <= most


@pytest.mark.parametrize(
    ("clusters", "sizes", "clustering", "shares", "power"),
    [
        (100, (1, 2), 0.0, (0.2, 0.04, 0.56, 0.2), 0.85),
        (200, (1, 2), 0.0, (0.05, 0.0, 0.75, 0.2), 0.85),
        (50, (5, 40), 0.1, (0.1, 0.02, 0.58, 0.3), 0.95),
        (14, (5, 40), 0.1, (0.3, 0.05, 0.35, 0.3), 0.95),
        (150, (5, 40), 0.5, (0.2, 0.05, 0.55, 0.2), 0.85),
    ],
)
def test_power(
    clusters: int, sizes: tuple[int, int], clustering: float, shares: tuple[float, ...], power: float
) -> None:
    generator = np.random.default_rng(5)
    samples = (pairs(generator, clusters, sizes, shares, clustering) for _ in range(200))
    assert np.mean([paired_comparison(*sample).p_value < 0.05 for sample in samples]) >= power


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (6, 0), (3, 12), (40, 21), (400, 300)])
def test_one_item_a_sequence_is_mcnemar(only_a: int, only_b: int) -> None:
    found = paired_comparison(*table(only_a, only_b, 50, 7))
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert (found.only_a, found.only_b, found.n) == (only_a, only_b, only_a + only_b + 57)


@pytest.mark.parametrize("totals", [[1, 2, -3], [5, 1, 1, 1, 2], [4, 4, -2, 6, 0, 8], [1] * 9 + [-2, 3, 3], [7, -7]])
def test_sign_flips_are_counted(totals: list[int]) -> None:
    sums = [
        abs(sum(s * t for s, t in zip(signs, totals, strict=True))) for signs in product((1, -1), repeat=len(totals))
    ]
    expected = sum(one >= abs(sum(totals)) for one in sums) / len(sums)
    assert sign_flip_test(np.array(totals, dtype=float)) == pytest.approx(expected, abs=1e-12)


def largest(likelihood: Callable[[float], float], low: float, high: float) -> float:
    """The maximum of the likelihood, by search."""
    return float(minimize_scalar(lambda x: -likelihood(x), bounds=(low, high), options={"xatol": 1e-13}).x)


@pytest.mark.parametrize("counts", [(9, 1, 30, 9), (25, 6, 10, 4), (3, 14, 40, 0), (30, 5, 70, 20)])
def test_unclustered_ends_are_where_the_score_tests_of_matched_pairs_reject(counts: tuple[int, ...]) -> None:
    """Variances at the most likely shares, found by search instead of by formula."""
    a, b, both, neither = counts
    n = sum(counts)

    def of_difference(difference: float) -> float:
        def likelihood(share: float) -> float:  # of items that only B has right
            cells = [(a, share + difference), (b, share), (both + neither, 1 - 2 * share - difference)]
            return sum(count * np.log(cell) for count, cell in cells if count)

        low, high = max(0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
        share = largest(likelihood, low, high)
        return (a - b - n * difference) ** 2 / (n * (2 * share + difference - difference**2)) - CRITICAL

    def of_ratio(ratio: float) -> float:
        def likelihood(shared: float) -> float:  # by both, of the items that either has wrong
            cells = [(neither, shared), (b, (ratio - shared) / (1 + ratio)), (a, (1 - ratio * shared) / (1 + ratio))]
            return sum(count * np.log(cell) for count, cell in cells if count)

        shared = largest(likelihood, 1e-12, min(ratio, 1 / ratio) - 1e-12)
        only_a, only_b = (1 - ratio * shared) / (1 + ratio), (ratio - shared) / (1 + ratio)
        variance = (a + b + neither) * (shared * (1 - ratio) ** 2 + only_b + ratio**2 * only_a)
        return ((b + neither) - ratio * (a + neither)) ** 2 / variance - CRITICAL

    found = paired_comparison(*table(*counts))
    estimate = (a - b) / n
    ends = [brentq(of_difference, -0.99, estimate), brentq(of_difference, estimate, 0.99)]
    assert binomtest(a, a + b).pvalue < 0.05  # so that the exact test moves no end
    assert (found.low, found.high) == (pytest.approx(ends[0], abs=1e-6), pytest.approx(ends[1], abs=1e-6))
    if b + neither >= 10:
        skill = skill_interval(*table(*counts))
        ratio = (b + neither) / (a + neither)
        ends = [1 - brentq(of_ratio, ratio, 50), 1 - brentq(of_ratio, 1e-3, ratio)]
        assert skill == (pytest.approx(ends[0], abs=1e-6), pytest.approx(ends[1], abs=1e-6))


def test_tango_known_value() -> None:
    """Bentur's airway data, as Fagerland and others (2014, Statistics in Medicine 33) give it: -0.517 to -0.026.

    Here the upper end is 0, since the exact test does not reject.
    """
    found = paired_comparison(*table(1, 7, 1, 12))
    assert (found.low, found.high) == (pytest.approx(-0.517, abs=5e-4), 0)
    assert found.p_value == pytest.approx(0.0703125)


def test_comparison_without_differing_items() -> None:
    right = np.arange(1040) % 3 > 0
    for clusters, sequences in [(np.arange(1040), 1040), (np.arange(1040) // 26, 40), (np.zeros(1040, dtype=int), 1)]:
        found = paired_comparison(right, right, clusters)
        assert found.difference == 0 and found.p_value == 1
        bound = pytest.approx(CRITICAL / (sequences + CRITICAL))
        assert (-found.low, found.high) == (bound, bound)
    found = paired_comparison(right, ~right, np.zeros(1040, dtype=int))
    assert found.p_value == 1 and found.low < 0 < found.high


def test_names_and_order_of_sequences_do_not_matter() -> None:
    right_a, right_b, clusters = pairs(np.random.default_rng(6), 30, (5, 40), (0.3, 0.1, 0.4, 0.2), 0.1)
    order = np.random.default_rng(7).permutation(len(clusters))
    found = paired_comparison(right_a, right_b, clusters)
    assert paired_comparison(right_a[order], right_b[order], 1000 - 7 * clusters[order]) == found
    swapped = paired_comparison(right_b, right_a, clusters)
    assert swapped.p_value == found.p_value
    assert (-swapped.high, -swapped.low) == (pytest.approx(found.low), pytest.approx(found.high))


def test_comparison_rejects_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="3, 2, 3 items"):
        paired_comparison(np.ones(3, dtype=bool), np.ones(2, dtype=bool), np.arange(3))


def test_skill_at_its_ends() -> None:
    right, items = np.arange(60) % 3 > 0, np.arange(60)
    assert skill_interval(right, np.ones(60, dtype=bool), items) is None
    low, high = skill_interval(np.ones(60, dtype=bool), right, items) or (0.0, 0.0)
    assert high == 1 and 0.5 < low < 1
    low, high = skill_interval(right, right, items) or (0.0, 0.0)
    assert low < 0 < high
    low, high = skill_interval(~right, right, items) or (0.0, 0.0)
    assert high < 0 and np.isfinite(low)


@pytest.mark.parametrize("chance", [np.full(60, 0.5), np.tile([0.25, 0.75], 30)])
def test_skill_over_chance_is_rescaled_accuracy(chance: Floats) -> None:
    right = np.arange(60) % 3 > 0
    low, high = proportion_interval((~right).astype(float), np.ones(60))
    expected = (pytest.approx(1 - high / 0.5), pytest.approx(1 - low / 0.5))
    assert skill_interval(right, chance, np.arange(60)) == expected


@pytest.mark.slow("harness/scoring/statistics.py")
@pytest.mark.parametrize("error", [0.002, 0.02])
@pytest.mark.parametrize(
    ("clusters", "sizes", "clustering"), [(100, (1, 2), 0.0), (50, (5, 40), 0.1), (150, (5, 40), 0.5)]
)
def test_coverage_of_skill_with_few_errors(
    error: float, clusters: int, sizes: tuple[int, int], clustering: float
) -> None:
    """The baseline is wrong on half of the model's errors and on half of the other items."""
    generator = np.random.default_rng(8)
    covered = []
    for _ in range(400):
        shares = ((1 - error) / 2, error / 2, (1 - error) / 2, error / 2)
        low, high = skill_interval(*pairs(generator, clusters, sizes, shares, clustering)) or (-1.0, 1.0)
        covered.append(low <= 1 - 2 * error <= high)
    assert np.mean(covered) >= 0.93


def test_difference_of_two_shares_known_value() -> None:
    """56 of 70 and 48 of 80: Newcombe (1998, Statistics in Medicine 17), method 10, from the two score intervals."""
    first, second = (binomtest(*counts).proportion_ci(method="wilson") for counts in ((56, 70), (48, 80)))
    found = difference_interval(56 / 70, Interval(*first), 48 / 80, Interval(*second))
    assert found == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.98, 0.8), (0.999, 0.999), (1.0, 0.9), (0.02, 0.6)])
@pytest.mark.parametrize("sizes", [(40, 40), (400, 60)])
def test_coverage_of_independent_differences(rates: tuple[float, float], sizes: tuple[int, int]) -> None:
    """Coverage is at least 95%, within three standard errors."""
    generator = np.random.default_rng(6)
    hits, trials = 0, 600
    for _ in range(trials):
        right = [int(generator.binomial(size, rate)) for size, rate in zip(sizes, rates, strict=True)]
        ends = [clopper_pearson(count, size) for count, size in zip(right, sizes, strict=True)]
        values = [count / size for count, size in zip(right, sizes, strict=True)]
        low, high = difference_interval(values[0], ends[0], values[1], ends[1])
        assert -1 <= low <= values[0] - values[1] <= high <= 1
        reversed_low, reversed_high = difference_interval(values[1], ends[1], values[0], ends[0])
        assert (low, high) == pytest.approx((-reversed_high, -reversed_low))
        hits += low <= rates[0] - rates[1] <= high
    assert hits >= 0.923 * trials
