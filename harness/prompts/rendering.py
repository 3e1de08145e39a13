"""Renders rows to prompts: messages or plain text with few-shot examples, token ids, the next turn of a dialogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Ints
from harness.errors import UserError
from harness.models.tokens import encode
from harness.prompts import thinking
from harness.prompts.chat_template import ChatTemplate, Message
from harness.prompts.few_shot import few_shot_examples
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting, render, template_of
from harness.prompts.template_check import render_framed
from harness.tasks.base import CompletionTask, DialogueTask

SEPARATOR = "\n\n"  # between few-shot examples in plain text


def messages(job: Job, rows: pa.Table) -> list[list[Message]]:
    """The messages to a chat model, by row."""
    task = _task(job)
    examples: list[Message] = []
    for question, answer in _few_shot(job):
        examples += [
            {"role": "user", "content": task.wording.chat(question)},
            {"role": "assistant", "content": answer},
        ]
    return [[*examples, {"role": "user", "content": task.wording.chat(question)}] for question in task.texts(rows)]


def plain_texts(job: Job, rows: pa.Table) -> list[str]:
    """The text that a base model continues, by row."""
    wording = _task(job).wording
    examples = "".join(f"{wording.plain(question)} {answer}{SEPARATOR}" for question, answer in _few_shot(job))
    return [examples + wording.plain(question) for question in _task(job).texts(rows)]


def prompt_texts(job: Job, rows: pa.Table, tokenizer: Any) -> list[str]:
    """Prompts as text, with the chat template if it is used."""
    if not job.prompting.chat:
        return plain_texts(job, rows)
    return chat_texts(job, rows, template_of(tokenizer))


def chat_texts(job: Job, rows: pa.Table, template: ChatTemplate) -> list[str]:
    """Prompts rendered by a chat template.

    Raises UserError if the template does more than frame messages, in the first or the second turn.
    """
    conversations = messages(job, rows)
    texts = render_framed(template, conversations, job.prompting)
    if job.prompting.turns > 1:
        render_framed(template, _second_turns(job, conversations), job.prompting)
    return texts


def prompt_ids(texts: Sequence[str], chat: bool, tokenizer: Any, *, check: bool = True) -> list[Ints]:
    """Prompts as token ids, int64 each.

    A chat template writes its special tokens itself. Plain text gets the default ones, except trailing ones.
    check: whether the tokens must reproduce the text, as in `harness.models.tokens.encode`.
    """
    if chat:
        return [tokens.ids for tokens in encode(tokenizer, texts, special=False, check=check)]
    return [tokens.prompt for tokens in encode(tokenizer, texts, check=check)]


@dataclass(frozen=True)
class Exchange:
    """Computes the next prompt of a dialogue from its answers.

    bridge: the tokens between an answer and the next one; None if the template changes earlier answers, so that each
    prompt is rendered again.
    """

    job: Job
    tokenizer: Any
    messages: list[list[Message]]
    prompts: list[Ints]
    bridge: Ints | None

    def following(self, row: int, answers: Sequence[tuple[Ints, str]]) -> Ints:
        """The token ids of a row's next prompt. answers: its answers so far, each as token ids and as text."""
        task = _task(self.job)
        prompting = self.job.prompting
        if self.bridge is None:
            conversation = list(self.messages[row])
            for _, text in answers:
                answer = thinking.after_thinking(text, prompting.opened, prompting.marks) or ""
                conversation += _turn(self._shortened(answer), task)
            texts = render_framed(template_of(self.tokenizer), [conversation], prompting, check=False)
            return prompt_ids(texts, True, self.tokenizer, check=False)[0]
        parts = [self.prompts[row]]
        for tokens, text in answers:
            # The token that ends a base model's line is not part of its answer.
            ends = not prompting.chat and task.is_complete(text)
            parts += [tokens[: len(tokens) - ends], self.bridge]
        return np.concatenate(parts)

    def _shortened(self, answer: str) -> str:
        """An answer within the token limit: encoded again, invalid characters may take more tokens than generated."""
        limit = self.job.prompting.max_new_tokens(_task(self.job))
        while len(ids := encode(self.tokenizer, [answer], special=False, check=False)[0].ids) > limit:
            answer = answer[: len(answer) * limit // len(ids)]
        return answer

    @property
    def longest(self) -> Ints:
        """The maximum number of tokens of each row over all turns, int64 (rows,)."""
        between = len(self.bridge) if self.bridge is not None else self._between()
        answer = self.job.prompting.max_new_tokens(_task(self.job))
        turns = self.job.prompting.turns
        return np.array([len(prompt) + turns * answer + (turns - 1) * between for prompt in self.prompts], np.int64)

    def _between(self) -> int:
        """The number of tokens that another turn adds, without its answer."""
        empty = np.zeros(0, dtype=np.int64)
        lengths = [len(self.following(0, [(empty, "")] * turns)) for turns in (1, 2)]
        return max(lengths[1] - lengths[0], 0)


def exchange(job: Job, rows: pa.Table, prompts: list[Ints], tokenizer: Any) -> Exchange:
    """The exchange of a dialogue job."""
    if job.prompting.chat:
        conversations = messages(job, rows)
        _require_earlier_turns(job, conversations[0], tokenizer)
        bridge = _chat_bridge(job, conversations[0], tokenizer)
        if bridge is None and job.prompting.turns > 1:  # later turns are encoded again: check that they can be
            texts = render_framed(template_of(tokenizer), _second_turns(job, conversations), job.prompting)
            prompt_ids(texts, True, tokenizer)
        return Exchange(job, tokenizer, conversations, prompts, bridge)
    task = _task(job)
    bridge = _same_tokens(
        [(f"{plain_texts(job, rows)[0]} {answer}", task.wording.again(task.challenge)) for answer in ("3", "12")],
        False,
        tokenizer,
    )
    if bridge is None:  # a token spans the boundary
        bridge = encode(tokenizer, [task.wording.again(task.challenge)], special=False)[0].ids
    return Exchange(job, tokenizer, [], prompts, bridge)


def _require_earlier_turns(job: Job, conversation: list[Message], tokenizer: Any) -> None:
    """Raises UserError for a template that drops earlier turns."""
    text = render(tokenizer, [*conversation, *_turn("fflm-1", _task(job))], job.prompting)
    if "fflm-1" not in text or conversation[-1]["content"].strip() not in text:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} drops earlier turns, which dialogues need: add --chat off"
        )


