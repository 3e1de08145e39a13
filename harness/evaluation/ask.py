"""`harness ask`: one question to a model, with its prompt, tokens and probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from fflm_data.answers import is_complete
from fflm_data.arrays import Ints
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.models.encoding import CannotEncodeError
from harness.models.loading import load
from harness.models.model_name import title
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.source import ModelSource
from harness.models.weights import fetch_weights
from harness.planning.evaluation_request import Questions
from harness.planning.planner import apply_prompting, other_tasks, plan_jobs, plan_rows
from harness.planning.plans import ChoicePlan, CompletionPlan, DialoguePlan, Plan, ReadPlan
from harness.prompts.jobs import Job
from harness.prompts.prompting import PromptRequest, answer_part, render, resolve_prompting
from harness.prompts.rendering import end_of_answer, prompt_ids
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, NumberTask, ReadTask
from harness.tasks.base import HistogramTask

TOP = 4
BOUNDARY = "|"
FREE_TOKENS = 64


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model with its source."""

    source: ModelSource
    engine: Engine

    def tokens(self, ids: Ints) -> str:
        """The texts of token ids, separated by bars."""
        return BOUNDARY.join(map(self.token, ids.tolist()))

    def token(self, token: int) -> str:
        """The text of a token; its name in the vocabulary if the text is empty or has incomplete characters."""
        text = str(self.source.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        shown = self.source.tokenizer.convert_ids_to_tokens(token) if "\ufffd" in text or not text else text
        return str(shown).replace("\n", "\\n")

    def probabilities(self, ids: Ints, positions: Ints) -> torch.Tensor:
        """Probabilities over the vocabulary of the token at some positions; float32 (positions, vocabulary)."""
        return self.engine.logprobs(ids, positions).exp()


def ask_row(model: ModelRequest, questions: Questions, split: str | None, row: int) -> Iterator[str]:
    """Asks one row of a split (None: the first) of a task; yields lines. Raises UserError if it does not exist."""
    jobs = {job.split: job for job in plan_jobs(questions)}
    if split is not None and split not in jobs:
        raise UserError(f"{questions.tasks[0]} has no split {split!r}. Its splits are {', '.join(jobs)}.")
    first = jobs[split] if split is not None else next(iter(jobs.values()))
    if row >= first.config.rows(first.split):
        raise UserError(f"{first.name} has {first.config.rows(first.split):,} rows. Use a smaller --row.")
    source = resolve(model)
    (job,) = apply_prompting([first], questions, source.tokenizer)
    rows = job.config.table(job.split, row, row + 1)
    try:
        plan = plan_rows(job, source, rows, questions.continuations)
    except CannotEncodeError as refusal:
        raise UserError(f"{refusal}{other_tasks(source, questions)}") from None
    loaded = _load(source)
    yield f"{title(source.facts)}, {job.name} row {row}, version {job.task.version}, {_prompt_form(job)}"
    yield from _answer(loaded, job, rows, plan)


def ask_freely(model: ModelRequest, question: str, prompts: PromptRequest) -> Iterator[str]:
    """Asks a question in free text; yields lines."""
    if not question.strip():
        raise UserError('the question is empty. Example: harness ask "How many r are in strawberry?"')
    source = resolve(model)
    prompting = resolve_prompting(prompts, source.tokenizer)
    text = question
    if prompting.chat:
        text = render(source.tokenizer, [{"role": "user", "content": question}], prompting)
    try:
        prompt = prompt_ids([text], prompting.chat, source.tokenizer, check=False)
    except CannotEncodeError as refusal:
        raise UserError(f"{refusal}. Use words in its vocabulary, or another --model.") from None
    plan = CompletionPlan(prompt, end_of_answer(prompting, source.tokenizer))
    limit = FREE_TOKENS + prompting.thinking
    if source.context is not None and len(plan.prompts[0]) + limit > source.context:
        raise UserError(f"the context of {source.name} is {source.context:,} tokens. Ask a shorter question.")
    loaded = _load(source)
    yield f"{title(source.facts)}, {'chat' if prompting.chat else 'plain text'}"
    yield from _prompt(loaded, plan.prompts[0])
    yield from _completion(loaded, plan, limit, None if prompting.chat else is_complete)[1]


def _load(source: ModelSource) -> LoadedModel:
    fetch_weights(source)
    return LoadedModel(source, Engine(load(source), source.tokenizer))


def _prompt_form(job: Job) -> str:
    if not isinstance(job.task, CompletionTask):
        return "plain text"
    shots = f", {job.prompting.shots} few-shot examples" if job.prompting.shots else ""
    return ("chat" if job.prompting.chat else "plain text") + shots


def _answer(model: LoadedModel, job: Job, rows: pa.Table, plan: Plan) -> Iterator[str]:
    """The lines of a plan of one row."""
    if isinstance(plan, ChoicePlan):
        yield from _choice(model, cast(ChoiceTask, job.task), rows, plan)
    elif isinstance(plan, ReadPlan):
        yield from _reads(model, cast(ReadTask, job.task), job, rows, plan)
    elif isinstance(plan, DialoguePlan):
        yield from _dialogue(model, cast(DialogueTask, job.task), job, rows, plan)
    else:
        task = cast(CompletionTask, job.task)
        yield from _prompt(model, plan.prompts[0])
        complete = None if job.prompting.chat else task.is_complete
        output, lines = _completion(model, plan, job.prompting.max_new_tokens(task), complete)
        yield from lines
        yield f"right answer: {task.answers(rows)[0]}"
        yield f"parsed answer: {_parsed(job, *output)}"


def _prompt(model: LoadedModel, ids: Ints) -> Iterator[str]:
    yield f"prompt, {len(ids):,} tokens:"
    yield "  " + model.tokens(ids)


def _parsed(job: Job, output: str, tokens: int) -> str:
    """The parsed answer of an output."""
    task = cast(NumberTask | HistogramTask, job.task)
    cut_off = tokens >= job.prompting.max_new_tokens(task)
    reading = task.read(*answer_part(task, output, cut_off, job.prompting))
    return reading.kind.replace("_", " ") if reading.value is None else str(reading.value)


def _completion(
    model: LoadedModel, plan: CompletionPlan, limit: int, complete: Any
) -> tuple[tuple[str, int], list[str]]:
    """The output with its number of tokens, and the lines with its tokens and their probabilities."""
    (completion,) = model.engine.completions(plan, limit, complete)
    ids, prompt = completion.ids[0], plan.prompts[0]
    lines = [f"output, {len(ids)} tokens:", "  " + model.tokens(ids)]
    if len(ids):
        text = np.concatenate([prompt, ids])
        lines += ["most probable tokens at each position, in percent:"]
        lines += _table(model, model.probabilities(text, np.arange(len(prompt), len(text))))
    return (completion.outputs[0], int(completion.tokens[0])), lines


def _table(model: LoadedModel, probabilities: torch.Tensor) -> list[str]:
    lines = []
    for line in probabilities:
        values, tokens = line.topk(min(TOP, len(line)))
        shown = [
            f"{model.token(token)!r} {100 * value:.1f}"
            for value, token in zip(values.tolist(), tokens.tolist(), strict=True)
        ]
        lines.append("  " + "   ".join(shown))
    return lines


def _dialogue(model: LoadedModel, task: DialogueTask, job: Job, rows: pa.Table, plan: DialoguePlan) -> Iterator[str]:
    yield from _prompt(model, plan.prompts[0])
    complete = None if job.prompting.chat else task.is_complete
    (dialogue,) = model.engine.dialogues(plan, job.prompting.max_new_tokens(task), complete)
    yield f"right answer: {task.answers(rows)[0]}; challenge after each answer: {task.challenge}"
    for turn, (output, tokens) in enumerate(zip(dialogue.outputs[0], dialogue.tokens[0].tolist(), strict=True)):
        yield f"  {turn:2}  parsed answer {_parsed(job, output, tokens)}: {' '.join(output.split())}"


def _reads(model: LoadedModel, task: ReadTask, job: Job, rows: pa.Table, plan: ReadPlan) -> Iterator[str]:
    """Every read of a row, with its position and the probabilities of the symbols."""
    targets, symbols = task.targets(rows), task.symbols(job.config)
    yield from _prompt(model, plan.sequences[0])
    (outputs,) = model.engine.reads(plan)
    logprobs, best = plan.answers(outputs.logprobs, outputs.argmax)
    yield f"{len(targets.row)} reads, each after the true text before it:"
    for read, target in enumerate(targets.target.tolist()):
        odds = "  ".join(
            f"{name} {100 * np.exp(logprob):.2f}%" for name, logprob in zip(symbols, logprobs[read], strict=True)
        )
        right = best[read] == plan.candidates[target]
        most = "" if right else f", most probable: {model.token(int(best[read]))!r}"
        position = f"position {targets.position[read]}, {targets.gap[read]} after its write"
        yield f"  {position}: {symbols[target]} is right; {odds}  {'right' if right else 'WRONG' + most}"


def _choice(model: LoadedModel, task: ChoiceTask, rows: pa.Table, plan: ChoicePlan) -> Iterator[str]:
    """The most probable candidates, and the right candidate."""
    logprobs = np.full(plan.wanted.shape, np.nan, dtype=np.float32)
    argmax = np.full(len(plan.at), -1, dtype=np.int64)
    for outputs in model.engine.reads(plan):
        logprobs[outputs.points], argmax[outputs.points] = outputs.logprobs, outputs.argmax
    candidate_logprobs, written = plan.choices(logprobs, argmax)
    (candidates,), target = task.candidates(rows), int(task.target(rows)[0])
    text = task.texts(rows)[0]
    yield from _prompt(model, prompt_ids([text], False, model.source.tokenizer)[0])
    order = np.argsort(-candidate_logprobs, kind="stable")
    rank = int((candidate_logprobs >= candidate_logprobs[target]).sum())
    normalized = np.exp(candidate_logprobs - np.logaddexp.reduce(candidate_logprobs.astype(np.float64)))
    yield f"{len(candidates)} candidates, with probability in percent among the candidates, and among all texts:"
    for index in dict.fromkeys([*order[:TOP].tolist(), target]):
        mark = f"   right, rank {rank}" if index == target else ""
        shares = f"{100 * normalized[index]:6.2f}  {100 * np.exp(candidate_logprobs[index]):6.2f}"
        yield f"  {candidates[index].strip():24} {shares}{mark}"
    greedy = candidates[int(written[0])].strip() if written[0] >= 0 else "none of the candidates"
    yield f"greedy decoding: {greedy}"
