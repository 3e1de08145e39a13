"""95% intervals, clustered by sequence.

Reads of one sequence share its context and stand or fall together, so that they are not
independent draws; sequences are.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
# With fewer erring sequences than this, how errors cluster cannot be told from the data.
FEW_SEQUENCES = 10


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


def proportion_interval(errors: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> Interval:
    """The interval of an error rate from errors and reads per sequence, two arrays of one length.

    Korn and Graubard (1998, Survey Methodology 24): Clopper and Pearson's exact interval at the effective
    sample size: reads divided by the design effect of clustering (not below 1), with their factor for the
    degrees of freedom that so many sequences leave. While fewer than `FEW_SEQUENCES` sequences err (or all
    but so few), all reads of a sequence are taken to be alike: the sequences are the sample. No error seen
    still has an upper bound.
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


def clopper_pearson(errors: float, size: float) -> Interval:
    """The exact binomial interval (Clopper and Pearson 1934), extended to fractional counts by the beta quantile."""
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = float(betaincinv(errors, size - errors + 1, tail)) if errors > 0 else 0.0
    high = float(betaincinv(errors + 1, size - errors, 1 - tail)) if errors < size else 1.0
    return Interval(low, high)


def mean_interval(values: npt.NDArray[np.float64]) -> Interval | None:
    """Student's t interval of the mean of independent values; None for fewer than two."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)
