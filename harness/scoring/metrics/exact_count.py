"""Exact count (arXiv 2407.15160): what number a completion says, against the right one."""

from typing import Any

import datasets
import evaluate
import numpy as np

from fflm_data.answers import CUT_OFF, REFUSED, UNPARSED, parse


class ExactCount(evaluate.Metric):
    """Completions as text and the right numbers.

    compute takes cut_off=[...], too: per completion whether the model hit its limit of tokens (default: none did).

    >>> metric = ExactCount()
    >>> metric.compute(predictions=["**3**", "two or three", "I cannot count."], references=[3, 2, 1])["refusals"]
    0.3333333333333333
    >>> metric.compute(predictions=["**3**", "It is 3"], references=[3, 33], cut_off=[False, True])["cut_off"]
    0.5
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, mean absolute error of what was read, and the shares that said no number, "
            "refused or were cut off.",
            citation="arXiv 2407.15160",
            inputs_description="predictions: completions; references: the right numbers",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, cut_off: list[bool] | None = None) -> dict[str, float | None]:
        cuts = [False] * len(predictions) if cut_off is None else cut_off
        said = [parse(text, cut) for text, cut in zip(predictions, cuts, strict=True)]
        distance = [
            abs(one.value - target) for one, target in zip(said, references, strict=True) if one.value is not None
        ]
        kinds = [one.kind for one in said]
        return {
            "accuracy": distance.count(0) / len(said),
            "mean_absolute_error": float(np.mean(distance)) if distance else None,
            "parse_failures": kinds.count(UNPARSED) / len(said),
            "refusals": kinds.count(REFUSED) / len(said),
            "cut_off": kinds.count(CUT_OFF) / len(said),
        }
