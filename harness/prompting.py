"""How questions are put to a model: as a text or through its chat template, with how many demonstrations.

What is asked for on the command line becomes one Prompting a task, which stands in run.json and decides,
with the rows, every token of a prompt.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import thinking
from harness.errors import UserError
from harness.tasks.base import CompletionTask, DialogueTask
from harness.templates import ChatTemplate, Message, TemplateFault, carry_out

CHAT = ("auto", "on", "off")
MOST_SHOTS = 64
# Templates write the day into a prompt, which would be another one tomorrow: for all of them it is 1 January 2025.
TODAY = "01 Jan 2025"
DATES = {"%Y": "2025", "%y": "25", "%B": "January", "%b": "Jan", "%m": "01", "%d": "01", "%A": "Wednesday", "%a": "Wed"}
CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f"|replace('{code}','{text}')" for code, text in DATES.items())
    + " }}{%- endmacro -%}"
)


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
    prompt ends within the thinking. turns: answers a row, 1 but for dialogues.
    """

    template: str | None = None
    shots: int = 0
    system: str | None = None
    switch: str | None = None
    thinking: int = 0
    opened: bool = False
    turns: int = 1

    def __post_init__(self) -> None:
        """Raises TypeError for what no run.json of ours says."""
        texts = (self.template, self.system, self.switch)
        counts = ((self.shots, 0), (self.thinking, 0), (self.turns, 1))
        right = all(one is None or isinstance(one, str) for one in texts) and isinstance(self.opened, bool)
        if not right or any(type(count) is not int or count < least for count, least in counts):
            raise TypeError(f"no way to put questions: {self}")

    @property
    def chat(self) -> bool:
        """Whether questions go through the chat template."""
        return self.template is not None

    def max_new_tokens(self, task: CompletionTask) -> int:
        """How many tokens an answer may take, its thinking included."""
        return task.max_new_tokens(self.chat) + self.thinking

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
    plain = Prompting(hashlib.sha256(template.encode()).hexdigest(), request.shots, request.system)
    question: list[Message] = [{"role": "user", "content": "?"}]
    switch = next((name for name in thinking.SWITCHES if _switches(tokenizer, name, question, plain)), None)
    always = switch is None and thinking.closes_in(template)
    budget = request.thinking
    if budget and not (switch or always):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} knows of no thinking: leave out --thinking {budget}"
        )
    if budget is None:
        budget = thinking.BUDGET if always else 0
    resolved = replace(plain, switch=switch, thinking=budget)
    _require_all_said(tokenizer, resolved)
    # What a system prompt says of thinking opens none.
    return replace(resolved, opened=thinking.is_open(render(tokenizer, question, replace(resolved, system=None))))


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
    try:
        return carry_out(with_clock, conversations, date_string=TODAY, **switched)
    except TemplateFault as fault:
        advice = "leave out --system" if prompting.system is not None else "ask without it: add --chat off"
        raise UserError(f"the chat template of {template.whose} refuses ({fault}): {advice}") from None


def answer_part(task: CompletionTask, output: str, cut_off: bool, prompting: Prompting) -> tuple[str, bool]:
    """The part of an output in which the answer stands, and whether that was cut off.

    A chat model ends its answer itself. A base model goes on with whatever comes, so that only what completes
    the answer counts.
    """
    if not prompting.chat:
        return task.complete_part(output), cut_off and not task.is_complete(output)
    said = thinking.after_thinking(output, prompting.opened)
    return ("", True) if said is None else (said, cut_off)
