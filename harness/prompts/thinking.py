"""Thinking before an answer: the template variables that control it, and where it ends in an output.

The end is found by structure, not by a list of models. A mark is a tag whose name means thinking (`<think>`, `[THINK]`,
`<seed:think>`, `◁/think▷`, `<|END_THINKING|>`, ...), a tag of the model's chat template, or the header of a message
channel (`<|channel|>analysis<|message|>`, `<|channel>thought`).
"""

# ruff: noqa: RUF001 (the wide bar of some marks is meant)

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

# Template variables that turn thinking on.
SWITCHES = ("enable_thinking", "thinking")
# Default token budget of models that always think.
BUDGET = 2_048

# "think", "seed:think", "longcat_think", "antThinking", "START_THINKING", "begin_of_thought", "thought_process", "plan"
_MEANING = (
    r"(?:think(?:ing)?|thoughts?|reasoning|analysis|reflection|rationale|scratch(?:_?pad)?|monologue|chain_of_thought|cot"
    r"|plan(?:ning)?|draft|deliberation|brainstorm(?:ing)?)(?:_(?:process|content|fast|slow|faster))?"
)
_BEFORE = r"(?:[a-z]{1,12}[:_-])?"
_BEGIN, _END = r"(?:(?:begin|start)[ _▁](?:of[ _▁])?)?", r"end[ _▁](?:of[ _▁])?"
_ATTRIBUTES = r"(?:\s[\w-]{1,20}=[^<>\n]{0,100})?"
_TAG = re.compile(
    rf"(?:<|&lt;)\s?(?P<end1>/\s?|{_END})?{_BEGIN}(?:{_BEFORE}|ant){_MEANING}{_ATTRIBUTES}\s?(?:>|&gt;)"
    rf"|◁(?P<end2>/)?{_BEFORE}{_MEANING}▷"
    rf"|\[(?P<end3>/|{_END})?{_BEGIN}(?P<bracket>{_MEANING})(?:[ _](?:start|begin|(?P<end8>end)))?\]"
    rf"|<[|｜](?P<end4>/|{_END})?{_BEGIN}{_MEANING}(?:_(?:start|begin|(?P<end5>end)))?[|｜]>"
    r"|<\|inner_(?:prefix|(?P<end6>suffix))\|>"
    r"|<\|channel>(?:thought|analysis)\b|(?P<end7><channel\|>)"
    # Gemma's unused tokens
    r"|<unused\d{1,3}>(?:thought|thinking)\b|(?P<end9><unused\d{1,3}>)",
    re.IGNORECASE,
)
_ENDS = tuple(f"end{number}" for number in range(1, 10))
# A one-word answer before a closing mark is not thinking.
_ONE_WORD = re.compile(r"\s{0,20}\S{1,40}[ \t]{0,20}")

# The header of a message in a channel: "<|channel|>analysis<|message|>", "final <|constrain|>json<|message|>".
_CHANNEL = r"(?:analysis|commentary|final)"
_TYPE = r"(?:[ ]to=[\w.]{1,40})?(?:[ ]?<\|constrain\|>[ ]?\w{1,20})?"
_HEADER = re.compile(
    rf"(?:(?:<\|start\|>)?assistant)?(?:<\|channel\|>(?P<a>{_CHANNEL}){_TYPE}(?:<\|message\|>)?"
    rf"|\b(?P<b>{_CHANNEL}){_TYPE}<\|message\|>)"
)
# The same without special tokens: "assistantfinal3"; "analysisWe count" and "final3" at the beginning of a text.
_BARE_HEADER = re.compile(
    rf"assistant(?P<channel>{_CHANNEL})(?![a-z\s:])|\A\s*(?P<first>analysis)(?=.*assistantfinal)"
    r"|\A\s*(?P<glued>analysis(?=[A-Z\"'])|final(?=[\dA-Z\"'{*\\$`]))",
    re.DOTALL,
)
# "analysis We count. assistant final 3", with spaces in place of the special tokens.
_SPACED_HEADER = re.compile(
    rf"\A\s*(?:assistant\s+)?(?P<first>analysis|commentary)(?=.*\sassistant\s*{_CHANNEL}(?!\w))"
    rf"|(?<=\s)assistant\s*(?P<channel>{_CHANNEL})(?!\w)",
    re.DOTALL,
)
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>")

# Special tokens that are part of marks.
_PARTS = frozenset({"<|channel|>", "<|message|>", "<|constrain|>", "<|channel>", "<channel|>"})
_ANY_TAG = re.compile(r"</?[a-z][^<>\n]{0,40}>|<\|[^<>|\n]{1,40}\|>|\[/?[A-Z]{2,20}\]", re.IGNORECASE)

