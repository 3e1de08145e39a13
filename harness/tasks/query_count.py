"""
name: query-count
what: how many times one given word occurs in a list of words
paper: arXiv 2407.15160, experiment with pretrained models
data: fflm_data config query-count, test
scored: the number in the model's short answer; parse failures are wrong and counted apart
rendering: the question, "Answer with a number only.", "Answer:"
baselines: always the expected count; the most frequent answer
"""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config
from fflm_data.counting import Counting
from harness.tasks.base import CompletionTask, Ints, column


class QueryCountTask(CompletionTask):
    """Counting a given word, by vocabulary size, with the binary control beside it."""

    name = "query-count"
    version = 2
    config = "query-count"
    splits = ("test",)

    def groups(self, rows: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
        sizes, control = column(rows, "vocabulary"), column(rows, "control")
        parts: dict[str, npt.NDArray[Any]] = {}
        for size in sorted(set(sizes.tolist())):
            parts[f"vocabulary={size}"] = (sizes == size) & ~control
            parts[f"vocabulary={size},control"] = (sizes == size) & control
        return parts

    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        sizes = column(rows, "vocabulary")
        too_long = int(sizes[tokens_per_row > context].min())
        fits = [size for size in cast(Counting, config).vocabularies if size < too_long]
        listed = ",".join(map(str, fits))
        return f"vocabularies {listed} fit: add --set {self.name}.vocabularies={listed}" if fits else ""
