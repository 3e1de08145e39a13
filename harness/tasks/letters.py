"""
name: letters
what: how many times a letter occurs in a word ("how many r in strawberry")
paper: arXiv 2412.18626
data: fflm_data config letters, test: English words and random strings, balanced over the answers 0..4
scored: the number in the model's short answer; parse failures are wrong and counted apart
rendering: the question, "Answer with a number only.", "Answer:"
baselines: the most frequent answer
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config
from harness.tasks.base import CompletionTask, Ints, column


class LettersTask(CompletionTask):
    """Counting a letter, by stratum and by true answer."""

    name = "letters"
    version = 2
    config = "letters"
    splits = ("test",)

    def groups(self, rows: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
        strata, answers = column(rows, "stratum"), self.gold(rows)
        by_stratum = {f"stratum={stratum}": strata == stratum for stratum in sorted(set(strata.tolist()))}
        return by_stratum | {f"answer={answer}": answers == answer for answer in sorted(set(answers.tolist()))}

    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        return ""
