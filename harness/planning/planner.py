"""What is asked of which model: jobs from a request, plans from their rows, and what is refused before any work."""

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
from harness.planning.request import Questions
from harness.prompts.jobs import Job
from harness.prompts.prompting import resolve_prompting
from harness.prompts.rendering import end_of_answer, exchange, prompt_ids, prompt_texts
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, ReadTask, Task, all_tasks, get_task
from harness.tasks.suites import get_suite

FIRST_ROWS = 64
# Continuations are written anew for every read: a row costs as much as hundreds.
FIRST_ROWS_CONTINUED = 2
# A budget for thinking that is advised is a multiple of this, where there is room for one.
THINKING_STEP = 64


def plan_jobs(questions: Questions) -> list[Job]:
    """The jobs in order of tasks and splits. Raises UserError for an unknown task, ParameterError for a bad value."""
    most = get_suite(questions.suite).rows
    most = dict.fromkeys(questions.tasks) if questions.tasks else most
    names = tuple(most)
    for name in questions.parameters:
        get_task(name)
        if name not in names:
            raise UserError(f"--set {name}... sets a task that is not evaluated: add --task {name}")
    jobs = []
    for name in names:
        changed = dict(questions.parameters.get(name, {}))
        task = get_task(name)
        if len(task.renderings) > 1:
            task = task.rendered(changed.pop("rendering", task.rendering))
        config = get_config(task.config, **{**task.parameters, **changed})
        for split in task.splits:
            if rows := config.splits().get(split):
                limit = min(rows, questions.limit or rows, most[task.name] or rows)
                jobs.append(Job(task, config, split, limit))
    if not jobs:
        raise UserError("no rows are left to evaluate: leave out the --set that empties the splits")
    return jobs


def apply_prompting(jobs: list[Job], questions: Questions, tokenizer: Any) -> list[Job]:
    """The same jobs with the prompting that was requested. Raises UserError if the tokenizer does not allow it."""
    prompting = resolve_prompting(questions.prompts, tokenizer)
    return [
        replace(job, prompting=prompting.of(job.task, questions.challenges))
        if isinstance(job.task, CompletionTask)
        else job
        for job in jobs
    ]


@dataclass(frozen=True)
class FirstRows:
    """What the first rows of all jobs say: by task, how they are given to the model, and why it is left out;
    and the longest text among them."""

    rendering: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    longest: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def check_first_rows(jobs: list[Job], source: ModelSource, questions: Questions) -> FirstRows:
    """Plans the first rows of every job for nothing but its refusals.

    Raises UserError with the first refusal, and the tasks that would do, if tasks were named or none is left.
    """
    with sandboxed_encoding(source.tokenizer_file):
        return _check_first_rows(jobs, source, questions)


def _check_first_rows(jobs: list[Job], source: ModelSource, questions: Questions) -> FirstRows:
    continuations = questions.continuations
    rendering: dict[str, dict[str, Any]] = {}
    refused: dict[str, UserError] = {}
    longest = np.empty(0, dtype=np.int64)
    for job in jobs:
        try:
            rows = min(job.rows, FIRST_ROWS_CONTINUED if continuations else FIRST_ROWS)
            plan = plan_rows(job, source, job.config.table(job.split, 0, rows), continuations)
            if isinstance(plan, CompletionPlan):
                for prompt in plan.prompts:
                    decode(source.tokenizer, prompt.tolist())
        except UnusableTokenizer:
            raise  # of no other task would such a tokenizer be told more
        except UserError as refusal:
            refused.setdefault(job.task.name, refusal)
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
    if refused and not questions.tasks and any(name not in refused for name in rendering):
        return FirstRows(rendering, {name: str(refusal) for name, refusal in refused.items()}, longest)
    if refused:
        worst = next(iter(refused.values()))
        fit = " ".join(f"--task {name}" for name in rendering if name not in refused)
        advice = f"; or ask only what fits: add {fit}" if fit else ""
        if isinstance(worst, NotSeparable) and not continuations:
            advice = f"; score whole continuations, which is slower: add --exact-continuations{advice}"
        first_refused = next(job for job in jobs if job.task.name in refused)
        other = _other_rendering(first_refused, source, continuations)
        if isinstance(worst, CannotEncodeError) and not other and not fit:
            other = other_tasks(source, questions)
        raise UserError(f"{worst}{other}{advice}")
    return FirstRows(rendering, {}, longest)


def _other_rendering(job: Job, source: ModelSource, continuations: bool) -> str:
    """The way to write rows that does for a tokenizer where the usual one does not, as the end of a refusal."""
    for rendering in (one for one in job.task.renderings if one != job.task.rendering):
        other = replace(job, task=job.task.rendered(rendering))
        try:
            plan_rows(other, source, other.config.table(job.split, 0, 1), continuations)
        except UserError:
            continue
        return f"; its tokens fit the {rendering} rendering: add --set {job.task.name}.rendering={rendering}"
    return ""


def other_tasks(source: ModelSource, questions: Questions) -> str:
    """What may be done where a tokenizer cannot encode the texts of a task, as the end of a refusal."""
    names = [name for name, task in all_tasks().items() if _fits(task, source, questions)]
    if not names:
        return ": it can encode the texts of no task, name another --model"
    return f": ask what it can encode, {' '.join(f'--task {name}' for name in names)}, or name another --model"


