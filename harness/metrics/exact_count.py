"""Exact count (arXiv 2407.15160): what number a completion says, against the right one."""

from typing import Any

import datasets
import evaluate
import numpy as np

from harness.answers import parse


class ExactCount(evaluate.Metric):
    """Completions as text and the right numbers.

    >>> ExactCount().compute(predictions=["**3**", "two or three"], references=[3, 2])["accuracy"]
    0.5
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, mean absolute error of what was parsed, and the share that was not.",
            citation="arXiv 2407.15160",
            inputs_description="predictions: completions; references: the right numbers",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        said = [parse(text) for text in predictions]
        distance = [abs(number - gold) for number, gold in zip(said, references, strict=True) if number is not None]
        return {
            "accuracy": distance.count(0) / len(said),
            "mean_absolute_error": float(np.mean(distance)) if distance else None,
            "parse_failures": said.count(None) / len(said),
        }
