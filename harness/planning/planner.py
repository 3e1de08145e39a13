"""Plans an evaluation: jobs from a request, plans from their rows, errors before any forward pass."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fflm_data import get_config
from fflm_data.arrays import Ints
from harness.errors import UserError
from harness.models.encoding import CannotEncodeError, UnusableTokenizer
from harness.models.source import ModelSource
from harness.models.tokenizer_check import decode
from harness.models.tokenizer_file import sandboxed_encoding
from harness.planning.evaluation_request import Questions
from harness.planning.plans import (
    CompletionPlan,
    DialoguePlan,
    NotSeparable,
    Plan,
    ReadPlan,
    plan_choices,
    plan_continuations,
    plan_reads,
)
from harness.prompts.jobs import Job
from harness.prompts.prompting import resolve_prompting
from harness.prompts.rendering import end_of_answer, exchange, prompt_ids, prompt_texts
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, ReadTask, Task, all_tasks, get_task
from harness.tasks.suites import get_suite

# Rows of each job that are planned before the evaluation starts.
FIRST_ROWS = 64
# The same with continuations, which are encoded separately for every read.
FIRST_ROWS_CONTINUATIONS = 2
# A suggested thinking budget is a multiple of this, if the context allows.
THINKING_STEP = 64


def plan_jobs(questions: Questions) -> list[Job]:
    """The jobs in order of tasks and splits. Raises UserError for an unknown task, ParameterError for a bad value."""
    max_rows = get_suite(questions.suite).rows
    max_rows = dict.fromkeys(questions.tasks) if questions.tasks else max_rows
    names = tuple(max_rows)
    for name in questions.parameters:
        get_task(name)
        if name not in names:
            raise UserError(f"--set {name}... changes a task that is not evaluated: add --task {name}")
    jobs = []
    for name in names:
        changed = dict(questions.parameters.get(name, {}))
        task = get_task(name)
        if len(task.renderings) > 1:
            task = task.rendered(changed.pop("rendering", task.rendering))
        config = get_config(task.config, **{**task.parameters, **changed})
        for split in task.splits:
            if rows := config.splits().get(split):
                limit = min(rows, questions.limit or rows, max_rows[task.name] or rows)
                jobs.append(Job(task, config, split, limit))
    if not jobs:
        raise UserError("there are no rows to evaluate: remove the --set that empties the splits")
    return jobs


def apply_prompting(jobs: list[Job], questions: Questions, tokenizer: Any) -> list[Job]:
    """The jobs with the requested prompting. Raises UserError if the tokenizer does not support it."""
    prompting = resolve_prompting(questions.prompts, tokenizer)
    return [
        replace(job, prompting=prompting.of(job.task, questions.challenges))
        if isinstance(job.task, CompletionTask)
        else job
        for job in jobs
    ]


@dataclass(frozen=True)
class FirstRows:
    """The result of planning the first rows of all jobs.

    rendering: the field `rendering` of run.json, by task. skipped: reason by skipped task. longest: the longest input.
    """

    rendering: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    longest: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def check_first_rows(jobs: list[Job], source: ModelSource, questions: Questions) -> FirstRows:
    """Plans the first rows of every job, to find tasks that the model does not support.

    Raises UserError with the first error and the supported tasks, if tasks were named or none is supported.
    """
    with sandboxed_encoding(source.tokenizer_file):
        return _check_first_rows(jobs, source, questions)


def _check_first_rows(jobs: list[Job], source: ModelSource, questions: Questions) -> FirstRows:
    continuations = questions.continuations
    rendering: dict[str, dict[str, Any]] = {}
    errors: dict[str, UserError] = {}
    longest = np.empty(0, dtype=np.int64)
    for job in jobs:
        try:
            rows = min(job.rows, FIRST_ROWS_CONTINUATIONS if continuations else FIRST_ROWS)
            plan = plan_rows(job, source, job.config.table(job.split, 0, rows), continuations)
            if isinstance(plan, CompletionPlan):
                for prompt in plan.prompts:
                    decode(source.tokenizer, prompt.tolist())
        except UnusableTokenizer:
            raise  # for every task
        except UserError as error:
            errors.setdefault(job.task.name, error)
            continue
        fed = plan.sequences if isinstance(plan, ReadPlan) else plan.prompts
        longest = max(longest, *fed, key=len)
        first = fed[0][:8].tolist()
        bos = source.tokenizer.bos_token_id
        rendering[job.task.name] = {
            "answers": _kind(job.task, continuations),
            "first_tokens": first,
            "first_token_is_bos": bos is not None and first[0] == bos,
        }
        if job.task.rendering != job.task.renderings[0]:
            rendering[job.task.name]["text"] = job.task.rendering
    if errors and not questions.tasks and any(name not in errors for name in rendering):
        return FirstRows(rendering, {name: str(error) for name, error in errors.items()}, longest)
    if errors:
        first = next(iter(errors.values()))
        supported = " ".join(f"--task {name}" for name in rendering if name not in errors)
        advice = f"; or evaluate only the tasks that fit: add {supported}" if supported else ""
        if isinstance(first, NotSeparable) and not continuations:
            advice = f"; add --exact-continuations, which is slower{advice}"
        first_job = next(job for job in jobs if job.task.name in errors)
        other = _other_rendering(first_job, source, continuations)
        if isinstance(first, CannotEncodeError) and not other and not supported:
            other = other_tasks(source, questions)
        raise UserError(f"{first}{other}{advice}")
    return FirstRows(rendering, {}, longest)


def _other_rendering(job: Job, source: ModelSource, continuations: bool) -> str:
    """Another rendering that the tokenizer supports, as the end of an error message; "" if there is none."""
    for rendering in (name for name in job.task.renderings if name != job.task.rendering):
        other = replace(job, task=job.task.rendered(rendering))
        try:
            plan_rows(other, source, other.config.table(job.split, 0, 1), continuations)
        except UserError:
            continue
        return f"; the {rendering} rendering fits its tokens: add --set {job.task.name}.rendering={rendering}"
    return ""


def other_tasks(source: ModelSource, questions: Questions) -> str:
    """The tasks that the tokenizer can encode, as the end of an error message."""
    names = [name for name, task in all_tasks().items() if _is_supported(task, source, questions)]
    if not names:
        return ": it cannot encode any task, name another --model"
    return f": use tasks that it can encode, {' '.join(f'--task {name}' for name in names)}, or name another --model"


def _is_supported(task: Task, source: ModelSource, questions: Questions) -> bool:
    """Whether the first row of a task can be planned for a model."""
    config = get_config(task.config, **task.parameters)
    split = next(name for name in task.splits if config.splits().get(name))
    (job,) = apply_prompting([Job(task, config, split, 1)], questions, source.tokenizer)
    try:
        plan_rows(job, source, config.table(split, 0, 1), questions.continuations)
    except UserError:
        return False
    return True


def _kind(task: Task, continuations: bool) -> str:
    """The form of an answer: scored tokens, scored continuations, or generated text."""
    if isinstance(task, CompletionTask):
        return "text"
    return "continuations" if continuations or isinstance(task, ChoiceTask) else "tokens"


def plan_rows(job: Job, source: ModelSource, rows: pa.Table, continuations: bool) -> Plan:
    """The plan of some rows. Raises UserError if the model's tokenizer or context does not support it."""
    task = job.task
    plan: Plan
    max_new_tokens = 0
    if isinstance(task, ReadTask):
        plan_texts = plan_continuations if continuations else plan_reads
        plan = plan_texts(task.texts(rows), task.targets(rows), task.symbols(job.config), source.tokenizer)
        fed = plan.sequences
    elif isinstance(task, ChoiceTask):
        plan = plan_choices(task.texts(rows), task.candidates(rows), source.tokenizer)
        fed = plan.sequences
    else:
        plan = _prompts(job, source.tokenizer, rows)
        fed = plan.prompts
        max_new_tokens = job.prompting.max_new_tokens(cast(CompletionTask, task))
    highest = max(int(tokens.max(initial=0)) for tokens in fed)
    vocabulary = source.config.get_text_config().vocab_size
    if highest >= vocabulary:
        raise UserError(
            f"the tokenizer of {source.name} returns token {highest}, but vocab_size in its config is {vocabulary}: "
            "name a model with its own tokenizer"
        )
    lengths = np.array([len(tokens) for tokens in fed]) + max_new_tokens
    lengths = plan.longest if isinstance(plan, DialoguePlan) else lengths
    if source.context is not None and lengths.max() > source.context:
        advice = _advice(job, plan, lengths, rows, source.context)
        raise UserError(
            f"{job.name} needs up to {lengths.max():,} tokens, but the context of {source.name} is "
            f"{source.context:,}: {advice}"
        )
    return plan


