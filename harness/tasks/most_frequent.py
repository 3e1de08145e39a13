"""
name: most-frequent
what: how many times the most frequent word of a list occurs
paper: arXiv 2407.15160, most frequent element (MFE)
data: fflm_data config most-frequent, test: the sequences of query-count, each with a binary control
scored: the number in the answer; unparsed, refused and truncated answers are wrong and counted separately
baselines: always the expected count of a word; the most frequent answer
"""

from typing import ClassVar

from harness.tasks.base import Membership, Suites
from harness.tasks.query_count import QueryCountTask


class MostFrequentTask(QueryCountTask):
    """Counting the most frequent word of the same sequences."""

    name = "most-frequent"
    version = 4
    same_prompts_since = 3
    order = 50
    group = "counting"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=14),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "most-frequent"
