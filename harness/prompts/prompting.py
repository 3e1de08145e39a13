"""How questions are put to a model: as a text or through its chat template, with how many demonstrations.

What is asked for on the command line becomes one Prompting a task, which stands in run.json and decides,
with the rows, every token of a prompt.
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
from harness.prompts.clock import CLOCK, TODAY
from harness.tasks.base import CompletionTask, DialogueTask

CHAT = ("auto", "on", "off")
MOST_SHOTS = 64
# A mark that a template has of its own: a word between signs.
_MARK = re.compile(r"[^\w\s]\S{1,62}[^\w\s]")


@dataclass(frozen=True)
class PromptRequest:
    """What was asked for. thinking: a token budget, 0 for none, None for what the template does unasked. challenges:
    how many a dialogue has, None for what its task says."""

    chat: str = "auto"
    shots: int = 0
    system: str | None = None
    thinking: int | None = None
    challenges: int | None = None


@dataclass(frozen=True)
class Prompting:
    """How one task is put to one model.

    template: SHA-256 of the chat template, None for a plain text. switch: the name under which the
    template takes whether to think. thinking: tokens that may go before the answer. opened: whether a
    prompt ends within the thinking. turns: answers a row, 1 but for dialogues. marks: what opens a thought
    and what closes it, where the template has marks of its own.
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
        """Raises TypeError for what no run.json of ours says."""
        object.__setattr__(self, "marks", tuple(self.marks))  # a list, where it comes from a file
        texts = (self.template, self.system, self.switch, *self.marks)
        counts = ((self.shots, 0), (self.thinking, 0), (self.turns, 1))
        right = all(one is None or isinstance(one, str) for one in texts) and isinstance(self.opened, bool)
        right = right and len(self.marks) in (0, 2) and "" not in self.marks
        if not right or any(type(count) is not int or count < least for count, least in counts):
            raise TypeError(f"no way to put questions: {self}")

    @property
    def chat(self) -> bool:
        """Whether questions go through the chat template."""
        return self.template is not None

    def max_new_tokens(self, task: CompletionTask) -> int:
        """How many tokens an answer may take, its thinking included."""
        return task.max_new_tokens(self.chat) + self.thinking

    def facts(self) -> dict[str, Any]:
        """As run.json has it: marks only where there are some, as runs before there were any have none."""
        said = asdict(self)
        marks = said.pop("marks")
        return said | ({"marks": list(marks)} if marks else {})

    def of(self, task: CompletionTask, challenges: int | None) -> "Prompting":
        """The same for one task."""
        if not isinstance(task, DialogueTask):
            return self
        return replace(self, turns=1 + (task.challenges if challenges is None else challenges))


def resolve_prompting(request: PromptRequest, tokenizer: Any) -> Prompting:
    """What the request comes to with this tokenizer. Raises UserError if its template does not allow it."""
    template = chat_template(tokenizer)
    if request.chat == "on" and template is None:
        raise UserError(f"the tokenizer of {tokenizer.name_or_path} has no chat template: leave out --chat on")
    if template is None or request.chat == "off":
        for flag, given in (("--system", request.system), ("--thinking", request.thinking)):
            if given:
                why = "--chat off was asked" if template else f"{tokenizer.name_or_path} has no chat template"
                raise UserError(f"{flag} is said through a chat template, and {why}: leave it out")
        return Prompting(shots=request.shots)
    plain = Prompting(template_hash(template), request.shots, request.system)
    question = [_user("?")]
    switch = next((name for name in thinking.SWITCHES if _switches(tokenizer, name, question, plain)), None)
    marks = template_marks(tokenizer)
    always = switch is None and (bool(marks) or thinking.closes_in(template))
    budget = request.thinking
    if budget and not (switch or always):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} knows of no thinking: leave out --thinking {budget}"
        )
    if budget is None:
        budget = thinking.BUDGET if always else 0
    resolved = replace(plain, switch=switch, thinking=budget, marks=marks)
    _require_all_said(tokenizer, resolved)
    # What stands before the question, as a system prompt does, opens no thought.
    after = render(tokenizer, [_user("fflm-3")], replace(resolved, system=None)).rpartition("fflm-3")[2]
    return replace(resolved, opened=thinking.is_open(after, marks))


def _require_all_said(tokenizer: Any, prompting: Prompting) -> None:
    """Raises UserError if the template leaves out a part of what it is given."""
    shown: list[Message] = [{"role": "user", "content": "fflm-1"}, {"role": "assistant", "content": "fflm-2"}]
    text = render(tokenizer, [*shown * bool(prompting.shots), {"role": "user", "content": "fflm-3"}], prompting)
    for missing, what, advice in (
        ("fflm-3" not in text, "the question", "add --chat off"),
        (prompting.shots and not ("fflm-1" in text and "fflm-2" in text), "demonstrations", "leave out --shots"),
        (prompting.system and prompting.system.strip() not in text, "the system prompt", "leave out --system"),
    ):
        if missing:
            raise UserError(f"the chat template of {tokenizer.name_or_path} leaves out {what}: {advice}")


def chat_template(tokenizer: Any) -> str | None:
    """The chat template of a tokenizer, None if it has none. Raises UserError for one that is no text."""
    try:
        template = str(tokenizer.get_chat_template())
    except (ValueError, AttributeError):  # none, or several without a default one
        return None
    if any("\ud800" <= sign <= "\udfff" for sign in template):
        raise UserError(f"the chat template of {tokenizer.name_or_path} has halves of characters in it: save it anew")
    return template


