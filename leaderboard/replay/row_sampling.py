"""Samples the rows of a replay, and the seed of fresh rows, so that neither is predictable at submission.

The ticket of a row is the SHA-256 of the JSON list [digest of the record, nonce, job, id]. The nonce is given after
submission, and anybody who knows it can repeat the draw.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from typing import Any

from fflm_data import GENERATOR_VERSION

# Dtypes in which a wrong answer cannot be turned right within the tolerance. If one row in ten of a table is made up,
# 32 # rows detect that with 97%.
FINE = ("float32", "float64")
PER_TABLE = 32
# In other dtypes wrong answers with a small margin can be turned right, and only their number shows it (measured by
# tests/benchmarks/replays.py: docs/leaderboard.md).
PER_TABLE_16_BITS = 64


def draw(digest: str, nonce: str, sizes: Mapping[str, int], count: int) -> dict[str, list[int]]:
    """Returns the ids of `count` rows by job (all if there are no more), ascending. Jobs without a row are omitted.

    sizes: number of rows by job, with ids from 0. The jobs take turns, each with its smallest tickets, so that every
    table is checked; rows that a small job lacks are drawn from the others. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"count={count} is out of range: count must be at least 1")
    turns: list[tuple[int, str, str, int]] = []
    for job, rows in sizes.items():
        drawn = nsmallest(count, ((ticket, row) for row, ticket in enumerate(_tickets(digest, nonce, job, rows))))
        turns += [(turn, ticket, job, row) for turn, (ticket, row) in enumerate(drawn)]
    chosen: dict[str, list[int]] = {}
    for _, _, job, row in sorted(turns)[:count]:
        chosen.setdefault(job, []).append(row)
    return {job: sorted(chosen[job]) for job in sizes if job in chosen}


def default_count(model: Mapping[str, Any], tables: int) -> int:
    """Returns the default number of sequences of a replay. model: of run.json."""
    fine = not model.get("quantization") and model["dtype"] in FINE
    return tables * (PER_TABLE if fine else PER_TABLE_16_BITS)


def _tickets(digest: str, nonce: str, job: str, rows: int) -> Iterator[str]:
    """Yields the tickets of a job's rows. Their common prefix is hashed once."""
    common = hashlib.sha256(f"{json.dumps([digest, nonce, job])[:-1]}, ".encode())
    for row in range(rows):
        ticket = common.copy()
        ticket.update(f"{row}]".encode())
        yield ticket.hexdigest()


def fresh_seed(revision: str, nonce: str, generator: str = GENERATOR_VERSION) -> int:
    """Returns the seed of the fresh rows for a model revision, from 0 to 2**63 - 1."""
    text = json.dumps([revision, generator, nonce])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
