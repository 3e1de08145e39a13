"""`harness eval` from request to result: rows, prompts, plan, forward passes, observations, scores.

Everything that can be refused is refused before the weights are fetched; the first rows of each job
are planned for that. Every process goes through `evaluate`; rank 0 opens the run, merges and scores.
"""

import shutil
from collections.abc import Collection, Iterator, Sequence
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
from harness.evaluation.processes import World
from harness.evaluation.progress import Progress, Teller, Weights
from harness.evaluation.shards import Record, ShardWriter, records
from harness.models.loading import describe, load
from harness.models.source import ModelSource, fetch_weights, resolve
from harness.models.tokenizer_file import keeping
from harness.planning.planning import EvalRequest, FirstRows, check_first_rows, plan_jobs, plan_rows, put_to
from harness.planning.plans import Plan
from harness.planning.work_queue import FEW_ROWS, MOST_ROWS, Parcel, deal
from harness.prompts.jobs import Job
from harness.prompts.prompting import template_of
from harness.runs.naming import title
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
    parcels: list[Parcel]
    left_out: frozenset[str]


def evaluate(request: EvalRequest) -> tuple[Run, dict[str, Any]] | None:
    """Runs the model over the tasks; returns the run folder and its result, on rank 0 alone."""
    world = World()
    with Progress(world.is_first) as progress:
        return _evaluate(request, world, progress)


def _evaluate(request: EvalRequest, world: World, progress: Progress) -> tuple[Run, dict[str, Any]] | None:
    found = FirstRows()
    with world.first_here_goes_first():
        _check_processes(request, world)
        jobs = plan_jobs(request)
        require_writable(request.output)
        progress.doing("reading the tokenizer")
        with keeping():
            source = resolve(request.model, here_only=not world.is_first_here)
            jobs = put_to(jobs, request, source.tokenizer)
            if world.is_first:
                progress.doing("planning the first rows of every task")
                found = check_first_rows(jobs, source, request)
        if world.is_first:
            with progress.aside():
                _say_what_is_asked(request, source, _without(jobs, found.left_out), found.left_out)
        if world.is_first_here:
            progress.doing("fetching the weights")
            fetch_weights(source)
    if world.told(source.revision) != source.revision:
        raise UserError(f"{source.name} has changed on the Hub while processes started: add --revision")
    progress.doing("loading the model")
    model = load(source, world.device)
    repeats = Engine(model, source.tokenizer).reading(world.told(found.longest)).repeats
    if not world.is_first:
        _observe(request, world, world.told(None), source, model, jobs, progress)
        world.part()
        return None
    jobs = _without(jobs, found.left_out)
    described = describe(source, model, request.strict) | {"deterministic": repeats}
    if any(job.prompting.chat for job in jobs):
        described["chat_template"] = template_of(source.tokenizer).facts(source.template_of)
    facts = {
        "command": request.command,
        **request.suite_facts(),
        "model": described,
        "data": _data_facts(jobs, found),
        "environment": environment(world.device),
        "left_out": found.left_out,
    }
    with progress.aside():
        if not repeats:
            say(
                f"{source.name} is not deterministic: it gives different answers to the same text, and cannot be ranked"
            )
        folder = run_folder(request.output, facts)
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
        parcels = deal(
            jobs,
            done,
            1 if request.model.tensor_parallel else world.size,
            FEW_ROWS if request.continuations else MOST_ROWS,
        )
        work = world.told(Work(run.folder.relative_to(request.output), start, parcels, frozenset(found.left_out)))
        _observe(request, world, work, source, model, jobs, progress)
        progress.doing("scoring")
        result = _merge_and_score(run, jobs, [*before, *records(run.shards, f"{start:04}-*")])
    world.part()
    return run, result


def _check_processes(request: EvalRequest, world: World) -> None:
    """Raises UserError for ways of spreading the work that do not go with the processes that were started."""
    if request.processes not in (None, world.size):
        raise UserError(
            f"--num-processes {request.processes} was asked, and another launcher has started {world.size}: leave it "
            "out, or tell the launcher"
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


def _say_what_is_asked(request: EvalRequest, source: ModelSource, jobs: list[Job], left_out: dict[str, str]) -> None:
    """The first lines: which model, what of it is asked, and what is not."""
    names = list(dict.fromkeys(job.task.name for job in jobs))
    what = ", ".join(names) if request.tasks else f"suite {request.suite}, {len(names)} tasks"
    say(f"{title(source.named)}: {what}, {sum(job.rows for job in jobs):,} rows")
    for name, reason in left_out.items():
        say(f"left out: {name} ({reason})")


def _is_finished(run: Run, job: Job) -> bool:
    """Whether its table is there. Raises UserError if it has changed since it was written."""
    return run.table(job).exists() and run.require_table(job).exists()


def _say_what_is_kept(run: Run, jobs: list[Job], done: Sequence[Any]) -> None:
    for job, rows in zip(jobs, done, strict=True):
        if rows.any():
            say(f"{job.name}: {int(rows.sum()):,} of {job.rows:,} rows observed before, kept ({run.folder})")


def _without(jobs: list[Job], left_out: Collection[str]) -> list[Job]:
    return [job for job in jobs if job.task.name not in left_out]


def _observe(  # noqa: PLR0917
    request: EvalRequest,
    world: World,
    work: Work,
    source: ModelSource,
    model: Any,
    jobs: list[Job],
    progress: Progress,
) -> None:
    """This process's part of the work."""
    engine = Engine(model, source.tokenizer, request.batch_size, request.strict, world.sharing)
    jobs = _without(jobs, work.left_out)

    def planner(job: Job, rows: pa.Table) -> Plan:
        return plan_rows(job, source, rows, request.continuations)

    world.open_counters()
    require_same_folder(request.output / work.folder, work.start)
    one_model = request.model.tensor_parallel  # all processes are one model, and rank 0 writes for it
    parcels = iter(work.parcels) if one_model else _claimed(world, work.parcels)
    teller = Teller(world, jobs)

    def tell(parcel: Parcel, share: float) -> None:
        if share > 0:
            progress.doing(jobs[parcel.job].name)
        teller.tell(parcel, share)

    seen = observe(jobs, parcels, planner, engine, tell)
    if one_model and not world.is_first:
        for _ in seen:
            pass
        world.wait_for_all()
        return
    shard = request.output / work.folder / "shards" / f"{work.start:04}-{world.rank:04}.shard"
    progress.doing("trying the model out")
    with progress.working(world, Weights.of(jobs, work.parcels)):
        _record(world, seen, shard)


def _claimed(world: World, parcels: list[Parcel]) -> Iterator[Parcel]:
    """The next parcel that no process has taken, until none is left."""
    while (place := world.add("taken", 1) - 1) < len(parcels):
        yield parcels[place]


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
