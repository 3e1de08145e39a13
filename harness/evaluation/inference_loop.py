"""The inference loop: plans work items, runs the model on them, and yields observations batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Ints, Logprobs
from harness.engine.dialogues import DialogueOutputs
from harness.engine.engine import CompletionOutputs, Engine
from harness.planning.plans import ChoicePlan, DialoguePlan, Plan, ReadPlan
from harness.planning.work_queue import WorkItem
from harness.prompts.jobs import Job
from harness.runs import observations
from harness.tasks import ChoiceTask, CompletionTask, ReadTask, Targets

Item = TypeVar("Item")


@dataclass(frozen=True)
class ObservedBatch:
    """All observations of some rows of a job, with ids ascending."""

    job: Job
    ids: Ints
    table: pa.Table


def observe(
    jobs: Sequence[Job],
    items: Iterator[WorkItem],
    planner: Callable[[Job, pa.Table], Plan],
    engine: Engine,
    report: Callable[[WorkItem, float], object] = lambda item, share: None,
) -> Iterator[ObservedBatch]:
    """Runs the model on all work items. report: called with an item and the share of it that is done."""

    def prepare(item: WorkItem) -> tuple[WorkItem, pa.Table, Plan]:
        rows = item.rows(jobs)
        return item, rows, planner(jobs[item.job], rows)

    prepared = map(prepare, items)
    # With an accelerator, the next item is planned during the forward passes. On a CPU, the threads of planning and of
    # the model would wait for each other.
    for item, rows, plan in prepared if engine.model.device.type == "cpu" else prefetch(prepared):
        job = jobs[item.job]
        engine.progress.report = partial(report, item)
        for ids, columns in _observations(job, item.ids, rows, plan, engine):
            schema = observations.schema_of(job.task, job.config)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            yield ObservedBatch(job, np.sort(ids), pa.Table.from_arrays(arrays, schema=schema))


def _observations(
    job: Job, ids: Ints, rows: pa.Table, plan: Plan, engine: Engine
) -> Iterator[tuple[Ints, list[object]]]:
    """Runs a plan: yields the rows that each batch completes, and the columns of their observations."""
    if isinstance(plan, ChoicePlan):
        return _choices(cast(ChoiceTask, job.task).target(rows), ids, plan, engine)
    if isinstance(plan, ReadPlan):
        return _reads(cast(ReadTask, job.task).targets(rows), ids, plan, engine)
    task = cast(CompletionTask, job.task)
    limit = job.prompting.max_new_tokens(task)
    # A chat model ends its answers with a special token.
    is_complete = None if job.prompting.chat else task.is_complete
    if isinstance(plan, DialoguePlan):
        return _dialogues(ids, engine.dialogues(plan, limit, is_complete))
    return _completions(ids, engine.completions(plan, limit, is_complete))


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each computed in a thread while the previous one is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def _reads(targets: Targets, ids: Ints, plan: ReadPlan, engine: Engine) -> Iterator[tuple[Ints, list[object]]]:
    """The columns of reads."""
    for finished, logprobs, argmax in _finished(plan, engine):
        reads = np.flatnonzero(np.isin(targets.row, finished))
        symbol_logprobs, best = plan.answers(logprobs, argmax)
        target = targets.target[reads]
        yield (
            ids[finished],
            [
                ids[targets.row[reads]],
                targets.position[reads],
                targets.gap[reads],
                target,
                observations.logprobs_column(symbol_logprobs[reads]),
                plan.candidates[target],
                best[reads],
            ],
        )


def _choices(target: Ints, ids: Ints, plan: ChoicePlan, engine: Engine) -> Iterator[tuple[Ints, list[object]]]:
    """The columns of choices."""
    for finished, logprobs, argmax in _finished(plan, engine):
        candidate_logprobs, written = plan.choices(logprobs, argmax)
        lists = [
            observations.rounded(candidate_logprobs[plan.first[row] : plan.first[row + 1]]) for row in finished.tolist()
        ]
        yield ids[finished], [ids[finished], target[finished], lists, written[finished]]


def _finished(plan: ReadPlan, engine: Engine) -> Iterator[tuple[Ints, Logprobs, Ints]]:
    """The rows whose sequences are all done, with the log-probabilities and argmax of all points so far."""
    logprobs = np.full(plan.wanted.shape, np.nan, dtype=np.float32)
    argmax = np.full(len(plan.at), -1, dtype=np.int64)
    unread = np.bincount(plan.row[np.unique(plan.sequence)], minlength=plan.rows)
    if not unread.all():  # rows without reads
        yield np.flatnonzero(unread == 0), logprobs, argmax
    for part in engine.reads(plan):
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
        touched = plan.row[part.sequences]
        np.subtract.at(unread, touched, 1)
        finished = np.unique(touched)
        finished = finished[unread[finished] == 0]
        if len(finished):
            yield finished, logprobs, argmax


def _completions(ids: Ints, batches: Iterator[CompletionOutputs]) -> Iterator[tuple[Ints, list[object]]]:
    """The columns of completions."""
    for batch in batches:
        rows = ids[batch.rows]
        yield rows, [rows, np.zeros(len(rows), dtype=np.int64), batch.outputs, batch.tokens]


def _dialogues(ids: Ints, batches: Iterator[DialogueOutputs]) -> Iterator[tuple[Ints, list[object]]]:
    """The columns of dialogues, one row per turn."""
    for batch in batches:
        rows, turns = ids[batch.rows], batch.tokens.shape[1]
        outputs = [text for texts in batch.outputs for text in texts]
        yield rows, [np.repeat(rows, turns), np.tile(np.arange(turns), len(rows)), outputs, batch.tokens.ravel()]
