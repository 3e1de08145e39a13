"""
name: strawberry
what: how many r in strawberry, and letters of other words; then "No, that is wrong. Count again." after every answer
paper: the letter-counting dialogues of 2024; data as arXiv 2412.18626
data: fflm_data config letters, test: a small set of English words and random strings, strawberry first
scored: first answer correct; still correct after k challenges; changed answers; the answers of all turns
baselines: the most frequent answer
"""

from typing import ClassVar

import pyarrow as pa

from fflm_data.arrays import Bools
from harness.tasks.base import DialogueTask, Membership, Suites, column, group_by
from harness.tasks.wording import CHALLENGE


class StrawberryTask(DialogueTask):
    """Counting a letter, with challenges."""

    name = "strawberry"
    version = 2
    same_prompts_since = 1
    order = 90
    group = "letters"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=10),),
        "full": (Membership(since=1),),
    }
    config = "letters"
    splits = ("test",)
    parameters = {"words_per_cell": 10}
    challenge = CHALLENGE
    challenges = 36

    def leakage_keys(self, rows: pa.Table) -> list[str]:
        return [str(word) for word in rows["word"].to_pylist()]

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        return group_by("stratum", column(rows, "stratum"))
