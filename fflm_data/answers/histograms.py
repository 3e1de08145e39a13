"""Extracts a histogram of letters from text: the histogram rules of the grammar in fflm_data.answers."""

# ruff: noqa: RUF001 (the dash is intended)

import re

from fflm_data.answers.numerals import integer

_COMMENT = re.compile(r"(?://|#)[^\n]*")
_MENTION = re.compile(r"\b(?:such as|format|example|e\.g\.|for instance)[^{}\n]{0,40}$", re.IGNORECASE)
_FLAT = re.compile(r"\{([^{}]*)\}")
_VALUE = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,\"'{}\[\]]+)"
_PAIR = re.compile(rf"\s*(?P<quote>[\"']?)(?P<letter>[^\W\d_])(?P=quote)\s*:\s*(?P<count>{_VALUE})\s*(?:,|\Z)")
_ENTRY = re.compile(
    r"\s*[\"'](?:letter|char|character)[\"']\s*:\s*[\"'](?P<letter>[^\W\d_])[\"']\s*,"
    rf"\s*[\"'](?:count|frequency|occurrences|number)[\"']\s*:\s*(?P<count>{_VALUE})\s*,?\s*"
)
_LINE = re.compile(
    r"[*+-]{0,3} {0,9}(?:\d{1,3}[.)] )?(?:letter )?[| *]{0,9}(?P<quote>[\"']?)(?P<letter>[^\W\d_])(?P=quote)"
    r" {0,9}(?:[:=|–-]|->|→) {0,9}"
    r"(?P<count>[-+]?\d[\d.]*)(?: times?)?[ |.]{0,9}",
    re.IGNORECASE,
)

Pairs = list[tuple[str, str]]


def extract_histogram(text: str, cut_off: bool) -> dict[str, int] | None:
    """Returns the counts in a text without markup; None if there are none or they are not whole numbers."""
    text = _COMMENT.sub("", text)
    bodies = list(_FLAT.finditer(text))
    # An example copied from the prompt counts only if there is no other object.
    by_priority = sorted(bodies, key=lambda body: (not _is_example(text, body.start()), body.start()), reverse=True)
    for body in by_priority:
        pairs = _pairs(body[1])
        if pairs:
            return _merge_counts(pairs)
    entries = [entry for entry in (_ENTRY.fullmatch(body[1]) for body in bodies) if entry]
    if entries:
        is_open = "{" in text[bodies[-1].end() :] or "]" not in text[bodies[-1].end() :]
        return None if cut_off and is_open else _merge_counts([(entry["letter"], entry["count"]) for entry in entries])
    if cut_off or "{" in text:
        return None
    lines = [match for match in map(_LINE.fullmatch, map(str.strip, re.split(r"[,\n]", text))) if match]
    return _merge_counts([(line["letter"], line["count"]) for line in lines])


def _is_example(text: str, start: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return _MENTION.search(text, max(line, start - 60), start) is not None


def _pairs(body: str) -> Pairs:
    """Returns the pairs in the body of an object, or [] if it has anything but letters with values."""
    pairs, position = [], 0
    body = body.rstrip()
    while position < len(body):
        pair = _PAIR.match(body, position)
        if not pair:
            return []
        pairs.append((pair["letter"], pair["count"]))
        position = pair.end()
    return pairs


def _merge_counts(pairs: Pairs) -> dict[str, int] | None:
    if not pairs:
        return None
    counts: dict[str, int] = {}
    for letter, text in pairs:
        value = integer(text.strip("\"' ").rstrip("."))
        if value is None or value < 0 or counts.setdefault(letter, value) != value:
            return None
    total: dict[str, int] = {}
    for letter, value in counts.items():
        total[letter.lower()] = total.get(letter.lower(), 0) + value
    return {letter: value for letter, value in total.items() if value}
