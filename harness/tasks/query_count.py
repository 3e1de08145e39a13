"""
name: query-count
what: how many times one given word occurs in a list of words
paper: arXiv 2407.15160, experiment with pretrained models
data: fflm_data config query-count, test: sequences of several vocabularies, a binary control beside each
scored: the number in the model's answer; unparsed, refused and cut-off answers are wrong and counted apart
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

# Demonstrations are of the smallest vocabularies: a list of 2,000 words would leave no room for the question.
SHORT = 10


class QueryCountTask(NumberTask):
    """Counting a given word, by vocabulary size, with the binary control beside it."""

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
        found: dict[str, npt.NDArray[Any]] = {"sequences": ~control, "control": control}
        for size in sorted(set(sizes.tolist())):
            found[f"vocabulary={size}"] = (sizes == size) & ~control
            found[f"vocabulary={size},control"] = (sizes == size) & control
        return found

    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        sizes = column(rows, "vocabulary")
        too_long = int(sizes[tokens_per_row > context].min())
        fits = [size for size in cast(Counting, config).vocabularies if size < too_long]
        listed = ",".join(map(str, fits))
        return f"vocabularies {listed} fit: add --set {self.name}.vocabularies={listed}" if fits else ""