def end_of_answer(prompting: Prompting, tokenizer: Any) -> frozenset[int]:
    """The special token that ends an answer in the chat template, in addition to the model's end-of-sequence tokens.

    Empty if that token also separates thinking from the answer, as where thinking is a message of its own.
    """
    if not prompting.chat:
        return frozenset()
    reasoning = dict.fromkeys(("thinking", "reasoning", "reasoning_content"), "fflm-1")
    question: Message = {"role": "user", "content": "fflm-3"}
    answer: Message = {"role": "assistant", "content": "fflm-2"}
    _, rendered, after = render(tokenizer, [question, answer, question], prompting).rpartition("fflm-2")
    try:
        with_thinking = render(tokenizer, [question, answer | reasoning], prompting)
    except UserError:  # a template that requires a question last
        with_thinking = ""
    between = with_thinking.rpartition("fflm-2")[0].partition("fflm-1")[2]
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = prompt_ids([after.lstrip()], True, tokenizer)[0].tolist() if rendered and after.strip() else []
    if not ids or (first := int(ids[0])) not in special:
        return frozenset()
    if special[first] in between or (not between and thinking.in_messages(special.values())):
        return frozenset()
    return frozenset({first})


def _chat_bridge(job: Job, conversation: list[Message], tokenizer: Any) -> Ints | None:
    """The tokens between an answer and the next, None if the template changes earlier answers."""
    boundaries = []
    for answer in ("3", "There are 12 of them."):
        both = [conversation, [*conversation, *_turn(answer, _task(job))]]
        before, text = render_framed(template_of(tokenizer), both, job.prompting, check=False)
        before += answer
        if job.prompting.thinking or not text.startswith(before):
            return None
        boundaries.append((before, text[len(before) :]))
    return _same_tokens(boundaries, True, tokenizer)


def _same_tokens(boundaries: list[tuple[str, str]], chat: bool, tokenizer: Any) -> Ints | None:
    """The tokens of the second texts, if they are equal after each first text and do not change its tokens."""
    continuations: list[Ints] = []
    for before, after in boundaries:
        prefix, tokens = prompt_ids([before, before + after], chat, tokenizer)
        if not np.array_equal(tokens[: len(prefix)], prefix):
            return None
        continuations.append(tokens[len(prefix) :])
    first = continuations[0]
    return first if all(np.array_equal(tokens, first) for tokens in continuations) else None


def _turn(answer: str, task: CompletionTask) -> list[Message]:
    challenge = task.challenge if isinstance(task, DialogueTask) else "?"
    return [{"role": "assistant", "content": answer.strip()}, {"role": "user", "content": challenge}]


def _second_turns(job: Job, conversations: list[list[Message]]) -> list[list[Message]]:
    """The conversations up to the second question, with a number as first answer."""
    return [[*conversation, *_turn("3", _task(job))] for conversation in conversations]


def _few_shot(job: Job) -> list[tuple[str, str]]:
    """The few-shot examples: questions and their answers."""
    task = _task(job)
    if not job.prompting.shots:
        return []
    rows = few_shot_examples(task, job.config, job.split, job.prompting.shots)
    return list(zip(task.texts(rows), task.answers(rows), strict=True))


def _task(job: Job) -> Any:
    return job.task
