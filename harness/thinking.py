"""Thinking aloud before an answer: how templates turn it on and off, and where in an output it ends."""

from collections.abc import Iterable
from typing import Any

# What opens and what closes it, in the words of the models that do it.
MARKERS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
# Special tokens that are part of those, and stay in an output although others are left out.
MARKER_TOKENS = frozenset({one for pair in MARKERS for one in pair} | {"<|channel|>", "<|message|>"})
# Under these names templates take whether to think.
SWITCHES = ("enable_thinking", "thinking")
# What a model gets that always thinks.
BUDGET = 2_048


def closes_in(template: str) -> bool:
    """Whether a chat template knows of thinking."""
    return any(close in template for _, close in MARKERS)


def in_messages(special: Iterable[str]) -> bool:
    """Whether a model with these special tokens thinks in messages of their own, which end as its answers do."""
    return "<|channel|>" in special


def is_open(text: str) -> bool:
    """Whether a text ends within thinking."""
    return any(text.rfind(opening) > text.rfind(close) for opening, close in MARKERS)


def after_thinking(output: str, opened: bool) -> str | None:
    """What follows the thinking; None if it never ends. opened: whether the prompt had begun it."""
    ends = [output.rfind(close) + len(close) for _, close in MARKERS if close in output]
    if ends:
        return output[max(ends) :]
    return None if opened or is_open(output) else output


def marker_ids(tokenizer: Any) -> frozenset[int]:
    """The special tokens of a tokenizer that open or close thinking."""
    special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return frozenset(number for token, number in special if token in MARKER_TOKENS)
