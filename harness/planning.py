"""What is asked of which model: jobs from a request, plans from their rows, and what is refused before any work."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fflm_data import get_config
from harness.errors import UserError
from harness.models import ModelRequest, ModelSource
from harness.plan import NotSeparable, Plan, ReadPlan, plan_completions, plan_continuations, plan_reads
from harness.rows import Job
from harness.tasks import CompletionTask, ReadTask, all_tasks, get_task

FIRST_ROWS = 64
# Continuations are written anew for every read: a row costs as much as hundreds.
FIRST_ROWS_CONTINUED = 2


@dataclass(frozen=True)
class EvalRequest:
    """What `harness eval` was asked. parameters: by task, what is set of its data config. continuations: whether each
    possible answer is scored as a text of its own. batch_size: the most sequences in a batch. strict: one
    each. processes: how many of them work on it, None for as many as were started."""

    model: ModelRequest
    command: str
    tasks: tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    output: Path = Path("runs")
    continuations: bool = False
    batch_size: int | None = None
    strict: bool = False
    processes: int | None = None


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


def check_first_rows(jobs: list[Job], source: ModelSource, continuations: bool) -> dict[str, dict[str, Any]]:
    """Plans the first rows of every job for nothing but its refusals; by task, how they are given to the model.

    Raises UserError with the first refusal, and the tasks that would do.
    """
    rendering: dict[str, dict[str, Any]] = {}
    refused: dict[str, UserError] = {}
    for job in jobs:
        try:
            rows = min(job.rows, FIRST_ROWS_CONTINUED if continuations else FIRST_ROWS)
            plan = plan_rows(job, source, job.config.table(job.split, 0, rows), continuations)
        except UserError as refusal:
            refused.setdefault(job.task.name, refusal)
            continue
        first = (plan.sequences if isinstance(plan, ReadPlan) else plan.prompts)[0][:8].tolist()
        bos = source.tokenizer.bos_token_id
        rendering[job.task.name] = {
            "style": "plain",
            "chat_template": None,
            "answers": "continuations" if continuations and isinstance(job.task, ReadTask) else "tokens",
            "first_tokens": first,
            "first_token_is_bos": bos is not None and first[0] == bos,
        }
    if refused:
        worst = next(iter(refused.values()))
        fit = " ".join(f"--task {name}" for name in rendering if name not in refused)
        advice = f"; or ask only what fits: add {fit}" if fit else ""
        if isinstance(worst, NotSeparable) and not continuations:
            advice = f"; score whole continuations, which is slower: add --exact-continuations{advice}"
        raise UserError(f"{worst}{advice}")
    return rendering


def plan_rows(job: Job, source: ModelSource, rows: pa.Table, continuations: bool) -> Plan:
    """The plan of some rows. Raises UserError if the tokenizer or the context of the model does not allow it."""
    task, texts = job.task, job.task.texts(rows)
    plan: Plan
    written = 0
    if isinstance(task, ReadTask):
        way = plan_continuations if continuations else plan_reads
        plan = way(texts, task.targets(rows), task.symbols(job.config), source.tokenizer)
        fed = plan.sequences
    else:
        written = cast(CompletionTask, task).max_new_tokens
        plan = plan_completions(texts, source.tokenizer)
        fed = plan.prompts
    highest = max(int(tokens.max(initial=0)) for tokens in fed)
    vocabulary = source.config.get_text_config().vocab_size
    if highest >= vocabulary:
        raise UserError(
            f"the tokenizer of {source.name} gives token {highest}, its model has {vocabulary} of them: "
            "name a model with its own tokenizer"
        )
    lengths = np.array([len(tokens) for tokens in fed]) + written
    if source.context is not None and lengths.max() > source.context:
        advice = task.advice(job.config, lengths, rows, source.context) or "no size of it fits"
        raise UserError(
            f"{job.name} takes up to {lengths.max():,} tokens, the context of {source.name} is "
            f"{source.context:,}: {advice}"
        )
    return plan
