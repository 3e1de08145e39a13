"""How far what is said again may be from what was recorded: pure functions on log-probabilities.

The same model on another machine, or in another batch, adds its numbers in another order. Log-probabilities move a
little, and where two tokens are nearly as probable as each other, the other one comes out on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.arrays import Bools, Floats, Ints, Logprobs
from harness.planning.plans import ChoicePlan


@dataclass(frozen=True)
class Tolerance:
    """A log-probability may be off by absolute + relative * |replayed|, in nats, and the sum of several by absolute for
    each. Relative to what is replayed: what is recorded could be anything."""

    absolute: float
    relative: float

    def of(self, replayed: npt.ArrayLike, tokens: npt.ArrayLike = 1) -> Floats:
        """By how much the record of each log-probability, of so many tokens, may be off."""
        allowed = self.absolute * np.asarray(tokens) + self.relative * np.abs(np.asarray(replayed, dtype=np.float64))
        return np.asarray(allowed, dtype=np.float64)

    def margin(self, best: float) -> float:
        """How much less probable than the most probable token another may be that was the most probable one in the
        record: both may have moved."""
        return float(2 * self.of(best))


# By the numbers that a model computes in. In other batches, padded otherwise, on one thread and on two, SmolLM2-135M on
# a CPU moves by up to 1.3e-5 a token in float32 and up to 0.25 in bfloat16 (at a log-probability of -3.9), of which
# float16 has an eighth, having three bits more; larger models and GPUs add up more terms, in other orders.
TOLERANCES: Mapping[str, Tolerance] = {
    "float64": Tolerance(1e-3, 1e-4),
    "float32": Tolerance(1e-3, 1e-4),
    "float16": Tolerance(0.04, 4e-3),
    "bfloat16": Tolerance(0.3, 0.03),
}
# Kernels of packed weights round as they see fit on each kind of GPU.
QUANTIZED = Tolerance(0.4, 0.04)


def tolerance_of(model: Mapping[str, Any]) -> Tolerance:
    """What a model of run.json is allowed; of numbers that are not known here, as much as the coarsest."""
    return QUANTIZED if model.get("quantization") else TOLERANCES.get(model["dtype"], QUANTIZED)


def apart(recorded: npt.ArrayLike, replayed: npt.ArrayLike) -> Floats:
    """How far apart log-probabilities are; NaN where one of them is."""
    one, other = np.asarray(recorded, dtype=np.float64), np.asarray(replayed, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, np.abs(one - other))  # two infinities are the same


def differ(recorded: npt.ArrayLike, replayed: npt.ArrayLike, allowed: npt.ArrayLike) -> Bools:
    """Which log-probabilities are further apart than is allowed, or no numbers."""
    distances = apart(recorded, replayed)
    with np.errstate(invalid="ignore"):
        return np.asarray(~((distances <= np.asarray(allowed)) & np.isfinite(distances)), dtype=bool)


def lead(logprobs: Logprobs, token: int) -> float:
    """By how much the most probable other token is ahead of one, negative if that is the most probable; logprobs:
    (vocabulary,). NaN if they are no numbers, infinite for a token that is not there."""
    if not 0 <= token < len(logprobs):
        return float("inf")
    others = np.delete(logprobs, token)
    return float(others.max() - logprobs[token])


def near_best(logprobs: Logprobs, tolerance: Tolerance) -> Ints:
    """The tokens that may have been the most probable one in the record, most probable first; none if the
    log-probabilities, (vocabulary,), are no numbers."""
    best = float(logprobs.max())
    near = np.flatnonzero(logprobs >= best - tolerance.margin(best))
    return near[np.argsort(-logprobs[near], kind="stable")]


def could_be_written(leads: Floats, margins: Floats) -> bool:
    """Whether greedy decoding may have written a candidate: each of its tokens is the most probable one, or nearly."""
    return bool((leads <= margins).all())


def could_be_missed(leads: Floats, margins: Floats) -> bool:
    """Whether it may not have: one of its tokens is not the most probable one, or another is nearly so."""
    return bool((leads >= -margins).any())


def beginnings(plan: ChoicePlan, logprobs: Logprobs) -> Floats:
    """The log-probability of each candidate's tokens, whatever follows them, by what was said of all candidates.

    A candidate with which others begin is the difference of two probabilities. The closer they are to each other, the
    less its own says: their sum is what a model said, and what can be compared.
    """
    sums = logprobs.astype(np.float64)
    lengths = np.bincount(plan.candidate, minlength=len(sums))
    for short, long in sorted(plan.longer.tolist(), key=lambda pair: -lengths[pair[1]]):
        sums[short] = np.logaddexp(sums[short], sums[long])
    return sums