Marks = Sequence[str]  # opening and closing tag of a chat template; empty if it has none


class _Mark(NamedTuple):
    start: int
    end: int
    closes: bool


def is_known(text: str) -> bool:
    """Whether a text has a generally known mark or a channel header."""
    return _TAG.search(text) is not None or "<|channel|>" in text


def closes_in(template: str) -> bool:
    """Whether a chat template has a closing mark of thinking."""
    return "<|channel|>final" in template or any(_closes(tag) for tag in _TAG.finditer(template))


def in_messages(special: Iterable[str]) -> bool:
    """Whether a model with these special tokens thinks in separate messages, which end like answers."""
    return "<|channel|>" in special


def is_open(text: str, marks: Marks = ()) -> bool:
    """Whether a text ends within thinking."""
    return after_thinking(text, False, marks) is None


def after_thinking(output: str, opened: bool, marks: Marks = ()) -> str | None:
    """The text outside thinking; None if the thinking does not end.

    opened: whether the prompt opened it. marks: tags of the chat template, in addition to the general ones.
    """
    messages = _messages(output)
    if messages:
        return next((text for channel, text in reversed(messages) if channel == "final"), None)
    outside: list[str] = []
    inside, begun, start, nested, closed = opened, False, 0, 0, 0
    last = _last_word(output)
    for mark in _marks(output, opened, marks):
        if not mark.closes:
            if inside:
                nested += begun or not opened
            else:
                outside.append(output[start : mark.start])
            begun = inside = True
            continue
        if inside:
            inside, closed = False, closed + 1
        elif nested:
            nested -= 1
        elif mark.end > last and (closed or (not opened and _ONE_WORD.fullmatch(output, 0, mark.start))):
            # a stray mark after the answer
            outside.append(output[start : mark.start])
        else:  # everything before it was thinking without an opening mark
            outside, closed = [], closed + 1
        start = mark.end
    if inside:
        return None
    outside.append(output[start:])
    return next((text for text in reversed(outside) if _last_word(text)), "") if closed else output


def marker_ids(tokenizer: Any, marks: Marks = ()) -> frozenset[int]:
    """The special tokens of a tokenizer that open or close thinking, or are part of such a mark."""
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return frozenset(
        number
        for number, token in special.items()
        if token in _PARTS or _TAG.fullmatch(token) or any(token in mark for mark in marks)
    )


def _closes(tag: re.Match[str]) -> bool:
    return any(tag[name] for name in _ENDS)


def _marks(text: str, opened: bool, own: Marks) -> Iterator[_Mark]:
    """All marks of a text, in order."""
    tags = list(_TAG.finditer(text))
    # "[Thinking]" opens thinking only if it is closed later; an unused token closes only what another one opened.
    closed = {(tag["bracket"] or "").lower() for tag in tags if _closes(tag)}
    free = next((tag.start() for tag in tags if tag.group().startswith("<unused") and not _closes(tag)), len(text))
    marks = [
        _Mark(tag.start(), tag.end(), _closes(tag))
        for tag in tags
        if (_closes(tag) or not tag["bracket"] or tag.group().isupper() or tag["bracket"].lower() in closed)
        and (not tag["end9"] or opened or tag.start() > free)
    ]
    if own:
        pattern = re.compile("|".join(re.escape(mark) for mark in sorted(own, key=len, reverse=True)))
        marks += [_Mark(match.start(), match.end(), match.group() == own[1]) for match in pattern.finditer(text)]
    return iter(sorted(marks))


def _messages(text: str) -> list[tuple[str, str]]:
    """The messages of an output, as channel and text; empty if it has no channels."""
    headers = [(match.start(), match.end(), match["a"] or match["b"]) for match in _HEADER.finditer(text)]
    if not headers:
        spaced = _SPACED_HEADER.match(text)
        bare = (_SPACED_HEADER if spaced else _BARE_HEADER).finditer(text)
        headers = [(match.start(), match.end(), next(filter(None, match.groups()))) for match in bare]
    ends = [start for start, _, _ in headers[1:]] + [len(text)]
    bodies = [text[begin:end] for (_, begin, _), end in zip(headers, ends, strict=False)]
    return [(channel, _MESSAGE_END.split(body)[0]) for (_, _, channel), body in zip(headers, bodies, strict=False)]


def _last_word(text: str) -> int:
    """The position of the last letter or digit outside tags, counted from 1; 0 if there is none."""
    bare = text
    for tags in (_TAG, _ANY_TAG):
        bare = tags.sub(lambda tag: " " * len(tag.group()), bare)
    return next((position for position in range(len(bare), 0, -1) if bare[position - 1].isalnum()), 0)
