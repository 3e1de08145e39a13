"""
name: most-frequent
what: how many times the most frequent word of a list occurs
paper: arXiv 2407.15160, most frequent element (MFE)
data: fflm_data config most-frequent, test: the sequences of query-count
scored: the number in the model's short answer; parse failures are wrong and counted apart
rendering: the question, "Answer with a number only.", "Answer:"
baselines: always the expected count of a word; the most frequent answer
"""

from harness.tasks.query_count import QueryCountTask


class MostFrequentTask(QueryCountTask):
    """Counting the most frequent word of the same sequences."""

    name = "most-frequent"
    version = 2
    config = "most-frequent"
