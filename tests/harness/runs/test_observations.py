"""Rounding of log-probabilities."""

import numpy as np

from harness.runs.observations import ROUNDING, logprobs_column


def test_log_probabilities_are_rounded_and_never_above_zero() -> None:
    logprobs = np.array([[3e-5, -10.123456], [-0.6931472, -np.inf]], dtype=np.float32)
    kept = np.array(logprobs_column(logprobs).to_pylist())
    assert kept[0, 0] == 0 and kept[1, 1] == -np.inf
    assert abs(kept[0, 1] - logprobs[0, 1]) < 1e-5 and abs(kept[1, 0] - logprobs[1, 0]) < 1e-5
    assert kept[0, 1] / ROUNDING == round(kept[0, 1] / ROUNDING)
