"""Exact count (arXiv 2407.15160): the number in a completion, compared with the target."""

from typing import Any

import datasets
import evaluate
import numpy as np

from fflm_data.answers import CUT_OFF, REFUSED, UNPARSED, parse


class ExactCount(evaluate.Metric):
    """Accuracy and errors of the numbers in completions.

    compute also accepts cut_off=[...]: whether each completion reached the token limit (default: none).

    >>> metric = ExactCount()
    >>> metric.compute(predictions=["**3**", "two or three", "I cannot count."], references=[3, 2, 1])["refusals"]
    0.3333333333333333
    >>> metric.compute(predictions=["**3**", "It is 3"], references=[3, 33], cut_off=[False, True])["cut_off"]
    0.5
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, mean absolute error of the parsed numbers, and the shares of completions without a "
            "number, refused or cut off.",
            citation="arXiv 2407.15160",
            inputs_description="predictions: completions; references: target numbers",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, cut_off: list[bool] | None = None) -> dict[str, float | None]:
        cuts = [False] * len(predictions) if cut_off is None else cut_off
        answers = [parse(text, cut) for text, cut in zip(predictions, cuts, strict=True)]
        pairs = zip(answers, references, strict=True)
        distance = [abs(answer.value - target) for answer, target in pairs if answer.value is not None]
        kinds = [answer.kind for answer in answers]
        return {
            "accuracy": distance.count(0) / len(answers),
            "mean_absolute_error": float(np.mean(distance)) if distance else None,
            "parse_failures": kinds.count(UNPARSED) / len(answers),
            "refusals": kinds.count(REFUSED) / len(answers),
            "cut_off": kinds.count(CUT_OFF) / len(answers),
        }
