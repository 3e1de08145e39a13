"""`harness eval` from request to result: rows, prompts, plan, forward passes, observations, scores.

Everything that can be refused is refused before the weights are loaded; the first rows of each job
are planned for that.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from fflm_data import get_config
from harness import observations
from harness.engine import Engine
from harness.errors import UserError
from harness.models import ModelRequest, ModelSource, describe, load, resolve
from harness.plan import Budget, CompletionPlan, ReadPlan, plan_completions, plan_reads
from harness.rows import Job
from harness.run import Run, data_facts, environment, only_writer, open_run, require_writable, write_json
from harness.scoring import score_run
from harness.tasks import CompletionTask, ReadTask, Targets, all_tasks, get_task

FIRST_ROWS = 64


@dataclass(frozen=True)
class EvalRequest:
    """What `harness eval` was asked. parameters: by task, what is set of its data config."""

    model: ModelRequest
    command: str
    tasks: tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    output: Path = Path("runs")


def evaluate(request: EvalRequest) -> tuple[Run, dict[str, Any]]:
    """Runs the model over the tasks; returns the run folder and its result."""
    jobs = plan_jobs(request)
    require_writable(request.output)
    source = resolve(request.model)
    rendering = _check_first_rows(jobs, source)
    model = load(source)
    data = data_facts(jobs)
    for name, facts in rendering.items():
        data["tasks"][name]["rendering"] = facts
    run = open_run(
        request.output,
        {"command": request.command, "model": describe(source, model), "data": data, "environment": environment()},
    )
    engine = Engine(model, source.tokenizer)
    with only_writer(run):
        for job in jobs:
            path = run.table(job)
            if path.exists():
                print(f"{job.name}: observed before, kept ({path})")
            else:
                observe(job, engine, source, path)
        result = score_run(run)
        write_json(run.folder / "result.json", result)
    return run, result


def plan_jobs(request: EvalRequest) -> list[Job]:
    """The jobs in order of tasks and splits. Raises UserError for an unknown task, ParameterError for a bad value."""
    names = request.tasks or tuple(all_tasks())
    for name in request.parameters:
        get_task(name)
        if name not in names:
            raise UserError(f"--set {name}... sets a task that is not evaluated: add --task {name}")
    jobs = []
    for task in (get_task(name) for name in dict.fromkeys(names)):
        config = get_config(task.config, **request.parameters.get(task.name, {}))
        for split in task.splits:
            if rows := config.splits().get(split):
                jobs.append(Job(task, config, split, min(rows, request.limit or rows)))
    if not jobs:
        raise UserError("no rows are left to evaluate: leave out the --set that empties the splits")
    return jobs


def _check_first_rows(jobs: list[Job], source: ModelSource) -> dict[str, dict[str, Any]]:
    """Plans the first rows of every job for nothing but its refusals; by task, how they are given to the model.

    Raises UserError with the first refusal, and the tasks that would do.
    """
    rendering: dict[str, dict[str, Any]] = {}
    refusals: dict[str, str] = {}
    for job in jobs:
        try:
            plan = _plan(job, source, job.config.table(job.split, 0, min(job.rows, FIRST_ROWS)), Budget(2**20, 2**20))
        except UserError as refusal:
            refusals.setdefault(job.task.name, str(refusal))
            continue
        first = plan.tokens[0][:8].tolist()
        bos = source.tokenizer.bos_token_id
        rendering[job.task.name] = {
            "style": "plain",
            "chat_template": None,
            "first_tokens": first,
            "first_token_is_bos": bos is not None and first[0] == bos,
        }
    if refusals:
        fit = " ".join(f"--task {name}" for name in rendering if name not in refusals)
        advice = f"; or ask only what fits: add {fit}" if fit else ""
        raise UserError(next(iter(refusals.values())) + advice)
    return rendering


def _plan(job: Job, source: ModelSource, rows: pa.Table, budget: Budget) -> ReadPlan | CompletionPlan:
    """The plan of some rows. Raises UserError if the tokenizer or the context of the model does not allow it."""
    task, texts = job.task, job.task.texts(rows)
    plan: ReadPlan | CompletionPlan
    written = 0
    if isinstance(task, ReadTask):
        plan = plan_reads(texts, task.targets(rows), task.symbols(job.config), source.tokenizer, budget)
    else:
        written = cast(CompletionTask, task).max_new_tokens
        plan = plan_completions(texts, source.tokenizer, written, budget)
    highest, vocabulary = max(int(tokens.max()) for tokens in plan.tokens), source.config.get_text_config().vocab_size
    if highest >= vocabulary:
        raise UserError(
            f"the tokenizer of {source.name} gives token {highest}, its model has {vocabulary} of them: "
            "name a model with its own tokenizer"
        )
    lengths = np.array([len(tokens) for tokens in plan.tokens]) + written
    if source.context is not None and lengths.max() > source.context:
        advice = task.advice(job.config, lengths, rows, source.context) or "no size of it fits"
        raise UserError(
            f"{job.name} takes up to {lengths.max():,} tokens, the context of {source.name} is "
            f"{source.context:,}: {advice}"
        )
    return plan


def observe(job: Job, engine: Engine, source: ModelSource, path: Path) -> None:
    """Runs one job and writes its table, chunk by chunk."""
    task = job.task
    schema = observations.schema_of(task, job.config)
    progress = tqdm(total=job.rows, desc=job.name, unit="row")
    with progress, observations.writing(path, schema) as writer:
        for start, rows in job.chunks():
            plan = _plan(job, source, rows, engine.budget)
            if isinstance(task, ReadTask) and isinstance(plan, ReadPlan):
                columns = _reads(plan, engine, start, task.targets(rows), progress)
            else:
                columns = _completions(cast(CompletionPlan, plan), engine, start, cast(CompletionTask, task), progress)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _reads(plan: ReadPlan, engine: Engine, start: int, targets: Targets, progress: Any) -> list[Any]:
    """The columns of a chunk of reads, in the order of its rows whatever the batches."""
    logprobs = np.empty((len(plan.row), len(plan.candidates)), dtype=np.float32)
    argmax = np.empty(len(plan.row), dtype=np.int64)
    for batch, said in zip(plan.batches, engine.reads(plan), strict=True):
        logprobs[said.reads], argmax[said.reads] = said.logprobs, said.argmax
        progress.update(len(batch))
    said_logprobs = observations.logprobs_column(logprobs)
    gold_token = plan.candidates[targets.gold]
    return [targets.row + start, targets.position, targets.gap, targets.gold, said_logprobs, gold_token, argmax]


def _completions(plan: CompletionPlan, engine: Engine, start: int, task: CompletionTask, progress: Any) -> list[Any]:
    """The columns of a chunk of completions, in the order of its rows whatever the batches."""
    outputs = [""] * len(plan.tokens)
    tokens = np.zeros(len(plan.tokens), dtype=np.int64)
    for said in engine.completions(plan, task.max_new_tokens):
        for row, output in zip(said.rows, said.outputs, strict=True):
            outputs[row] = output
        tokens[said.rows] = said.tokens
        progress.update(len(said.rows))
    return [np.arange(start, start + len(outputs)), np.zeros_like(tokens), outputs, tokens]
