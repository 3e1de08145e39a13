"""Drawing lots: which rows of a record are asked again, and of which seed fresh ones are, which nobody could know when
the record was sent.

A lot is the SHA-256 of the JSON list [digest of the record, nonce, job, id]. The nonce is given after submission, and
whoever knows it can draw again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from typing import Any

from fflm_data import GENERATOR_VERSION

# Numbers in which no answer can be raised within what a replay allows: one table of which one row in ten is made up is
# found with 97%.
FINE = ("float32", "float64")
PER_TABLE = 32
# In others wrong answers can be raised where the margin is small, and only many of them together show that (measured
# by tests/benchmarks/replays.py: docs/leaderboard.md).
PER_TABLE_16_BITS = 64


def draw(digest: str, nonce: str, sizes: Mapping[str, int], count: int) -> dict[str, list[int]]:
    """By job, the ids of `count` rows (all if there are no more), ascending; jobs without one are left out.

    sizes: by job, how many rows it has, with ids from 0. Of each job the smallest lots are drawn, and the jobs take
    turns, so that every table is checked; what a small job cannot give is drawn from the others. Raises ValueError
    for a count below 1.
    """
    if count < 1:
        raise ValueError(f"count={count} is out of range: count must be at least 1")
    turns: list[tuple[int, str, str, int]] = []
    for job, rows in sizes.items():
        drawn = nsmallest(count, ((ticket, row) for row, ticket in enumerate(_lots(digest, nonce, job, rows))))
        turns += [(turn, ticket, job, row) for turn, (ticket, row) in enumerate(drawn)]
    chosen: dict[str, list[int]] = {}
    for _, _, job, row in sorted(turns)[:count]:
        chosen.setdefault(job, []).append(row)
    return {job: sorted(chosen[job]) for job in sizes if job in chosen}


def usual_count(model: Mapping[str, Any], tables: int) -> int:
    """How many sequences of a record are asked again where nobody says; model: of run.json."""
    fine = not model.get("quantization") and model["dtype"] in FINE
    return tables * (PER_TABLE if fine else PER_TABLE_16_BITS)


def _lots(digest: str, nonce: str, job: str, rows: int) -> Iterator[str]:
    """The lots of the first rows: what they have in common is hashed once."""
    common = hashlib.sha256(f"{json.dumps([digest, nonce, job])[:-1]}, ".encode())
    for row in range(rows):
        one = common.copy()
        one.update(f"{row}]".encode())
        yield one.hexdigest()


def seed_of(revision: str, nonce: str, generator: str = GENERATOR_VERSION) -> int:
    """The seed of the fresh rows for a revision of a model, from 0 to 2**63 - 1."""
    text = json.dumps([revision, generator, nonce])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
