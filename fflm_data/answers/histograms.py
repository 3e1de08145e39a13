"""How often each letter occurs, as a text says it: the rules for histograms of the grammar in fflm_data.answers."""

# ruff: noqa: RUF001 (a dash is meant)

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


def histogram(text: str, cut_off: bool) -> dict[str, int] | None:
    """The counts that a plain text says; None if it says none, or no whole ones."""
    text = _COMMENT.sub("", text)
    bodies = list(_FLAT.finditer(text))
    # The prompt's own example, said again, is an answer only if there is no other.
    by_rank = sorted(bodies, key=lambda body: (not _is_mentioned(text, body.start()), body.start()), reverse=True)
    for body in by_rank:
        pairs = _pairs(body[1])
        if pairs:
            return _merged(pairs)
    entries = [entry for entry in (_ENTRY.fullmatch(body[1]) for body in bodies) if entry]
    if entries:
        open_list = "{" in text[bodies[-1].end() :] or "]" not in text[bodies[-1].end() :]
        return None if cut_off and open_list else _merged([(entry["letter"], entry["count"]) for entry in entries])
    if cut_off or "{" in text:
        return None
    lines = [match for match in map(_LINE.fullmatch, map(str.strip, re.split(r"[,\n]", text))) if match]
    return _merged([(line["letter"], line["count"]) for line in lines])


def _is_mentioned(text: str, start: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return _MENTION.search(text, max(line, start - 60), start) is not None


def _pairs(body: str) -> Pairs:
    """The pairs of an object's body; none unless it is letters and values throughout."""
    pairs, place = [], 0
    body = body.rstrip()
    while place < len(body):
        pair = _PAIR.match(body, place)
        if not pair:
            return []
        pairs.append((pair["letter"], pair["count"]))
        place = pair.end()
    return pairs


def _merged(pairs: Pairs) -> dict[str, int] | None:
    if not pairs:
        return None
    counts: dict[str, int] = {}
    for letter, written in pairs:
        value = integer(written.strip("\"' ").rstrip("."))
        if value is None or value < 0 or counts.setdefault(letter, value) != value:
            return None
    total: dict[str, int] = {}
    for letter, value in counts.items():
        total[letter.lower()] = total.get(letter.lower(), 0) + value
    return {letter: value for letter, value in total.items() if value}
