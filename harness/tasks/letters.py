"""
name: letters
what: how many times a letter occurs in a word ("how many r in strawberry")
paper: arXiv 2412.18626
data: fflm_data config letters, test: English words and random strings, balanced over the answers 0..4
scored: the number in the answer; unparsed, refused and truncated answers are wrong and counted separately
baselines: the most frequent answer
"""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools
from harness.tasks.base import Membership, NumberTask, Suites, column, group_by


class LettersTask(NumberTask):
    """Counting a letter, grouped by stratum, by target, and by target and word length."""

    name = "letters"
    version = 4
    same_prompts_since = 3
    order = 60
    group = "letters"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=60),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "letters"
    splits = ("test",)

    def leakage_keys(self, rows: pa.Table) -> list[str]:
        return [str(word) for word in rows["word"].to_pylist()]

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        lengths = np.array([len(word) for word in rows["word"].to_pylist()], dtype=np.int64)
        answers = group_by("answer", self.target(rows))
        cells = {
            f"{answer},{length}": with_answer & with_length
            for answer, with_answer in answers.items()
            for length, with_length in group_by("length", lengths).items()
            if (with_answer & with_length).any()
        }
        return group_by("stratum", column(rows, "stratum")) | answers | cells
