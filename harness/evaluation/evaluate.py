"""`harness eval` from request to result: rows, prompts, plan, forward passes, observations, scores.

Requests are validated before the weights are downloaded, by planning the first rows of each job. Every process calls
`evaluate`; rank 0 opens the run, merges and scores.
"""

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.terminal import echo
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.evaluation.distributed import World, is_first
from harness.evaluation.inference_loop import ObservedBatch, observe
from harness.evaluation.merge_shards import merge, rows_done, without_duplicates
from harness.evaluation.progress_bar import Progress, ProgressReporter, WorkWeights
from harness.evaluation.shards import Record, ShardWriter, records
from harness.models import in_memory
from harness.models.in_memory import InMemory
from harness.models.loading import describe, load
from harness.models.model_name import title
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.source import ModelSource
from harness.models.tokenizer_file import keep_processes
from harness.models.weights import fetch_weights
from harness.planning.evaluation_request import EvalRequest, Questions
from harness.planning.planner import FirstRows, apply_prompting, check_first_rows, plan_jobs, plan_rows
from harness.planning.plans import Plan
from harness.planning.work_queue import MAX_ROWS, MAX_ROWS_BY_CANDIDATE, WorkItem, build_queue
from harness.prompts.jobs import Job
from harness.prompts.prompting import template_of
from harness.runs.environment import environment
from harness.runs.files import only_writer, require_writable, write_json
from harness.runs.recorded_jobs import data_facts
from harness.runs.reuse import run_folder
from harness.runs.run import Run, open_run, record_start, require_shared_folder
from harness.scoring.scores import score_run

# Where the reasons of skipped tasks name the texts that a tokenizer has no tokens for.
CANNOT_ENCODE = " cannot encode "


@dataclass(frozen=True)
class Work:
    """What rank 0 broadcasts. folder: the run folder, relative to --output. start: number of this start of the run.
    items: the work queue. skipped: names of skipped tasks."""

    folder: Path
    start: int
    items: list[WorkItem]
    skipped: frozenset[str]


def evaluate(request: EvalRequest, progress: Progress | None = None) -> tuple[Run, dict[str, Any]] | None:
    """Evaluates the model on the tasks. Returns the run and its result on rank 0, None on other ranks. progress: a
    progress line that is already shown."""
    if progress is None:
        with Progress(is_first()) as shown:
            return evaluate(request, shown)
    world = World()
    source, jobs, first_rows = _plan(request, world, progress)
    if world.broadcast(source.revision) != source.revision:
        raise UserError(f"{source.name} changed on the Hub while the processes started. Add --revision.")
    progress.start_phase("loading the model")
    with _loaded(request.model, source, world) as model:
        longest = world.broadcast(first_rows.longest)
        deterministic = Engine(model, source.tokenizer).read_method(longest).deterministic
        process = _Process(request, world, progress, source, model, jobs)
        if world.is_first:
            run, result = _lead(process, first_rows, deterministic)
        else:
            process.observe(world.broadcast(None))
    world.leave()
    return (run, result) if world.is_first else None


def _plan(request: EvalRequest, world: World, progress: Progress) -> tuple[ModelSource, list[Job], FirstRows]:
    """Resolves the model without its weights, plans the jobs, and validates both. One process of each machine goes
    first and downloads what the others then find in the cache."""
    first_rows = FirstRows()
    with world.first_here_goes_first():
        _check_processes(request, world)
        jobs = plan_jobs(request.questions)
        require_writable(request.execution.output)
        progress.start_phase("loading the tokenizer")
        with keep_processes():
            source = _source(request.model, local_files_only=not world.is_first_here)
            jobs = apply_prompting(jobs, request.questions, source.tokenizer)
            if world.is_first:
                progress.start_phase("planning the first rows of each task")
                first_rows = check_first_rows(jobs, source, request.questions)
        if world.is_first:
            with progress.aside():
                _print_request(request.questions, source, _without(jobs, first_rows.skipped), first_rows.skipped)
        if world.is_first_here and not source.in_memory:
            progress.start_phase("downloading the weights")
            fetch_weights(source)
    return source, jobs, first_rows


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


def _lead(process: "_Process", first_rows: FirstRows, deterministic: bool) -> tuple[Run, dict[str, Any]]:
    """The work of rank 0: opens the run, broadcasts the work queue, does its part of it, merges and scores."""
    request, world, progress = process.request, process.world, process.progress
    jobs = _without(process.jobs, first_rows.skipped)
    with progress.aside():
        if not deterministic:
            echo(f"{process.source.name} is not deterministic: its logits vary between passes. It cannot be ranked.")
        facts = _facts(process, jobs, first_rows, deterministic)
        folder = run_folder(request.execution.output, facts)
    with only_writer(folder):
        run = open_run(folder, facts)
        before = without_duplicates(records(run.shards))
        start = record_start(run, {"processes": world.size, "machines": world.machines})
        run.shards.mkdir(exist_ok=True)
        done = [
            np.ones(job.rows, dtype=bool) if _is_finished(run, job) else rows
            for job, rows in zip(jobs, rows_done(jobs, before), strict=True)
        ]
        with progress.aside():
            _print_resumed(run, jobs, done)
        progress.start_phase("building the work queue")
        processes = 1 if request.model.tensor_parallel else world.size
        items = build_queue(
            jobs, done, processes, MAX_ROWS_BY_CANDIDATE if request.questions.continuations else MAX_ROWS
        )
        below = run.folder.relative_to(request.execution.output)
        process.observe(world.broadcast(Work(below, start, items, frozenset(first_rows.skipped))))
        progress.start_phase("scoring")
        return run, _merge_and_score(run, jobs, [*before, *records(run.shards, f"{start:04}-*")])


