"""
name: query-count
what: how many times one given word occurs in a list of words
paper: arXiv 2407.15160, experiment with pretrained models
data: fflm_data config query-count, test: sequences of several vocabularies, each with a binary control
scored: the number in the answer; unparsed, refused and truncated answers are wrong and counted separately
baselines: always the expected count; the most frequent answer
"""

from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.arrays import Bools, Ints
from fflm_data.config import Config
from fflm_data.counting import Counting
from harness.tasks.base import Membership, NumberTask, Suites, column

# Largest vocabulary of few-shot examples: a list of 2,000 words would fill the context.
SHORT = 10


class QueryCountTask(NumberTask):
    """Counting a given word, grouped by vocabulary size, with binary controls."""

    name = "query-count"
    version = 4
    same_prompts_since = 3
    order = 40
    group = "counting"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=14),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "query-count"
    splits = ("test",)
    headline_groups = ("sequences", "control")

    def few_shot_eligible(self, rows: pa.Table) -> Bools:
        sizes = column(rows, "vocabulary")
        return np.asarray(sizes <= max(SHORT, sizes.min()))

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        sizes, control = column(rows, "vocabulary"), column(rows, "control")
        groups: dict[str, npt.NDArray[Any]] = {"sequences": ~control, "control": control}
        for size in sorted(set(sizes.tolist())):
            groups[f"vocabulary={size}"] = (sizes == size) & ~control
            groups[f"vocabulary={size},control"] = (sizes == size) & control
        return groups

    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        sizes = column(rows, "vocabulary")
        too_long = int(sizes[tokens_per_row > context].min())
        fits = [size for size in cast(Counting, config).vocabularies if size < too_long]
        listed = ",".join(map(str, fits))
        return f"vocabularies {listed} fit: add --set {self.name}.vocabularies={listed}" if fits else ""
