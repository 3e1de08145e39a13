"""`harness eval` from request to result: rows, prompts, plan, forward passes, observations, scores.

Everything that can be refused is refused before the weights are fetched; the first rows of each job
are planned for that. Every process goes through `evaluate`; rank 0 opens the run, merges and scores.
"""

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.terminal import say
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.evaluation.collect import Observed, observe
from harness.evaluation.merge import first_of_each, merge, rows_done
from harness.evaluation.processes import World, is_first
from harness.evaluation.progress_bar import Progress, ProgressReporter, WorkWeights
from harness.evaluation.shards import Record, ShardWriter, records
from harness.models import in_memory
from harness.models.in_memory import InMemory
from harness.models.loading import describe, load
from harness.models.model_name import title
from harness.models.request import ModelRequest
from harness.models.resolve import resolve
from harness.models.source import ModelSource
from harness.models.tokenizer_file import keep_processes
from harness.models.weights import fetch_weights
from harness.planning.planner import FirstRows, apply_prompting, check_first_rows, plan_jobs, plan_rows
from harness.planning.plans import Plan
from harness.planning.request import EvalRequest, Questions
from harness.planning.work_queue import MAX_ROWS, MAX_ROWS_BY_CANDIDATE, WorkItem, build_queue
from harness.prompts.jobs import Job
from harness.prompts.prompting import template_of
from harness.runs.run import (
    Run,
    data_facts,
    environment,
    note_start,
    only_writer,
    open_run,
    require_same_folder,
    require_writable,
    run_folder,
    write_json,
)
from harness.scoring.scores import score_run


@dataclass(frozen=True)
class Work:
    """What rank 0 tells the others: the run folder below --output, which start of it this is, what is to be done, and
    which tasks are not."""

    folder: Path
    start: int
    items: list[WorkItem]
    left_out: frozenset[str]


def evaluate(request: EvalRequest, progress: Progress | None = None) -> tuple[Run, dict[str, Any]] | None:
    """Runs the model over the tasks; returns the run folder and its result, on rank 0 alone. progress: one that is
    shown already."""
    if progress is None:
        with Progress(is_first()) as shown:
            return evaluate(request, shown)
    world = World()
    source, jobs, found = _plan(request, world, progress)
    if world.broadcast(source.revision) != source.revision:
        raise UserError(f"{source.name} has changed on the Hub while processes started: add --revision")
    progress.doing("loading the model")
    with _loaded(request.model, source, world) as model:
        repeats = Engine(model, source.tokenizer).reading(world.broadcast(found.longest)).repeats
        part = _Part(request, world, progress, source, model, jobs)
        if world.is_first:
            run, result = _lead(part, found, repeats)
        else:
            part.observe(world.broadcast(None))
    world.leave()
    return (run, result) if world.is_first else None


def _plan(request: EvalRequest, world: World, progress: Progress) -> tuple[ModelSource, list[Job], FirstRows]:
    """The model without its weights, and its jobs. Whatever can be refused is refused here; of each machine one process
    does it first, which fetches what the others then find."""
    found = FirstRows()
    with world.first_here_goes_first():
        _check_processes(request, world)
        jobs = plan_jobs(request.questions)
        require_writable(request.execution.output)
        progress.doing("reading the tokenizer")
        with keep_processes():
            source = _source(request.model, local_files_only=not world.is_first_here)
            jobs = apply_prompting(jobs, request.questions, source.tokenizer)
            if world.is_first:
                progress.doing("planning the first rows of every task")
                found = check_first_rows(jobs, source, request.questions)
        if world.is_first:
            with progress.aside():
                _say_what_is_asked(request.questions, source, _without(jobs, found.skipped), found.skipped)
        if world.is_first_here and not source.in_memory:
            progress.doing("fetching the weights")
            fetch_weights(source)
    return source, jobs, found


def _source(model: ModelRequest | InMemory, local_files_only: bool) -> ModelSource:
    return in_memory.source_of(model) if isinstance(model, InMemory) else resolve(model, local_files_only)


@contextmanager
def _loaded(model: ModelRequest | InMemory, source: ModelSource, world: World) -> Iterator[Any]:
    """The model, ready for the engine."""
    if isinstance(model, InMemory):
        with in_memory.ready(model) as ready:
            yield ready
    else:
        yield load(source, world.device)


def _lead(part: "_Part", found: FirstRows, repeats: bool) -> tuple[Run, dict[str, Any]]:
    """What rank 0 does: it opens the run, says what is left to do, does its part of it, merges and scores."""
    request, world, progress = part.request, part.world, part.progress
    jobs = _without(part.jobs, found.skipped)
    with progress.aside():
        if not repeats:
            say(
                f"{part.source.name} is not deterministic: it gives different answers to the same text, and cannot be "
                "ranked"
            )
        facts = _facts(part, jobs, found, repeats)
        folder = run_folder(request.execution.output, facts)
    with only_writer(folder):
        run = open_run(folder, facts)
        before = first_of_each(records(run.shards))
        start = note_start(run, {"processes": world.size, "machines": world.machines})
        run.shards.mkdir(exist_ok=True)
        done = [
            np.ones(job.rows, dtype=bool) if _is_finished(run, job) else rows
            for job, rows in zip(jobs, rows_done(jobs, before), strict=True)
        ]
        with progress.aside():
            _say_what_is_kept(run, jobs, done)
        progress.doing("weighing the rows")
        processes = 1 if request.model.tensor_parallel else world.size
        items = build_queue(
            jobs, done, processes, MAX_ROWS_BY_CANDIDATE if request.questions.continuations else MAX_ROWS
        )
        below = run.folder.relative_to(request.execution.output)
        part.observe(world.broadcast(Work(below, start, items, frozenset(found.skipped))))
        progress.doing("scoring")
        return run, _merge_and_score(run, jobs, [*before, *records(run.shards, f"{start:04}-*")])