def _facts(process: "_Process", jobs: list[Job], first_rows: FirstRows, deterministic: bool) -> dict[str, Any]:
    """run.json of a new run."""
    request, source = process.request, process.source
    model = describe(source, process.model, request.execution.strict) | {"deterministic": deterministic}
    if any(job.prompting.chat for job in jobs):
        model["chat_template"] = template_of(source.tokenizer).facts(source.template_owner)
    return {
        "command": request.command,
        **request.questions.suite_facts(),
        "model": model,
        "data": _data_facts(jobs, first_rows),
        "environment": environment(process.model.device),
        "left_out": first_rows.skipped,
    }


def _check_processes(request: EvalRequest, world: World) -> None:
    """Raises UserError if the options do not fit the started processes."""
    if request.execution.processes not in (None, world.size):
        raise UserError(
            f"--num-processes {request.execution.processes} differs from the {world.size} processes of the launcher. "
            "Remove it, or change the launcher."
        )
    if request.model.device_map and world.size > world.machines:
        raise UserError(
            "--device-map spreads the model over the GPUs of one process. Remove --num-processes, or use "
            "--tensor-parallel."
        )
    if request.model.tensor_parallel and world.sharing > 1:
        raise UserError(
            f"--tensor-parallel needs one GPU per process, and {world.sharing} processes share one. Lower "
            "--num-processes."
        )
    if request.model.tensor_parallel and world.size == 1:
        raise UserError("--tensor-parallel needs several processes. Add --num-processes N.")


def _data_facts(jobs: list[Job], first_rows: FirstRows) -> dict[str, Any]:
    data = data_facts(jobs)
    for job in jobs:
        data["tasks"][job.task.name]["rendering"] = first_rows.rendering[job.task.name]
    return data


def _print_request(questions: Questions, source: ModelSource, jobs: list[Job], skipped: dict[str, str]) -> None:
    """Prints the model, the tasks, and the skipped tasks."""
    names = list(dict.fromkeys(job.task.name for job in jobs))
    what = ", ".join(names) if questions.tasks else f"suite {questions.suite}, {len(names)} tasks"
    echo(f"{title(source.facts)}: {what}, {sum(job.rows for job in jobs):,} rows")
    by_cause: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        by_cause.setdefault(reason.partition(CANNOT_ENCODE)[0], []).append(name)
    for cause, skipped_names in by_cause.items():
        reason = skipped[skipped_names[0]] if len(skipped_names) == 1 else f"{cause}{CANNOT_ENCODE}their prompts"
        echo(f"skipped: {', '.join(skipped_names)} ({reason})")


def _is_finished(run: Run, job: Job) -> bool:
    """Whether the table of a job exists. Raises UserError if it has changed since it was written."""
    return run.table(job).exists() and run.require_table(job).exists()


def _print_resumed(run: Run, jobs: list[Job], done: Sequence[Any]) -> None:
    for job, rows in zip(jobs, done, strict=True):
        if rows.any():
            echo(f"{job.name}: {int(rows.sum()):,} of {job.rows:,} rows done before, resuming ({run.folder})")


def _without(jobs: list[Job], skipped: Collection[str]) -> list[Job]:
    return [job for job in jobs if job.task.name not in skipped]


@dataclass(frozen=True)
class _Process:
    """One process of an evaluation, its model loaded."""

    request: EvalRequest
    world: World
    progress: Progress
    source: ModelSource
    model: Any
    jobs: list[Job]

    def observe(self, work: Work) -> None:
        """Runs the model on this process's part of the work queue."""
        execution, world = self.request.execution, self.world
        engine = Engine(self.model, self.source.tokenizer, execution.batch_size, execution.strict, world.sharing)
        jobs = _without(self.jobs, work.skipped)

        def planner(job: Job, rows: pa.Table) -> Plan:
            return plan_rows(job, self.source, rows, self.request.questions.continuations)

        world.open_counters()
        require_shared_folder(execution.output / work.folder, work.start)
        is_one_model = self.request.model.tensor_parallel  # all processes compute one model, and rank 0 writes
        items = iter(work.items) if is_one_model else _claimed(world, work.items)
        reporter = ProgressReporter(world, jobs)

        def report(item: WorkItem, share: float) -> None:
            if share > 0:
                self.progress.start_phase(jobs[item.job].name)
            reporter.report(item, share)

        batches = observe(jobs, items, planner, engine, report)
        if is_one_model and not world.is_first:
            for _ in batches:
                pass
            world.wait_for_all()
            return
        shard = execution.output / work.folder / "shards" / f"{work.start:04}-{world.rank:04}.shard"
        self.progress.start_phase("trying the model")
        with self.progress.working(world, WorkWeights.of(jobs, work.items)):
            _write_shard(world, batches, shard)


def _claimed(world: World, items: list[WorkItem]) -> Iterator[WorkItem]:
    """Claims the next work item that no process has taken, until none is left."""
    while (index := world.add("taken", 1) - 1) < len(items):
        yield items[index]


def _write_shard(world: World, batches: Iterator[ObservedBatch], shard: Path) -> None:
    """Writes the batches of this process to its own shard; the processes meet only at the end."""
    with ShardWriter(shard) as writer:
        for batch in batches:
            writer.append(batch.job.name, batch.ids, batch.table)
            world.add("done", len(batch.ids))
        world.wait_for_all()


def _merge_and_score(run: Run, jobs: list[Job], records: list[Record]) -> dict[str, Any]:
    """Writes the tables, then result.json, then deletes the shards."""
    for job in jobs:
        if not run.table(job).exists():
            merge(job, records, run.table(job))
            run.seal(job)
    result = score_run(run)
    write_json(run.folder / "result.json", result)
    shutil.rmtree(run.shards, ignore_errors=True)
    return result