def template_of(tokenizer: Any) -> ChatTemplate:
    """The chat template of a tokenizer that has one, with what it is given beside messages."""
    return ChatTemplate(str(chat_template(tokenizer)), tokenizer.name_or_path, tokenizer.special_tokens_map)


def template_marks(tokenizer: Any) -> tuple[str, ...]:
    """What opens a thought and what closes it by a tokenizer's chat template; none if it has none, or such as are known
    by their form."""
    template = chat_template(tokenizer)
    if template is None:
        return ()
    try:
        begins = render(tokenizer, [_user("fflm-3")], Prompting()).rpartition("fflm-3")[2]
        marks = _written_marks(tokenizer, begins) or _dropped_marks(tokenizer, template, begins)
    except UserError:  # a template that wants other messages
        return ()
    known = all(thinking.is_known(mark) for mark in marks)
    return () if known or not all(_MARK.fullmatch(mark) for mark in marks) else marks


def _written_marks(tokenizer: Any, begins: str) -> tuple[str, ...]:
    """The marks that a template writes around a thought that it is given. begins: what it writes before an answer."""
    answer = {"role": "assistant", "content": "fflm-2"}
    thought = answer | dict.fromkeys(("thinking", "reasoning", "reasoning_content"), "fflm-1")
    whole = render(tokenizer, [_user("fflm-3"), thought], Prompting()).rpartition("fflm-3")[2]
    before, shown, after = whole.partition("fflm-1")
    between, answered, _ = after.partition("fflm-2")
    if not (shown and answered and between.strip()):
        return ()
    # What a prompt begins already, and what every answer begins with, is no mark.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(before, begins, strict=False))
    opening = before[len(list(alike)) :].split() or _last_word(tokenizer, begins)
    return (opening[-1], between.split()[0]) if opening else ()


def _dropped_marks(tokenizer: Any, template: str, begins: str) -> tuple[str, ...]:
    """The marks up to which a template leaves out what an answer said, and those with which it has begun it."""
    for close in dict.fromkeys(re.findall(r"split\(\s*['\"](\S{3,64}?)['\"]", template)):
        said = {"role": "assistant", "content": f"fflm-1{close}fflm-2"}
        text = render(tokenizer, [_user("fflm-3"), said, _user("fflm-4")], Prompting())
        if "fflm-2" in text and "fflm-1" not in text:
            opening = [close.replace("/", "", 1)] if "/" in close else _last_word(tokenizer, begins)
            return (opening[-1], close) if opening else ()
    return ()


def _last_word(tokenizer: Any, begins: str) -> list[str]:
    """The last word of what a template writes before an answer, unless it stands before earlier answers as well."""
    shown = render(tokenizer, [_user("fflm-3"), {"role": "assistant", "content": "fflm-2"}], Prompting())
    word = begins.split()[-1:]
    return [] if word and word[0] in shown.rpartition("fflm-3")[2].partition("fflm-2")[0] else word


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _switches(tokenizer: Any, name: str, messages: list[Message], plain: Prompting) -> bool:
    """Whether a template writes something else if a variable is true."""
    return len({render(tokenizer, messages, replace(plain, switch=name, thinking=budget)) for budget in (0, 1)}) > 1


def render(tokenizer: Any, messages: list[Message], prompting: Prompting) -> str:
    """Messages as the chat template writes them, up to where the model's answer begins.

    Raises UserError if the template refuses them.
    """
    return render_all(template_of(tokenizer), [messages], prompting)[0]


def render_all(template: ChatTemplate, conversations: Sequence[list[Message]], prompting: Prompting) -> list[str]:
    """The same of several conversations."""
    if prompting.system is not None:
        system: Message = {"role": "system", "content": prompting.system}
        conversations = [[system, *messages] for messages in conversations]
    switched = {prompting.switch: prompting.thinking > 0} if prompting.switch else {}
    with_clock = replace(template, text=CLOCK + template.text)
    said: Sequence[Sequence[Any]] = conversations
    if _takes_parts(with_clock.text, with_clock.facts("")["special_tokens"]):
        said = _in_parts(conversations)
    try:
        return render_conversations(with_clock, said, date_string=TODAY, **switched)
    except TemplateFault as fault:
        advice = "leave out --system" if prompting.system is not None else "ask without it: add --chat off"
        raise UserError(f"the chat template of {template.model} refuses ({fault}): {advice}") from None


def _takes_parts(text: str, special: Mapping[str, Any]) -> bool:
    """Whether a template, as those of models that also take images, reads what is said as a list of parts only."""
    return _parts_only(text, json.dumps(special, sort_keys=True))


@cache
def _parts_only(text: str, special: str) -> bool:
    template, asked = ChatTemplate(text, "", json.loads(special)), [[_user("fflm-3")]]

    def shows(conversations: Sequence[Sequence[Any]]) -> bool:
        try:
            return "fflm-3" in render_conversations(template, conversations, date_string=TODAY)[0]
        except TemplateFault:
            return False

    return not shows(asked) and shows(_in_parts(asked))


def _in_parts(conversations: Sequence[list[Message]]) -> list[list[dict[str, Any]]]:
    return [
        [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
        for messages in conversations
    ]


def answer_part(task: CompletionTask, output: str, cut_off: bool, prompting: Prompting) -> tuple[str, bool]:
    """The part of an output in which the answer stands, and whether that was cut off.

    A chat model ends its answer itself. A base model goes on with whatever comes, so that only what completes
    the answer counts.
    """
    if not prompting.chat:
        return task.complete_part(output), cut_off and not task.is_complete(output)
    said = thinking.after_thinking(output, prompting.opened, prompting.marks)
    return ("", True) if said is None else (said, cut_off)
