"""Glitch rate (arXiv 2306.00946, section 4): the share of reads whose most probable token is wrong."""

from typing import Any

import datasets
import evaluate
import numpy as np

from harness.scoring.statistics import error_interval


class GlitchRate(evaluate.Metric):
    """Glitch rate from the predicted and target tokens of reads, and the sequence of each read.

    >>> GlitchRate().compute(predictions=[3, 4, 4], references=[3, 4, 3], sequences=[0, 0, 1])["glitch_rate"]
    0.3333333333333333
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of wrong reads, with its 95% interval clustered by sequence.",
            citation="arXiv 2306.00946",
            inputs_description="predictions, references: token ids; sequences: the sequence of each read",
            features=datasets.Features(
                {name: datasets.Value("int64") for name in ("predictions", "references", "sequences")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, sequences: Any) -> dict[str, float | int]:
        wrong = np.asarray(predictions) != np.asarray(references)
        low, high = error_interval(wrong, np.asarray(sequences))
        return {
            "glitch_rate": float(wrong.mean()),
            "low": low,
            "high": high,
            "errors": int(wrong.sum()),
            "n": len(wrong),
        }