def _facts(part: "_Part", jobs: list[Job], found: FirstRows, repeats: bool) -> dict[str, Any]:
    """run.json of a new run."""
    request, source = part.request, part.source
    model = describe(source, part.model, request.execution.strict) | {"deterministic": repeats}
    if any(job.prompting.chat for job in jobs):
        model["chat_template"] = template_of(source.tokenizer).facts(source.template_owner)
    return {
        "command": request.command,
        **request.questions.suite_facts(),
        "model": model,
        "data": _data_facts(jobs, found),
        "environment": environment(part.model.device),
        "left_out": found.skipped,
    }


def _check_processes(request: EvalRequest, world: World) -> None:
    """Raises UserError for ways of spreading the work that do not go with the processes that were started."""
    if request.execution.processes not in (None, world.size):
        raise UserError(
            f"--num-processes {request.execution.processes} was asked, and another launcher has started {world.size}: "
            "leave it out, or tell the launcher"
        )
    if request.model.device_map and world.size > world.machines:
        raise UserError(
            "--device-map spreads the model over the GPUs of a process: leave out --num-processes, or use "
            "--tensor-parallel"
        )
    if request.model.tensor_parallel and world.sharing > 1:
        raise UserError(
            f"--tensor-parallel takes a GPU for each process, and {world.sharing} of them share one: lower "
            "--num-processes"
        )
    if request.model.tensor_parallel and world.size == 1:
        raise UserError("--tensor-parallel spreads the model over processes: add --num-processes N")


def _data_facts(jobs: list[Job], found: FirstRows) -> dict[str, Any]:
    data = data_facts(jobs)
    for job in jobs:
        data["tasks"][job.task.name]["rendering"] = found.rendering[job.task.name]
    return data


def _say_what_is_asked(questions: Questions, source: ModelSource, jobs: list[Job], left_out: dict[str, str]) -> None:
    """The first lines: which model, what of it is asked, and what is not."""
    names = list(dict.fromkeys(job.task.name for job in jobs))
    what = ", ".join(names) if questions.tasks else f"suite {questions.suite}, {len(names)} tasks"
    say(f"{title(source.facts)}: {what}, {sum(job.rows for job in jobs):,} rows")
    for name, reason in left_out.items():
        say(f"skipped: {name} ({reason})")


def _is_finished(run: Run, job: Job) -> bool:
    """Whether its table is there. Raises UserError if it has changed since it was written."""
    return run.table(job).exists() and run.require_table(job).exists()


def _say_what_is_kept(run: Run, jobs: list[Job], done: Sequence[Any]) -> None:
    for job, rows in zip(jobs, done, strict=True):
        if rows.any():
            say(f"{job.name}: {int(rows.sum()):,} of {job.rows:,} rows done before, resuming ({run.folder})")


def _without(jobs: list[Job], left_out: Collection[str]) -> list[Job]:
    return [job for job in jobs if job.task.name not in left_out]


@dataclass(frozen=True)
class _Part:
    """One process of an evaluation, its model loaded."""

    request: EvalRequest
    world: World
    progress: Progress
    source: ModelSource
    model: Any
    jobs: list[Job]

    def observe(self, work: Work) -> None:
        """Does this process's part of the work."""
        execution, world = self.request.execution, self.world
        engine = Engine(self.model, self.source.tokenizer, execution.batch_size, execution.strict, world.sharing)
        jobs = _without(self.jobs, work.left_out)

        def planner(job: Job, rows: pa.Table) -> Plan:
            return plan_rows(job, self.source, rows, self.request.questions.continuations)

        world.open_counters()
        require_same_folder(execution.output / work.folder, work.start)
        one_model = self.request.model.tensor_parallel  # all processes are one model, and rank 0 writes for it
        items = iter(work.items) if one_model else _claimed(world, work.items)
        teller = ProgressReporter(world, jobs)

        def report(item: WorkItem, share: float) -> None:
            if share > 0:
                self.progress.doing(jobs[item.job].name)
            teller.report(item, share)

        seen = observe(jobs, items, planner, engine, report)
        if one_model and not world.is_first:
            for _ in seen:
                pass
            world.wait_for_all()
            return
        shard = execution.output / work.folder / "shards" / f"{work.start:04}-{world.rank:04}.shard"
        self.progress.doing("trying the model out")
        with self.progress.working(world, WorkWeights.of(jobs, work.items)):
            _record(world, seen, shard)


def _claimed(world: World, items: list[WorkItem]) -> Iterator[WorkItem]:
    """The next item that no process has taken, until none is left."""
    while (place := world.add("taken", 1) - 1) < len(items):
        yield items[place]


def _record(world: World, seen: Iterator[Observed], shard: Path) -> None:
    """What this process observes, batch after batch into its own shard; none waits for another until all is done."""
    with ShardWriter(shard) as writer:
        for batch in seen:
            writer.append(batch.job.name, batch.ids, batch.table)
            world.add("done", len(batch.ids))
        world.wait_for_all()


def _merge_and_score(run: Run, jobs: list[Job], found: list[Record]) -> dict[str, Any]:
    """Tables, then result.json, then the shards are no longer needed."""
    for job in jobs:
        if not run.table(job).exists():
            merge(job, found, run.table(job))
            run.seal(job)
    result = score_run(run)
    write_json(run.folder / "result.json", result)
    shutil.rmtree(run.shards, ignore_errors=True)
    return result
