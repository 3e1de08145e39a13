"""Prompting: plain text or chat template, few-shot examples, system prompt, thinking.

The options of the command line become one `Prompting` per task. It is stored in run.json and, with the rows, decides
every token of a prompt.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import takewhile
from typing import Any

from harness.errors import UserError
from harness.prompts import thinking
from harness.prompts.chat_template import ChatTemplate, Message, TemplateFault, render_conversations, template_hash
from harness.prompts.template_date import CLOCK, TODAY
from harness.tasks.base import CompletionTask, DialogueTask

CHAT = ("auto", "on", "off")
MAX_SHOTS = 64
# A template-specific thinking tag: a word between punctuation characters.
_MARK = re.compile(r"[^\w\s]\S{1,62}[^\w\s]")


@dataclass(frozen=True)
class PromptRequest:
    """The prompting options of the command line.

    thinking: token budget, 0 for none, None for the template's default. challenges: per dialogue, None for the task's
    default.
    """

    chat: str = "auto"
    shots: int = 0
    system: str | None = None
    thinking: int | None = None
    challenges: int | None = None


@dataclass(frozen=True)
class Prompting:
    """How one task is prompted on one model.

    template: SHA-256 of the chat template, None for plain text. switch: the template variable that turns thinking on.
    thinking: token budget before the answer. opened: whether the prompt already opens the thinking. turns: answers per
    row, 1 except for dialogues. marks: opening and closing tag of thinking, if the template has its own.
    """

    template: str | None = None
    shots: int = 0
    system: str | None = None
    switch: str | None = None
    thinking: int = 0
    opened: bool = False
    turns: int = 1
    marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises TypeError for values that run.json cannot have."""
        object.__setattr__(self, "marks", tuple(self.marks))  # a list if read from run.json
        texts = (self.template, self.system, self.switch, *self.marks)
        counts = ((self.shots, 0), (self.thinking, 0), (self.turns, 1))
        valid = all(text is None or isinstance(text, str) for text in texts) and isinstance(self.opened, bool)
        valid = valid and len(self.marks) in (0, 2) and "" not in self.marks
        if not valid or any(type(count) is not int or count < least for count, least in counts):
            raise TypeError(f"invalid prompting: {self}")

    @property
    def chat(self) -> bool:
        """Whether the chat template is used."""
        return self.template is not None

    def max_new_tokens(self, task: CompletionTask) -> int:
        """The token limit of an output, including thinking."""
        return task.max_new_tokens(self.chat) + self.thinking

    def facts(self) -> dict[str, Any]:
        """The prompting as stored in run.json; marks only if there are any, as in runs before marks were added."""
        facts = asdict(self)
        marks = facts.pop("marks")
        return facts | ({"marks": list(marks)} if marks else {})

    def of(self, task: CompletionTask, challenges: int | None) -> "Prompting":
        """The same prompting with the number of turns of a task."""
        if not isinstance(task, DialogueTask):
            return self
        return replace(self, turns=1 + (task.challenges if challenges is None else challenges))


def resolve_prompting(request: PromptRequest, tokenizer: Any) -> Prompting:
    """The prompting of a request for a tokenizer. Raises UserError if its chat template does not support it."""
    template = chat_template(tokenizer)
    if request.chat == "on" and template is None:
        raise UserError(f"the tokenizer of {tokenizer.name_or_path} has no chat template: remove --chat on")
    if template is None or request.chat == "off":
        for flag, value in (("--system", request.system), ("--thinking", request.thinking)):
            if value:
                cause = "--chat is off" if template else f"{tokenizer.name_or_path} has none"
                raise UserError(f"{flag} needs a chat template, and {cause}: remove {flag}")
        return Prompting(shots=request.shots)
    plain = Prompting(template_hash(template), request.shots, request.system)
    question = [_user("?")]
    switch = next((name for name in thinking.SWITCHES if _switches(tokenizer, name, question, plain)), None)
    marks = template_marks(tokenizer)
    always = switch is None and (bool(marks) or thinking.closes_in(template))
    budget = request.thinking
    if budget and not (switch or always):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} does not support thinking: remove --thinking {budget}"
        )
    if budget is None:
        budget = thinking.BUDGET if always else 0
    resolved = replace(plain, switch=switch, thinking=budget, marks=marks)
    _require_complete(tokenizer, resolved)
    # Text before the question, such as a system prompt, does not open thinking.
    after = render(tokenizer, [_user("fflm-3")], replace(resolved, system=None)).rpartition("fflm-3")[2]
    return replace(resolved, opened=thinking.is_open(after, marks))


