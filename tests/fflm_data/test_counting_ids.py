"""Counting sequences as token ids, against a slow count of every row."""

from collections import Counter

import numpy as np
import pytest

from fflm_data.config import ParameterError
from fflm_data.counting_ids import TASKS, block_rows, sample_counting


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("vocabulary", "expected"), [(2, 1), (5, 3), (16, 10), (300, 10)])
def test_counts_by_a_loop(task, vocabulary, expected):
    ids, counts = sample_counting(task, vocabulary, expected, range(40))
    assert ids.dtype == counts.dtype == np.int64 and counts.shape == (40,)
    assert ids.shape == (40, vocabulary * expected + (task == "query-count"))
    assert ids.min() >= 0 and ids.max() < vocabulary
    for row, count in zip(ids.tolist(), counts.tolist(), strict=True):
        if task == "query-count":
            *tokens, query = row
            assert count == sum(token == query for token in tokens)
        else:
            assert count == max(Counter(row).values())


def test_expected_count_is_that_of_a_uniform_vocabulary():
    """The query occurs expected_count times on average; the s.d. of the mean of 4,000 rows is about 0.05."""
    for vocabulary in (2, 16, 100):
        ids, counts = sample_counting("query-count", vocabulary, 10, range(4_000))
        assert counts.mean() == pytest.approx(10, abs=0.25)
        frequencies = np.bincount(ids.ravel(), minlength=vocabulary) / ids.size
        assert np.abs(frequencies * vocabulary - 1).max() < 0.06


@pytest.mark.parametrize("task", TASKS)
def test_rows_do_not_depend_on_the_start(task):
    size = block_rows(700, 10)
    ids, counts = sample_counting(task, 700, 10, range(3 * size))
    for rows in (range(1), range(size - 1, size + 1), range(size, 2 * size), range(2 * size + 5, 3 * size)):
        some, their_counts = sample_counting(task, 700, 10, rows)
        assert np.array_equal(some, ids[rows.start : rows.stop])
        assert np.array_equal(their_counts, counts[rows.start : rows.stop])


@pytest.mark.parametrize("rows", [range(0), range(5, 5), range(10**6, 10**6)])
@pytest.mark.parametrize("task", TASKS)
def test_no_rows(task, rows):
    ids, counts = sample_counting(task, 4, 2, rows)
    assert ids.shape == (0, 8 + (task == "query-count")) and counts.shape == (0,)


def test_both_tasks_have_the_same_sequences():
    queries, _ = sample_counting("query-count", 8, 10, range(20))
    plain, _ = sample_counting("most-frequent", 8, 10, range(20))
    assert np.array_equal(queries[:, :-1], plain)


def test_streams_differ():
    """By split, seed, vocabulary and expected count; the rows of one stream differ too."""
    streams = [
        sample_counting("most-frequent", vocabulary, expected, range(30), split=split, seed=seed)[0]
        for vocabulary, expected in ((8, 10), (16, 5), (40, 2))
        for split in ("train", "test", "validation")
        for seed in (0, 1, 2**63 - 1)
    ]
    rows = {(stream.max(), tuple(row)) for stream in streams for row in stream.tolist()}
    assert len(rows) == 30 * len(streams)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("query_count", 8, 10, range(1)), "task='query_count'.*did you mean 'query-count'"),
        (("query-count", 1, 10, range(1)), "vocabulary=1"),
        (("query-count", 8.0, 10, range(1)), "vocabulary=8.0"),
        (("query-count", 8, 0, range(1)), "expected_count=0"),
        (("query-count", 8, True, range(1)), "expected_count=True"),
        (("query-count", 8, 10, range(-1, 3)), "start=-1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ParameterError, match=message):
        sample_counting(*arguments)


def test_seed_is_not_negative():
    with pytest.raises(ParameterError, match="seed=-1"):
        sample_counting("query-count", 8, 10, range(1), seed=-1)