def _prompts(job: Job, tokenizer: Any, rows: pa.Table) -> CompletionPlan:
    """The plan of completions or dialogues."""
    prompts = prompt_ids(prompt_texts(job, rows, tokenizer), job.prompting.chat, tokenizer)
    ends = end_of_answer(job.prompting, tokenizer)
    if not isinstance(job.task, DialogueTask):
        return CompletionPlan(prompts, ends)
    turns = exchange(job, rows, prompts, tokenizer)
    return DialoguePlan(prompts, ends, turns=job.prompting.turns, following=turns.following, longest=turns.longest)


def _advice(job: Job, plan: Plan, lengths: Ints, rows: pa.Table, context: int) -> str:
    """The options that make a task fit a context."""
    if isinstance(plan, DialoguePlan):
        return _dialogue_advice(job, plan, context)
    room = job.prompting.thinking + int(context - lengths.max())
    if job.prompting.thinking and room > 0:
        # Rounded down: later rows may be longer than those planned so far.
        return f"use less thinking: add --thinking {room // THINKING_STEP * THINKING_STEP or room}"
    advice = job.task.advice(job.config, lengths, rows, context) if len(lengths) == rows.num_rows else ""
    if not advice and job.prompting.shots:
        return "use fewer few-shot examples: lower --shots"
    return advice or "no size of it fits, name a model with a longer context"


def _dialogue_advice(job: Job, plan: DialoguePlan, context: int) -> str:
    """The options that make a dialogue fit a context: less thinking, fewer challenges, or both."""
    thinking, turns = job.prompting.thinking, plan.turns
    first = np.array([len(prompt) for prompt in plan.prompts])
    taken = int((plan.longest - first).max())
    answer = job.prompting.max_new_tokens(cast(CompletionTask, job.task))
    challenge = (taken - turns * answer) // max(1, turns - 1)
    room = context - int(first.max())

    def budget(turns: int, step: int) -> int:
        """The thinking budget per turn, rounded down because later rows may be longer."""
        return max(0, (room - (turns - 1) * challenge) // turns - (answer - thinking)) // step * step

    if thinking and (less := budget(turns, THINKING_STEP)):
        return f"use less thinking: add --thinking {less}"
    fits = room // (taken // turns + 1) - 1
    if fits > 0:
        return f"{fits} challenges fit: add --challenges {fits}"
    for step, fewer in product((THINKING_STEP, 1), (turns, 2, 1)) if thinking else ():
        if fewer <= turns and (less := budget(fewer, step)):
            return f"use less thinking and fewer challenges: add --thinking {less} --challenges {fewer - 1}"
    return "no challenge fits: add --challenges 0" if fits == 0 else "no dialogue fits, name another --task"