def _require_complete(tokenizer: Any, prompting: Prompting) -> None:
    """Raises UserError if the template drops the question, the few-shot examples or the system prompt."""
    example: list[Message] = [{"role": "user", "content": "fflm-1"}, {"role": "assistant", "content": "fflm-2"}]
    text = render(tokenizer, [*(example if prompting.shots else []), _user("fflm-3")], prompting)
    for missing, part, advice in (
        ("fflm-3" not in text, "the question", "add --chat off"),
        (prompting.shots and not ("fflm-1" in text and "fflm-2" in text), "few-shot examples", "remove --shots"),
        (prompting.system and prompting.system.strip() not in text, "the system prompt", "remove --system"),
    ):
        if missing:
            raise UserError(f"the chat template of {tokenizer.name_or_path} drops {part}: {advice}")


def chat_template(tokenizer: Any) -> str | None:
    """The text of a tokenizer's chat template, None if it has none. Raises UserError for unpaired surrogates."""
    try:
        template = str(tokenizer.get_chat_template())
    except (ValueError, AttributeError):  # none, or several without a default
        return None
    if any("\ud800" <= character <= "\udfff" for character in template):
        raise UserError(f"the chat template of {tokenizer.name_or_path} has unpaired surrogates: save it again")
    return template


def template_of(tokenizer: Any) -> ChatTemplate:
    """The chat template of a tokenizer that has one, with its special tokens."""
    return ChatTemplate(str(chat_template(tokenizer)), tokenizer.name_or_path, tokenizer.special_tokens_map)


def template_marks(tokenizer: Any) -> tuple[str, ...]:
    """The opening and closing tag of thinking in a tokenizer's chat template; empty if it has none, or known ones."""
    template = chat_template(tokenizer)
    if template is None:
        return ()
    try:
        opening = render(tokenizer, [_user("fflm-3")], Prompting()).rpartition("fflm-3")[2]
        marks = _written_marks(tokenizer, opening) or _dropped_marks(tokenizer, template, opening)
    except UserError:  # a template that requires other messages
        return ()
    known = all(thinking.is_known(mark) for mark in marks)
    return () if known or not all(_MARK.fullmatch(mark) for mark in marks) else marks


def _written_marks(tokenizer: Any, opening: str) -> tuple[str, ...]:
    """The tags that a template writes around the thinking of a message. opening: its text before an answer."""
    answer = {"role": "assistant", "content": "fflm-2"}
    with_thinking = answer | dict.fromkeys(("thinking", "reasoning", "reasoning_content"), "fflm-1")
    text = render(tokenizer, [_user("fflm-3"), with_thinking], Prompting()).rpartition("fflm-3")[2]
    before, thinking_text, after = text.partition("fflm-1")
    between, answer_text, _ = after.partition("fflm-2")
    if not (thinking_text and answer_text and between.strip()):
        return ()
    # The text that starts every answer is not a tag.
    common = takewhile(lambda pair: pair[0] == pair[1], zip(before, opening, strict=False))
    words = before[len(list(common)) :].split() or _last_word(tokenizer, opening)
    return (words[-1], between.split()[0]) if words else ()


