"""Checks that a chat template only frames messages: the text it adds must not depend on their content.

A template is a program. One that counts letters and writes the count into the prompt would score for a model that
cannot count. So each conversation is rendered twice: as it is, and with random words in place of the contents, which
are then replaced by the contents. A template that only frames gives the same text both times.
"""

import re
import secrets
from collections.abc import Sequence
from string import ascii_lowercase

from harness.errors import UserError
from harness.prompts.chat_template import ChatTemplate, Message
from harness.prompts.prompting import Prompting, render_all

# Length of a random word: unique, and in no content.
_LETTERS = 24


def render_framed(
    template: ChatTemplate, conversations: Sequence[list[Message]], prompting: Prompting, *, check: bool = True
) -> list[str]:
    """Prompts: the contents of messages in the frame that the template puts around random words.

    check: whether rendering the contents must give the same text. Not for model outputs: templates remove their own
    marks from these. Raises UserError if the check fails.
    """
    frames: dict[tuple[tuple[str, ...], ...], tuple[list[str], str]] = {}
    texts = []
    for messages in conversations:
        shape = tuple(_shape(message) for message in messages)
        if shape not in frames:
            frames[shape] = _render_frame(template, messages, prompting)
        words, frame = frames[shape]
        texts.append(_fill(frame, words, messages))
    if check and render_all(template, conversations, prompting) != texts:
        raise UserError(
            f"the text that the chat template of {template.model} adds depends on the question, but a template may "
            "only frame messages: add --chat off"
        )
    return texts


def _shape(message: Message) -> tuple[str, ...]:
    """What the frame of a message may depend on: its role, whether it is empty, surrounding whitespace."""
    before, core, after = _parts(message["content"])
    return message["role"], before, after, "text" if core else ""


def _parts(content: str) -> tuple[str, str, str]:
    """Leading whitespace, text, trailing whitespace: templates may trim."""
    core = content.strip()
    before = content[: len(content) - len(content.lstrip())]
    return before, core, content[len(before) + len(core) :]


def _render_frame(template: ChatTemplate, messages: list[Message], prompting: Prompting) -> tuple[list[str], str]:
    """A random word for each message, "" for an empty one; and the rendered conversation of these words."""
    words, replaced = [], []
    for message in messages:
        before, core, after = _parts(message["content"])
        words.append("".join(secrets.choice(ascii_lowercase) for _ in range(_LETTERS)) if core else "")
        replaced.append({**message, "content": f"{before}{words[-1]}{after}"})
    return words, render_all(template, [replaced], prompting)[0]


def _fill(frame: str, words: list[str], messages: list[Message]) -> str:
    cores = {word: message["content"].strip() for word, message in zip(words, messages, strict=True) if word}
    return re.sub("|".join(cores), lambda match: cores[match[0]], frame) if cores else frame
