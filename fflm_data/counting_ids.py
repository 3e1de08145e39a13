"""Counting sequences as arrays of token ids, for training from scratch (arXiv 2407.15160, section 6).

Tokens are drawn uniformly from a vocabulary of m, and a sequence has expected_count * m of them, so that the expected
count of a token does not depend on m.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.config import require, require_index, require_integer
from fflm_data.seeding import Stream

QUERY_COUNT, MOST_FREQUENT = TASKS = ("query-count", "most-frequent")
BLOCK_TOKENS = 2**19


def sample_counting(
    task: str, vocabulary: int, expected_count: int, rows: range, *, split: str = "train", seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns ids, int64 (rows, tokens), and counts, int64 (rows,), of some rows of an endless split.

    task: "query-count" appends the query, a uniformly drawn token, to the sequence; the count is that of the query
    among the other tokens. "most-frequent" has no query; the count is the largest of all tokens. Both have the same
    sequences. split: rows of different splits come from different random streams.
    """
    require(task in TASKS, "task", task, f"one of {', '.join(TASKS)}", TASKS)
    require_integer("vocabulary", vocabulary, 2)
    require_integer("expected_count", expected_count, 1)
    seed, start = require_index("seed", seed), require_index("start", rows.start)
    size = block_rows(vocabulary, expected_count)
    first = start // size * size
    numbers = range(start // size, max(1, -(-rows.stop // size)))
    blocks = [_block(vocabulary, expected_count, split, seed, number) for number in numbers]
    ids = np.concatenate(blocks)[start - first : rows.stop - first]
    tokens, query = ids[:, :-1], ids[:, -1:]
    if task == QUERY_COUNT:
        return ids, (tokens == query).sum(axis=1)
    return tokens, _counts(tokens, vocabulary).max(axis=1, initial=0)


def block_rows(vocabulary: int, expected_count: int) -> int:
    """Returns the number of rows that are drawn from one random stream."""
    return max(1, BLOCK_TOKENS // (expected_count * vocabulary + 1))


def _block(vocabulary: int, expected_count: int, split: str, seed: int, number: int) -> npt.NDArray[np.int64]:
    """Returns the tokens of a block, with the query last."""
    parameters: dict[str, Any] = {"vocabulary": vocabulary, "expected_count": expected_count}
    shape = block_rows(vocabulary, expected_count), expected_count * vocabulary + 1
    return Stream("counting-ids", parameters, split, seed, number).below(vocabulary, shape[0] * shape[1]).reshape(shape)


def _counts(tokens: npt.NDArray[np.int64], vocabulary: int) -> npt.NDArray[np.int64]:
    """Returns the count of every token in every row, (rows, vocabulary)."""
    rows = len(tokens)
    places = tokens + np.arange(rows)[:, None] * vocabulary
    return np.bincount(places.ravel(), minlength=rows * vocabulary).reshape(rows, vocabulary)
