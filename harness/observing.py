"""The loop: parcels of rows are planned, asked, and become observations batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa

from harness import observations
from harness.engine import Engine
from harness.parcels import Parcel
from harness.plan import CompletionPlan, Plan, ReadPlan
from harness.rows import Job
from harness.tasks import CompletionTask, ReadTask, Targets
from harness.tasks.base import Ints

Made = TypeVar("Made")


@dataclass(frozen=True)
class Observed:
    """One batch: all observations of some rows of a job, ids ascending."""

    job: Job
    ids: Ints
    table: pa.Table


def observe(
    jobs: Sequence[Job], parcels: Iterator[Parcel], planner: Callable[[Job, pa.Table], Plan], engine: Engine
) -> Iterator[Observed]:
    """Asks the model everything that is in the parcels."""

    def prepare(parcel: Parcel) -> tuple[Parcel, pa.Table, Plan]:
        rows = parcel.rows(jobs)
        return parcel, rows, planner(jobs[parcel.job], rows)

    prepared = map(prepare, parcels)
    # On an accelerator the next parcel is planned while it computes. A CPU has no such time to give: two sets of
    # threads on the same cores wait for each other, at times for most of the run.
    for parcel, rows, plan in prepared if engine.model.device.type == "cpu" else one_ahead(prepared):
        job = jobs[parcel.job]
        parts = (
            _reads(cast(ReadTask, job.task).targets(rows), parcel.ids, plan, engine)
            if isinstance(plan, ReadPlan)
            else _completions(cast(CompletionTask, job.task), parcel.ids, plan, engine)
        )
        for ids, columns in parts:
            schema = observations.schema_of(job.task, job.config)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            yield Observed(job, np.sort(ids), pa.Table.from_arrays(arrays, schema=schema))


def one_ahead(items: Iterator[Made]) -> Iterator[Made]:
    """The items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def _reads(targets: Targets, ids: Ints, plan: ReadPlan, engine: Engine) -> Iterator[tuple[Ints, list[object]]]:
    """The rows that a batch finishes, and the columns of their reads."""
    logprobs = np.full(plan.wanted.shape, np.nan, dtype=np.float32)
    argmax = np.full(len(plan.at), -1, dtype=np.int64)
    unread = np.bincount(plan.row[np.unique(plan.sequence)], minlength=plan.rows)

    def columns(finished: Ints) -> tuple[Ints, list[object]]:
        reads = np.flatnonzero(np.isin(targets.row, finished))
        said, most = plan.answers(logprobs, argmax)
        gold = targets.gold[reads]
        return ids[finished], [
            ids[targets.row[reads]],
            targets.position[reads],
            targets.gap[reads],
            gold,
            observations.logprobs_column(said[reads]),
            plan.candidates[gold],
            most[reads],
        ]

    if not unread.all():  # rows in which nothing is read
        yield columns(np.flatnonzero(unread == 0))
    for part in engine.reads(plan):
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
        touched = plan.row[part.sequences]
        np.subtract.at(unread, touched, 1)
        finished = np.unique(touched)
        finished = finished[unread[finished] == 0]
        if len(finished):
            yield columns(finished)


def _completions(
    task: CompletionTask, ids: Ints, plan: CompletionPlan, engine: Engine
) -> Iterator[tuple[Ints, list[object]]]:
    """The rows of a batch and the columns of their completions."""
    for part in engine.completions(plan, task.max_new_tokens, task.is_complete):
        rows = ids[part.rows]
        yield rows, [rows, np.zeros(len(rows), dtype=np.int64), part.outputs, part.tokens]