def _dropped_marks(tokenizer: Any, template: str, opening: str) -> tuple[str, ...]:
    """The closing tag up to which a template drops the text of earlier answers, with its opening tag."""
    for close in dict.fromkeys(re.findall(r"split\(\s*['\"](\S{3,64}?)['\"]", template)):
        answer = {"role": "assistant", "content": f"fflm-1{close}fflm-2"}
        text = render(tokenizer, [_user("fflm-3"), answer, _user("fflm-4")], Prompting())
        if "fflm-2" in text and "fflm-1" not in text:
            words = [close.replace("/", "", 1)] if "/" in close else _last_word(tokenizer, opening)
            return (words[-1], close) if words else ()
    return ()


def _last_word(tokenizer: Any, opening: str) -> list[str]:
    """The last word that a template writes before an answer, unless it also precedes earlier answers."""
    text = render(tokenizer, [_user("fflm-3"), {"role": "assistant", "content": "fflm-2"}], Prompting())
    word = opening.split()[-1:]
    return [] if word and word[0] in text.rpartition("fflm-3")[2].partition("fflm-2")[0] else word


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _switches(tokenizer: Any, name: str, messages: list[Message], plain: Prompting) -> bool:
    """Whether a template variable changes the rendered text."""
    return len({render(tokenizer, messages, replace(plain, switch=name, thinking=budget)) for budget in (0, 1)}) > 1


def render(tokenizer: Any, messages: list[Message], prompting: Prompting) -> str:
    """A conversation rendered by the chat template, up to where the model's answer begins.

    Raises UserError if the template fails.
    """
    return render_all(template_of(tokenizer), [messages], prompting)[0]


def render_all(template: ChatTemplate, conversations: Sequence[list[Message]], prompting: Prompting) -> list[str]:
    """Several conversations rendered by a chat template; see `render`."""
    if prompting.system is not None:
        system: Message = {"role": "system", "content": prompting.system}
        conversations = [[system, *messages] for messages in conversations]
    switched = {prompting.switch: prompting.thinking > 0} if prompting.switch else {}
    with_clock = replace(template, text=CLOCK + template.text)
    contents: Sequence[Sequence[Any]] = conversations
    if _requires_parts(with_clock.text, with_clock.facts("")["special_tokens"]):
        contents = _in_parts(conversations)
    try:
        return render_conversations(with_clock, contents, date_string=TODAY, **switched)
    except TemplateFault as fault:
        advice = "remove --system" if prompting.system is not None else "add --chat off"
        raise UserError(f"the chat template of {template.model} fails ({fault}): {advice}") from None


def _requires_parts(text: str, special: Mapping[str, Any]) -> bool:
    """Whether a template accepts contents only as a list of parts, like those of some image-text models."""
    return _parts_only(text, json.dumps(special, sort_keys=True))


@cache
def _parts_only(text: str, special: str) -> bool:
    template, trial = ChatTemplate(text, "", json.loads(special)), [[_user("fflm-3")]]

    def renders(conversations: Sequence[Sequence[Any]]) -> bool:
        try:
            return "fflm-3" in render_conversations(template, conversations, date_string=TODAY)[0]
        except TemplateFault:
            return False

    return not renders(trial) and renders(_in_parts(trial))


def _in_parts(conversations: Sequence[list[Message]]) -> list[list[dict[str, Any]]]:
    return [
        [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
        for messages in conversations
    ]


def answer_part(task: CompletionTask, output: str, cut_off: bool, prompting: Prompting) -> tuple[str, bool]:
    """The part of an output that contains the answer, and whether it was cut off.

    A chat model ends its answer itself. A base model continues with further text, so that only the part that completes
    the answer counts.
    """
    if not prompting.chat:
        return task.complete_part(output), cut_off and not task.is_complete(output)
    text = thinking.after_thinking(output, prompting.opened, prompting.marks)
    return ("", True) if text is None else (text, cut_off)
