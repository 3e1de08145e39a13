"""Intervals: against known values, and by simulation of what they promise."""

import numpy as np
import pytest

from harness.statistics import clopper_pearson, mean_interval, proportion_interval


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


def test_no_error_is_bounded_by_the_sequences_and_more_errors_never_by_less() -> None:
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


def test_errors_and_successes_are_alike() -> None:
    sizes = np.array([3.0, 5.0, 4.0, 6.0] * 20)
    errors = np.array([1.0, 0.0, 2.0, 3.0] * 20)
    low, high = proportion_interval(errors, sizes)
    assert proportion_interval(sizes - errors, sizes) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_mean_interval() -> None:
    assert mean_interval(np.array([1.0])) is None
    interval = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert interval is not None
    assert interval == (pytest.approx(2.5 - 2.05426, abs=1e-4), pytest.approx(2.5 + 2.05426, abs=1e-4))
