"""From rows to prompts: demonstrations, question, and how an answer is challenged, as texts, messages and tokens."""

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
from harness.prompts.few_shot import demonstrations
from harness.prompts.framing import framed
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting, render, template_of
from harness.tasks.base import CompletionTask, DialogueTask

BETWEEN = "\n\n"  # demonstrations of a plain text


def messages(job: Job, rows: pa.Table) -> list[list[Message]]:
    """What is said to a chat model, by row."""
    task = _asked(job)
    shown: list[Message] = []
    for question, answer in _shown(job):
        shown += [
            {"role": "user", "content": task.wording.chat(question)},
            {"role": "assistant", "content": answer},
        ]
    return [[*shown, {"role": "user", "content": task.wording.chat(question)}] for question in task.texts(rows)]


def plain_texts(job: Job, rows: pa.Table) -> list[str]:
    """What a base model goes on with, by row."""
    wording = _asked(job).wording
    shown = "".join(f"{wording.plain(question)} {answer}{BETWEEN}" for question, answer in _shown(job))
    return [shown + wording.plain(question) for question in _asked(job).texts(rows)]


def prompt_texts(job: Job, rows: pa.Table, tokenizer: Any) -> list[str]:
    """Prompts as the model's tokenizer gets them."""
    if not job.prompting.chat:
        return plain_texts(job, rows)
    return chat_texts(job, rows, template_of(tokenizer))


def chat_texts(job: Job, rows: pa.Table, template: ChatTemplate) -> list[str]:
    """Prompts as a chat template writes them. Raises UserError for one that does more than to frame what is said,
    in the first turn or the one after it."""
    said = messages(job, rows)
    texts = framed(template, said, job.prompting)
    if job.prompting.turns > 1:
        framed(template, _second_turns(job, said), job.prompting)
    return texts


def prompt_ids(texts: Sequence[str], chat: bool, tokenizer: Any, *, check: bool = True) -> list[Ints]:
    """Prompts as token ids. A chat template brings its special tokens itself; a plain text gets those that the
    tokenizer adds by default, but for the ones that end a text. asked: as for `harness.models.tokens.encode`."""
    if chat:
        return [tokens.ids for tokens in encode(tokenizer, texts, special=False, check=check)]
    return [tokens.prompt for tokens in encode(tokenizer, texts, check=check)]


@dataclass(frozen=True)
class Exchange:
    """A dialogue's way on: the prompt after an answer.

    bridge: the tokens between an answer and the next one, None where the template writes earlier answers otherwise
    than they were said, so that each prompt is written anew.
    """

    job: Job
    tokenizer: Any
    messages: list[list[Message]]
    prompts: list[Ints]
    bridge: Ints | None

    def following(self, row: int, said: Sequence[tuple[Ints, str]]) -> Ints:
        """The tokens of the next prompt of a row after its answers so far, each as tokens and as text."""
        task = _asked(self.job)
        if self.bridge is None:
            told = list(self.messages[row])
            for _, text in said:
                put = self.job.prompting
                told += _turn(self._fitting(thinking.after_thinking(text, put.opened, put.marks) or ""), task)
            texts = framed(template_of(self.tokenizer), [told], self.job.prompting, demanded=False)
            return prompt_ids(texts, True, self.tokenizer, check=False)[0]
        whole = [self.prompts[row]]
        for tokens, text in said:
            # The token that ends a base model's line is not part of its answer.
            ends = not self.job.prompting.chat and task.is_complete(text)
            whole += [tokens[: len(tokens) - ends], self.bridge]
        return np.concatenate(whole)

    def _fitting(self, answer: str) -> str:
        """An answer as it is told again: written anew, broken characters may take more tokens than they were."""
        most = self.job.prompting.max_new_tokens(_asked(self.job))
        while len(ids := encode(self.tokenizer, [answer], special=False, check=False)[0].ids) > most:
            answer = answer[: len(answer) * most // len(ids)]
        return answer

    @property
    def longest(self) -> Ints:
        """How many tokens each row may come to, in all its turns."""
        between = len(self.bridge) if self.bridge is not None else self._between()
        answer = self.job.prompting.max_new_tokens(_asked(self.job))
        turns = self.job.prompting.turns
        return np.array([len(prompt) + turns * answer + (turns - 1) * between for prompt in self.prompts], np.int64)

    def _between(self) -> int:
        """What one more exchange adds, its answer left out."""
        empty = np.zeros(0, dtype=np.int64)
        lengths = [len(self.following(0, [(empty, "")] * turns)) for turns in (1, 2)]
        return max(lengths[1] - lengths[0], 0)


def exchange(job: Job, rows: pa.Table, prompts: list[Ints], tokenizer: Any) -> Exchange:
    """The way on for a job of dialogues."""
    if job.prompting.chat:
        said = messages(job, rows)
        _require_earlier_turns(job, said[0], tokenizer)
        bridge = _chat_bridge(job, said[0], tokenizer)
        if bridge is None and job.prompting.turns > 1:  # what is asked later is encoded anew: its tokens are tried here
            prompt_ids(framed(template_of(tokenizer), _second_turns(job, said), job.prompting), True, tokenizer)
        return Exchange(job, tokenizer, said, prompts, bridge)
    task = _asked(job)
    bridge = _same_tokens(
        [(f"{plain_texts(job, rows)[0]} {answer}", task.wording.again(task.challenge)) for answer in ("3", "12")],
        False,
        tokenizer,
    )
    if bridge is None:  # a tokenizer that writes over the seam
        bridge = encode(tokenizer, [task.wording.again(task.challenge)], special=False)[0].ids
    return Exchange(job, tokenizer, [], prompts, bridge)


def _require_earlier_turns(job: Job, said: list[Message], tokenizer: Any) -> None:
    """Raises UserError for a template that writes the last message alone."""
    text = render(tokenizer, [*said, *_turn("fflm-1", _asked(job))], job.prompting)
    if "fflm-1" not in text or said[-1]["content"].strip() not in text:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} leaves out earlier turns, so that no dialogue is possible: "
            "add --chat off"
        )


