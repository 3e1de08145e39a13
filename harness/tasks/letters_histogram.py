"""
name: letters-histogram
what: how many times each letter of a word occurs, as a JSON object
paper: arXiv 2412.18626
data: fflm_data config letters, test: the words of letters
scored: words with all counts correct (counts of 0 may be given); letters that occur, by their count; unparsed, refused
    and truncated answers are wrong and counted separately
baselines: every letter once
"""

from collections import Counter
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools
from harness.tasks.base import HistogramTask, Membership, Suites, column, group_by


class LettersHistogramTask(HistogramTask):
    """Counting all letters of a word."""

    name = "letters-histogram"
    version = 2
    same_prompts_since = 1
    order = 80
    group = "letters"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=20),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "letters"
    splits = ("test",)

    def texts(self, rows: pa.Table) -> list[str]:
        words = zip(rows["word"].to_pylist(), rows["stratum"].to_pylist(), strict=True)
        return [
            f'How many times does each letter occur in the {"word" if stratum == "english" else "string"} "{word}"?'
            for word, stratum in words
        ]

    def target(self, rows: pa.Table) -> list[dict[str, int]]:
        return [dict(Counter(word)) for word in rows["word"].to_pylist()]

    def leakage_keys(self, rows: pa.Table) -> list[str]:
        return [str(word) for word in rows["word"].to_pylist()]

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        most = np.array([max(counts.values()) for counts in self.target(rows)], dtype=np.int64)
        return group_by("stratum", column(rows, "stratum")) | group_by("most", most)