def _fits(task: Task, source: ModelSource, questions: Questions) -> bool:
    """Whether a model can be asked the first row of a task."""
    config = get_config(task.config, **task.parameters)
    split = next(one for one in task.splits if config.splits().get(one))
    (job,) = apply_prompting([Job(task, config, split, 1)], questions, source.tokenizer)
    try:
        plan_rows(job, source, config.table(split, 0, 1), questions.continuations)
    except UserError:
        return False
    return True


def _kind(task: Task, continuations: bool) -> str:
    """Of what an answer is made: tokens that are scored, continuations that are, or text."""
    if isinstance(task, CompletionTask):
        return "text"
    return "continuations" if continuations or isinstance(task, ChoiceTask) else "tokens"


def plan_rows(job: Job, source: ModelSource, rows: pa.Table, continuations: bool) -> Plan:
    """The plan of some rows. Raises UserError if the tokenizer or the context of the model does not allow it."""
    task = job.task
    plan: Plan
    written = 0
    if isinstance(task, ReadTask):
        way = plan_continuations if continuations else plan_reads
        plan = way(task.texts(rows), task.targets(rows), task.symbols(job.config), source.tokenizer)
        fed = plan.sequences
    elif isinstance(task, ChoiceTask):
        plan = plan_choices(task.texts(rows), task.candidates(rows), source.tokenizer)
        fed = plan.sequences
    else:
        plan = _prompts(job, source.tokenizer, rows)
        fed = plan.prompts
        written = job.prompting.max_new_tokens(cast(CompletionTask, task))
    highest = max(int(tokens.max(initial=0)) for tokens in fed)
    vocabulary = source.config.get_text_config().vocab_size
    if highest >= vocabulary:
        raise UserError(
            f"the tokenizer of {source.name} gives token {highest}, and the vocab_size of its config is {vocabulary}: "
            "name a model with its own tokenizer"
        )
    lengths = np.array([len(tokens) for tokens in fed]) + written
    lengths = plan.longest if isinstance(plan, DialoguePlan) else lengths
    if source.context is not None and lengths.max() > source.context:
        advice = _advice(job, plan, lengths, rows, source.context)
        raise UserError(
            f"{job.name} takes up to {lengths.max():,} tokens, the context of {source.name} is "
            f"{source.context:,}: {advice}"
        )
    return plan


def _prompts(job: Job, tokenizer: Any, rows: pa.Table) -> CompletionPlan:
    """The prompts of some rows, and of dialogues the way on."""
    prompts = prompt_ids(prompt_texts(job, rows, tokenizer), job.prompting.chat, tokenizer)
    ends = end_of_answer(job.prompting, tokenizer)
    if not isinstance(job.task, DialogueTask):
        return CompletionPlan(prompts, ends)
    on = exchange(job, rows, prompts, tokenizer)
    return DialoguePlan(prompts, ends, turns=job.prompting.turns, following=on.following, longest=on.longest)


def _advice(job: Job, plan: Plan, lengths: Ints, rows: pa.Table, context: int) -> str:
    """What makes a task fit a context."""
    if isinstance(plan, DialoguePlan):
        return _dialogue_advice(job, plan, context)
    room = job.prompting.thinking + int(context - lengths.max())
    if job.prompting.thinking and room > 0:
        # Rounded down: later rows may be longer than the ones that were looked at.
        return f"think less: add --thinking {room // THINKING_STEP * THINKING_STEP or room}"
    advice = job.task.advice(job.config, lengths, rows, context) if len(lengths) == rows.num_rows else ""
    if not advice and job.prompting.shots:
        return "ask with fewer demonstrations: lower --shots"
    return advice or "no size of it fits, name a model with a longer context"


def _dialogue_advice(job: Job, plan: DialoguePlan, context: int) -> str:
    """What makes a dialogue fit a context: less thinking, fewer challenges, or both."""
    thinking, turns = job.prompting.thinking, plan.turns
    first = np.array([len(prompt) for prompt in plan.prompts])
    taken = int((plan.longest - first).max())
    answer = job.prompting.max_new_tokens(cast(CompletionTask, job.task))
    challenge = (taken - turns * answer) // max(1, turns - 1)
    room = context - int(first.max())

    def budget(turns: int, step: int) -> int:
        """How much may be thought in each of so many turns, rounded down as later rows may be longer."""
        return max(0, (room - (turns - 1) * challenge) // turns - (answer - thinking)) // step * step

    if thinking and (less := budget(turns, THINKING_STEP)):
        return f"think less: add --thinking {less}"
    fits = room // (taken // turns + 1) - 1
    if fits > 0:
        return f"{fits} challenges fit: add --challenges {fits}"
    for step, fewer in product((THINKING_STEP, 1), (turns, 2, 1)) if thinking else ():
        if fewer <= turns and (less := budget(fewer, step)):
            return f"think and challenge less: add --thinking {less} --challenges {fewer - 1}"
    return "no challenge fits: add --challenges 0" if fits == 0 else "no dialogue fits, name another --task"
