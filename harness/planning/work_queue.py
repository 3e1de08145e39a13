"""The work queue: the remaining rows in work items of similar length, most expensive first.

Each process takes the next item when it is free, so that slow processes take fewer. The small items at the end let all
processes finish at about the same time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.arrays import Ints
from harness.prompts.jobs import CHUNK_ROWS, Job
from harness.tasks import ChoiceTask

# Rows that a process plans at a time; more would only delay the first batch.
MAX_ROWS = 512
# The same for rows that are planned per read or per candidate.
MAX_ROWS_BY_CANDIDATE = 8
ITEMS_PER_PROCESS = 16
# Characters; smaller items cost more planning and batching than they gain in balance.
MIN_COST = 4_096


@dataclass(frozen=True)
class WorkItem:
    """Rows of one job. ids: row ids, longest row first. cost: total characters."""

    job: int
    ids: Ints
    cost: int

    def rows(self, jobs: Sequence[Job]) -> pa.Table:
        """Generates the rows, in the order of ids."""
        first, last = int(self.ids.min()) // CHUNK_ROWS, int(self.ids.max()) // CHUNK_ROWS
        window = jobs[self.job].window(first, last)
        return window.take(pa.array(self.ids - first * CHUNK_ROWS))


def build_queue(
    jobs: Sequence[Job], done: Sequence[npt.NDArray[np.bool_]], processes: int, max_rows: int = MAX_ROWS
) -> list[WorkItem]:
    """The work items of all rows that are not done, most expensive first. done: by job, bool (rows,)."""
    windows = [window for index in range(len(jobs)) for window in _windows(index, jobs[index], done[index])]
    total = sum(int(costs.sum()) for _, _, costs in windows)
    max_cost = max(MIN_COST, total // (ITEMS_PER_PROCESS * processes)) if processes > 1 else total
    items = [
        item
        for index, ids, costs in windows
        for item in _cut(index, ids, costs, (max_cost, min(max_rows, _max_rows(jobs[index]))))
    ]
    return sorted(items, key=lambda item: -item.cost)


def _max_rows(job: Job) -> int:
    return MAX_ROWS_BY_CANDIDATE if isinstance(job.task, ChoiceTask) else MAX_ROWS


def _windows(index: int, job: Job, done: npt.NDArray[np.bool_]) -> Iterable[tuple[int, Ints, Ints]]:
    """Per chunk of a job: its index, the ids that are not done and their costs in characters, most expensive first."""
    if done.all():
        return
    for start, rows in job.chunks():
        remaining = np.flatnonzero(~done[start : start + rows.num_rows])
        if len(remaining):
            costs = job.task.costs(rows.take(pa.array(remaining)))
            order = np.argsort(-costs, kind="stable")
            yield index, remaining[order] + start, costs[order]


def _cut(index: int, ids: Ints, costs: Ints, limits: tuple[int, int]) -> Iterable[WorkItem]:
    """Work items of consecutive ids. limits: maximum total cost and maximum number of rows."""
    max_cost, max_rows = limits
    start, total = 0, 0
    for position, cost in enumerate(costs.tolist()):
        if position > start and (total + cost > max_cost or position - start == max_rows):
            yield WorkItem(index, ids[start:position], total)
            start, total = position, 0
        total += cost
    yield WorkItem(index, ids[start:], total)