def end_of_answer(prompting: Prompting, tokenizer: Any) -> frozenset[int]:
    """The special token with which a chat template ends an answer, whatever the model's files name as its ends.

    Not one that also stands between thinking and answer, as a message's end does where thinking is a message.
    """
    if not prompting.chat:
        return frozenset()
    thought = dict.fromkeys(("thinking", "reasoning", "reasoning_content"), "fflm-1")
    question: Message = {"role": "user", "content": "fflm-3"}
    answered: list[Message] = [question, {"role": "assistant", "content": "fflm-2"}]
    _, shown, after = render(tokenizer, [*answered, question], prompting).rpartition("fflm-2")
    try:
        with_thinking = render(tokenizer, [question, answered[1] | thought], prompting)
    except UserError:  # a template that wants a question last
        with_thinking = ""
    between = with_thinking.rpartition("fflm-2")[0].partition("fflm-1")[2]
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = prompt_ids([after.lstrip()], True, tokenizer)[0].tolist() if shown and after.strip() else []
    if not ids or (first := int(ids[0])) not in special:
        return frozenset()
    if special[first] in between or (not between and thinking.in_messages(special.values())):
        return frozenset()
    return frozenset({first})


def _chat_bridge(job: Job, said: list[Message], tokenizer: Any) -> Ints | None:
    """What the template writes between an answer and the next, if it writes answers as they were said."""
    seams = []
    for answer in ("3", "There are 12 of them."):
        both = [said, [*said, *_turn(answer, _asked(job))]]
        before, whole = framed(template_of(tokenizer), both, job.prompting, demanded=False)
        before += answer
        if job.prompting.thinking or not whole.startswith(before):
            return None
        seams.append((before, whole[len(before) :]))
    return _same_tokens(seams, True, tokenizer)


def _same_tokens(seams: list[tuple[str, str]], chat: bool, tokenizer: Any) -> Ints | None:
    """The tokens of what follows, if they are the same ones after either text, and leave that as it is."""
    found: list[Ints] = []
    for before, after in seams:
        head, whole = prompt_ids([before, before + after], chat, tokenizer)
        if not np.array_equal(whole[: len(head)], head):
            return None
        found.append(whole[len(head) :])
    return found[0] if all(np.array_equal(one, found[0]) for one in found) else None


def _turn(answer: str, task: CompletionTask) -> list[Message]:
    challenge = task.challenge if isinstance(task, DialogueTask) else "?"
    return [{"role": "assistant", "content": answer.strip()}, {"role": "user", "content": challenge}]


def _second_turns(job: Job, said: list[list[Message]]) -> list[list[Message]]:
    """What is said up to the second question, if the answer to the first was a number."""
    return [[*one, *_turn("3", _asked(job))] for one in said]


def _shown(job: Job) -> list[tuple[str, str]]:
    """Demonstrations: questions and their answers."""
    task = _asked(job)
    if not job.prompting.shots:
        return []
    rows = demonstrations(task, job.config, job.split, job.prompting.shots)
    return list(zip(task.texts(rows), task.answers(rows), strict=True))


def _asked(job: Job) -> Any:
    return job.task
