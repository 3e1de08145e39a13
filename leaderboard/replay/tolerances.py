"""Tolerances: how far replayed log-probabilities may differ from recorded ones. Pure functions on arrays.

The same model on another machine, or in another batch, sums in another order. Log-probabilities change slightly, and a
near tie between two tokens may be broken the other way.
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
    """Allows a difference of absolute + relative * |replayed|, in nats. For a sum over several tokens, absolute counts
    once per token. Relative to the replayed value, because the recorded value is not trusted."""

    absolute: float
    relative: float

    def allowed(self, replayed: npt.ArrayLike, tokens: npt.ArrayLike = 1) -> Floats:
        """Returns the allowed difference of each log-probability. tokens: how many tokens each is the sum of."""
        values = self.absolute * np.asarray(tokens) + self.relative * np.abs(np.asarray(replayed, dtype=np.float64))
        return np.asarray(values, dtype=np.float64)

    def margin(self, best: float) -> float:
        """Returns by how much another token may be less probable than the best one and still have been the best in the
        record: both may have changed."""
        return float(2 * self.allowed(best))


# By dtype. With other batches, other padding, and one or two threads, log-probabilities of SmolLM2-135M on a CPU change
# by up to 1.3e-5 per token in float32 and up to 0.25 in bfloat16 (at -3.9). float16 has three more bits, so an eighth
# of that. Larger models and GPUs sum more terms in other orders.
TOLERANCES: Mapping[str, Tolerance] = {
    "float64": Tolerance(1e-3, 1e-4),
    "float32": Tolerance(1e-3, 1e-4),
    "float16": Tolerance(0.04, 4e-3),
    "bfloat16": Tolerance(0.3, 0.03),
}
# Kernels for quantized weights round differently on each kind of GPU.
QUANTIZED = Tolerance(0.4, 0.04)


def tolerance_of(model: Mapping[str, Any]) -> Tolerance:
    """Returns the tolerance of a model in run.json; for an unknown dtype that of quantized weights, the largest."""
    return QUANTIZED if model.get("quantization") else TOLERANCES.get(model["dtype"], QUANTIZED)


def absolute_differences(recorded: npt.ArrayLike, replayed: npt.ArrayLike) -> Floats:
    """Returns the absolute differences; 0 for two equal infinities, NaN where one value is NaN."""
    first, second = np.asarray(recorded, dtype=np.float64), np.asarray(replayed, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(first == second, 0.0, np.abs(first - second))


def exceeds(recorded: npt.ArrayLike, replayed: npt.ArrayLike, allowed: npt.ArrayLike) -> Bools:
    """Returns which log-probabilities differ by more than is allowed, or are not finite."""
    differences = absolute_differences(recorded, replayed)
    with np.errstate(invalid="ignore"):
        return np.asarray(~((differences <= np.asarray(allowed)) & np.isfinite(differences)), dtype=bool)


def lead(logprobs: Logprobs, token: int) -> float:
    """Returns by how much the best other token is above `token`, negative if `token` is the best. logprobs:
    (vocabulary,). NaN for NaN log-probabilities, infinite for a token outside the vocabulary."""
    if not 0 <= token < len(logprobs):
        return float("inf")
    others = np.delete(logprobs, token)
    return float(others.max() - logprobs[token])


def near_best(logprobs: Logprobs, tolerance: Tolerance) -> Ints:
    """Returns the tokens that may have been the most probable in the record, best first; none for NaN. logprobs:
    (vocabulary,)."""
    best = float(logprobs.max())
    near = np.flatnonzero(logprobs >= best - tolerance.margin(best))
    return near[np.argsort(-logprobs[near], kind="stable")]


def could_be_written(leads: Floats, margins: Floats) -> bool:
    """Returns whether greedy decoding may have written a candidate: each of its tokens is the best, or a near tie."""
    return bool((leads <= margins).all())


def could_be_missed(leads: Floats, margins: Floats) -> bool:
    """Returns whether greedy decoding may not have written it: a token is not the best, or there is a near tie."""
    return bool((leads >= -margins).any())


def prefix_logprobs(plan: ChoicePlan, logprobs: Logprobs) -> Floats:
    """Returns the log-probability of each candidate's tokens, whatever follows them. logprobs: (candidates,).

    The probability of a candidate that is a prefix of others is a difference of two probabilities. If they are close,
    it has few significant digits. Their sum is what the model computes, and is compared instead.
    """
    sums = logprobs.astype(np.float64)
    lengths = np.bincount(plan.candidate, minlength=len(sums))
    for short, long in sorted(plan.longer.tolist(), key=lambda pair: -lengths[pair[1]]):
        sums[short] = np.logaddexp(sums[short], sums[long])
    return sums
