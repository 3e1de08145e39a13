"""Chat templates only frame texts: what they write around messages must not depend on what the messages say.

A template is a program. One that counts letters and writes the answer into the prompt would score for a model that
cannot count. So each prompt is written twice: from the messages, and from words of random letters in their place,
which are then replaced by what was said. A template that only frames gives the same text both times; no other can,
since of random words it learns nothing.
"""

import re
import secrets
from collections.abc import Sequence
from string import ascii_lowercase

from harness.errors import UserError
from harness.prompts.chat_template import ChatTemplate, Message
from harness.prompts.prompting import Prompting, render_all

# No two are alike, and none stands in what anybody says.
_LETTERS = 24


def framed(
    template: ChatTemplate, conversations: Sequence[list[Message]], prompting: Prompting, *, demanded: bool = True
) -> list[str]:
    """Prompts: what is said, in the frame that the template puts around random words.

    demanded: whether the template must write the same from what is said. Not where models have said it: templates cut
    what they know as marks out of that. Raises UserError for a template that does not.
    """
    frames: dict[tuple[tuple[str, ...], ...], tuple[list[str], str]] = {}
    texts = []
    for said in conversations:
        shape = tuple(_shape(message) for message in said)
        if shape not in frames:
            frames[shape] = _frame(template, said, prompting)
        words, frame = frames[shape]
        texts.append(_put_in(frame, words, said))
    if demanded and render_all(template, conversations, prompting) != texts:
        raise UserError(
            f"the chat template of {template.model} writes other things around other questions, and a template may "
            "only frame them: ask without it: add --chat off"
        )
    return texts


def _shape(message: Message) -> tuple[str, ...]:
    """What of a message its frame may depend on: its role, whether it says anything, the blanks at its ends."""
    before, core, after = _parts(message["content"])
    return message["role"], before, after, "said" if core else ""


def _parts(content: str) -> tuple[str, str, str]:
    """The blanks before, what is said, the blanks after: templates may trim."""
    core = content.strip()
    before = content[: len(content) - len(content.lstrip())]
    return before, core, content[len(before) + len(core) :]


def _frame(template: ChatTemplate, said: list[Message], prompting: Prompting) -> tuple[list[str], str]:
    """A random word for each message, "" for one that says nothing, and what the template writes of them."""
    words, messages = [], []
    for message in said:
        before, core, after = _parts(message["content"])
        words.append("".join(secrets.choice(ascii_lowercase) for _ in range(_LETTERS)) if core else "")
        messages.append({**message, "content": f"{before}{words[-1]}{after}"})
    return words, render_all(template, [messages], prompting)[0]


def _put_in(frame: str, words: list[str], said: list[Message]) -> str:
    cores = {word: message["content"].strip() for word, message in zip(words, said, strict=True) if word}
    return re.sub("|".join(cores), lambda found: cores[found[0]], frame) if cores else frame
