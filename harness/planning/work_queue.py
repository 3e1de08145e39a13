"""The work queue: the rows that are left, in work items of similar length, the costliest first.

Each process takes the next item when it is free, so that a slow process takes fewer of them, and the small items at the
end let all processes finish together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.arrays import Ints
from harness.prompts.jobs import CHUNK_ROWS, Job
from harness.tasks import ChoiceTask

# What one process plans and holds at a time; more rows would only be a longer wait for the first batch.
MOST_ROWS = 512
# Of rows that are planned read by read, or candidate by candidate.
FEW_ROWS = 8
ITEMS_PER_PROCESS = 16
# In characters: less than this costs more to plan and to batch than it balances.
LEAST_COST = 4_096


@dataclass(frozen=True)
class WorkItem:
    """Rows of one job, by id, longest first; cost in characters."""

    job: int
    ids: Ints
    cost: int

    def rows(self, jobs: Sequence[Job]) -> pa.Table:
        """Generates them, in the order of ids."""
        first, last = int(self.ids.min()) // CHUNK_ROWS, int(self.ids.max()) // CHUNK_ROWS
        window = jobs[self.job].window(first, last)
        return window.take(pa.array(self.ids - first * CHUNK_ROWS))


def build_queue(
    jobs: Sequence[Job], done: Sequence[npt.NDArray[np.bool_]], processes: int, most_rows: int = MOST_ROWS
) -> list[WorkItem]:
    """The work items of all rows that are not done, the costliest first. done: by job, bool (rows,)."""
    windows = [part for job in range(len(jobs)) for part in _windows(job, jobs[job], done[job])]
    whole = sum(int(lengths.sum()) for _, _, lengths in windows)
    most = max(LEAST_COST, whole // (ITEMS_PER_PROCESS * processes)) if processes > 1 else whole
    items = [
        item
        for job, ids, lengths in windows
        for item in _cut(job, ids, lengths, (most, min(most_rows, _most_rows(jobs[job]))))
    ]
    return sorted(items, key=lambda item: -item.cost)


def _most_rows(job: Job) -> int:
    return FEW_ROWS if isinstance(job.task, ChoiceTask) else MOST_ROWS


def _windows(job: int, asked: Job, done: npt.NDArray[np.bool_]) -> Iterable[tuple[int, Ints, Ints]]:
    """Pieces of a job, each with the ids that are not done and their costs in characters, costliest first."""
    if done.all():
        return
    for start, rows in asked.chunks():
        left = np.flatnonzero(~done[start : start + rows.num_rows])
        if len(left):
            lengths = asked.task.costs(rows.take(pa.array(left)))
            order = np.argsort(-lengths, kind="stable")
            yield job, left[order] + start, lengths[order]


def _cut(job: int, ids: Ints, lengths: Ints, most: tuple[int, int]) -> Iterable[WorkItem]:
    """Consecutive ids; most: what their lengths may add up to, and how many they may be."""
    start, cost = 0, 0
    for position, length in enumerate(lengths.tolist()):
        if position > start and (cost + length > most[0] or position - start == most[1]):
            yield WorkItem(job, ids[start:position], cost)
            start, cost = position, 0
        cost += length
    yield WorkItem(job, ids[start:], cost)
