"""Extracts a count from text: the rules of the grammar in fflm_data.answers, one function per rule."""

# ruff: noqa: RUF001 (ambiguous characters are intended: they occur in model outputs)

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fflm_data.answers import corrections
from fflm_data.answers.candidates import ANY, EQUALS, OPERATOR, N, exclude_non_candidates, rule
from fflm_data.answers.numerals import MARKER, NUMBER, OTHER, MarkedText

_TURN = rule(rf"(?<=\S)\s*\n\s*(?:Question|Q|User|Human|Problem|问题)(?: ?{N})?[:.]")
_STEPS = rule(
    r"\b(?:first(?:ly)?,|next,"
    r"|(?:steps?|let's|let us|let me|break (?:it|this|that|down)|one by one|we (?:need|have|can|must))\b)"
    rf"|^[ \t]*(?:[-*•]|{N}[.)])[ \t]"
)
_STRONG = rule(
    rf"{MARKER}|\b(?:(?:final |correct |right |short )?answer"
    r"|(?:correct|right|true|actual|real|exact) (?:number|count|total|value|figure|result|amount)"
    r"|antwort|réponse|respuesta|resposta|risposta|ответ|उत्तर)\b"
    rf"[\"']?(?: (?:to|for) [^.:\n{N}]{{1,80}}?)?[ ]*(?::|=|है"
    r"|\b(?:is|was|would be|should be|ist|lautet|est|es|è|é)\b(?: that)?[ ]*:?)"
    r"|(?:答案|答|الجواب|الإجابة)[ ]*(?:是|为|هو|هي)?[ ]*:?|^A:"
)
_WEAK = rule(
    r"\b(?:so(?! far)|therefore|thus|hence|in total|altogether|overall|in conclusion|in summary|to sum up)\b,?"
    r"|\bfinal:|\b(?:my )?(?:best )?guess(?: is| would be|:)"
    r"|\b(?:I think|I believe|I'd say|I would say|maybe|perhaps|probably|might be|could be)\b"
    r"|\b(?<!me )(?<!us )(?<!let's )(?<!to )(?:total|sum|count|result|número|nombre|anzahl|gesamt|output|value)\b"
    rf"(?: (?:number|count|amount))?(?: of [^.:\n{N}]{{1,60}}?)?[\"']?[ ]*(?::|=|is\b|was\b|of\b|comes to\b)"
    rf"|\b(?:the )?number of [^.:\n{N}]{{1,60}}? (?:is|are|=)"
    # A row of a table, or the end of one: "| Total r's | 3 |", "Total 3."
    rf"|\b(?:total|sum|overall|answer|result)\b[^|.\n{N}]{{0,40}}(?:\||\t)|\b(?<!a )total,?(?= {N})"
    r"|\b(?:donc|por lo tanto|итого)\b,?|(?:所以|因此|一共|总共|共)"
)
_IN_ALL = rule(
    rf"{N}[^{N}.,\n]{{0,40}}\b(?:in total|altogether|in all|overall|insgesamt|total(?! ?(?:of\b|is\b|[:=])))\b"
)
_JUST = r"(?:only|exactly|just|a total of|about|approximately|around|roughly|also|actually|in fact|precisely|~)"
_STATED = rule(
    rf"(?:\b(?:there(?:'s| is| are| was| were)|there appears? to be|it's|that's|they're"
    rf"|contains?|includes?|has|have|had|appears?|occurs?|shows? up"
    rf"|is (?:used|repeated|found|mentioned|present)|(?:used|repeated|found|mentioned)"
    rf"|I (?:count|counted|see|found|find|get|got)|you get"
    rf"|equals?|is|are|be|hay|tiene|aparece|il y a|contient|a|apparaît|gibt es|enthält|hat|kommt|há|tem|ci sono)"
    rf"|[有现了共是为于=])[ :]*(?:{_JUST}[ ]*){{0,2}}{N}(?!\w)"
    rf"|{N} (?:times?|occurrences?|instances?|mal|veces|vez|fois|vezes|volte|раза?|बार|مرات|مرة)\b|{N}[ ]*[次个個]"
)
_CALCULATED = rule(rf"(?:{OTHER}[ ]*\)?[ ]*{EQUALS}|\+[^=+\n]{{0,40}}=)[ ]*{N}(?!\)?{OPERATOR}[ ]*{ANY})")
_CALCULATION = rule(rf"{ANY}\)?{OPERATOR}[ ]*{ANY}")
_ALONE = rule(rf"^[^\w{NUMBER}{OTHER}\n]*{N}(?:[^\w{NUMBER}{OTHER}\n]|\({N}\))*$")
_OPENS = re.compile(
    rf"[^\w{NUMBER}{OTHER}]*{N}(?!\](?: or)? ?\[|\] \w| ?\([^)\n]{{0,40}}\)[ ]*(?:[+×*x]|(?:[,;](?: and)?| and) {ANY}))"
    rf"(?=\.(?!\.)|[!;(—)}}\]\n]|,[ ]*(?:because|since|as|with|which|namely|at|I)\b"
    rf"|[ ]+[(—–-][ ]*(?:\w|{N} (?:in|at|from)\b)|[ ]*$)"
)
_CLOSES = re.compile(rf"[.!?…] {N}[.!]?\s*\Z")
_OPENS_AFTER_MARKER = re.compile(
    rf"[\s\"'(\[{{:~-]*(?:(?:equal to|exactly|only|just|about|approximately)[ ]*)?(?P<n>{N})"
    rf"(?![ ]*(?:,|or|to|and|-|–|/|\||,[ ]*or|,[ ]*and)?[ ]*{ANY})(?!(?: \([^()\n]{{0,40}}\))?{OPERATOR}[ ]*{ANY})"
)
# The result of a breakdown: "1 in straw and 2 in berry, which makes 3".
_TOGETHER = r"(?:makes?|gives?|totals?|totaling|totalling|adds? up to|sums? (?:up )?to|comes? to|amounts? to)"
_EXACTLY = r"(?:[ ](?:a total of|exactly|us|you|up to|in all))*"
_BREAKDOWN_RESULT = rule(
    rf"\b(?:which|that|this|it|together|and so)(?: (?:all|together|altogether))? {_TOGETHER}{_EXACTLY} {N}"
    rf"|\b(?:making|giving|totaling|totalling|adding up to|summing (?:up )?to){_EXACTLY} {N}"
)
_SUM_OF_PARTS = rule(
    rf"(?:[:=>→]|(?<!\.)[.;!](?= {N}[.!]?\s*\Z)|\b(?:{_TOGETHER}|together (?:have|has|make|are|contain)|is|are))"
    rf"{_EXACTLY}[ ]*{N}"
)
_CLAUSE_END = re.compile(r"[.!?:;(\n—]")
_PART = re.compile(rf"{N}(?: \S{{1,12}}){{0,2}} in\b", re.IGNORECASE)


class Span(NamedTuple):
    """A part of a text with marked numbers."""

    text: str
    values: dict[int, int | None]
    start: int
    end: int

    def numbers(self) -> list[int | None]:
        """Returns the values of all candidates, in order."""
        return [self.values[match.start()] for match in re.compile(N).finditer(self.text, self.start, self.end)]

    def values_of(self, pattern: re.Pattern[str]) -> list[int | None]:
        """Returns the value of the last candidate in each match of the pattern."""
        return [
            self.values[match.start() + match.group().rindex(N)]
            for match in self.matches(pattern)
            if N in match.group()
        ]

    def matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        return pattern.finditer(self.text, self.start, self.end)

    def after(self, start: int) -> "Span":
        return self._replace(start=start)


def extract_count(marked: MarkedText, cautious: bool, unfinished: bool) -> int | None:
    """Returns the answer in a text.

    cautious: do not use the rule `all`. unfinished: the text was cut off; if it works step by step, only a strong
    marker counts.
    """
    text, values = marked
    turn = before_next_turn(text)
    rules = [
        *_RULES,
        *([] if unfinished else [_breakdown_result, _sum_of_parts]),
        _stated,
        *([] if cautious or unfinished else [_all]),
    ]
    if unfinished and _STEPS.search(turn):
        rules = [_strong]
    text = exclude_non_candidates(turn, values, cautious or unfinished)
    span = Span(text, values, 0, len(text))
    corrected, restated = corrections.find_corrections(text, values)
    if unfinished and restated > corrected:  # A running count is restated again and again.
        rules = [_strong]
    return _apply_rules(span.after(max(corrected, restated)), rules)


def before_next_turn(text: str) -> str:
    """Returns a text up to the first question that the model itself continues with."""
    turn = _TURN.search(text)
    return text[: turn.start()] if turn else text


def _apply_rules(span: Span, rules: Sequence[Callable[[Span], list[int | None]]]) -> int | None:
    """Returns the number found by the first rule that finds any; None if it finds different numbers."""
    for rule_function in rules:
        numbers = set(rule_function(span))
        if numbers:
            return numbers.pop() if len(numbers) == 1 else None
    return None


def _after_marker(span: Span, marker: re.Pattern[str]) -> list[int | None]:
    """Returns the number after the last marker that has candidates on its line (or the next)."""
    for match in reversed(list(marker.finditer(span.text, span.start, span.end))):
        begin = match.end()
        while begin < span.end and span.text[begin] in " \t\n\"'*:":
            begin += 1
        end = span.text.find("\n", begin, span.end)
        rest = Span(span.text, span.values, match.end(), span.end if end < 0 else end)
        if rest.text.find(N, rest.start, rest.end) < 0:
            continue
        opening = _OPENS_AFTER_MARKER.match(rest.text, rest.start, rest.end)
        if opening:
            return [rest.values[opening.start("n")]]
        rules = [_calculated, _in_all, _stated, _all] if marker is _STRONG else [_calculated, _stated]
        return [_apply_rules(rest, rules)]
    return []


def _strong(span: Span) -> list[int | None]:
    return _after_marker(span, _STRONG)


def _weak(span: Span) -> list[int | None]:
    return [number for number in _after_marker(span, _WEAK) if number is not None]


def _in_all(span: Span) -> list[int | None]:
    return span.values_of(_IN_ALL)[-1:]


def _alone(span: Span) -> list[int | None]:
    """Returns numbers that are alone on a line, and a number that is the first sentence, with one that is the last."""
    opening = _OPENS.match(span.text, span.start, span.end)
    sentences = [span.values[opening.end() - 1], *span.values_of(_CLOSES)] if opening else []
    lines = [span._replace(start=line.start(), end=line.end()) for line in span.matches(_ALONE)]
    return [number for line in lines for number in line.numbers()] + sentences


def _calculated(span: Span) -> list[int | None]:
    """Returns the last result, or None as its value if a calculation without a result follows."""
    ends = [match.end() for match in _CALCULATED.finditer(span.text, span.start, span.end)]
    unfinished = ends and _CALCULATION.search(span.text, ends[-1], span.end)
    return [None] if unfinished else span.values_of(_CALCULATED)[-1:]


def _breakdown_result(span: Span) -> list[int | None]:
    """Returns the result of the last breakdown."""
    return span.values_of(_BREAKDOWN_RESULT)[-1:]


def _sum_of_parts(span: Span) -> list[int | None]:
    """Returns the last number if it is the sum of all others and the only one after a word or sign for a sum."""
    *parts, last = span.numbers() or [None]
    matches = list(_SUM_OF_PARTS.finditer(span.text, span.start, span.end))
    if len(parts) < 2 or None in parts or len(matches) != 1 or span.text.find(N, matches[0].end(), span.end) >= 0:
        return []
    return [last] if last == sum(part for part in parts if part is not None) else []


def _stated(span: Span) -> list[int | None]:
    """Returns the number of each statement, which extends to the end of its clause (see `_clause_number`)."""
    stated: list[int | None] = []
    done = span.start
    for match in _STATED.finditer(span.text, span.start, span.end):
        if match.start() < done:
            continue
        starts = [end.end() for end in _CLAUSE_END.finditer(span.text, done, match.start())]
        end = _CLAUSE_END.search(span.text, match.end(), span.end)
        close = end.start() if end else span.end
        stated.append(_clause_number(Span(span.text, span.values, starts[-1] if starts else done, close)))
        done = close
    return stated


def _all(span: Span) -> list[int | None]:
    return [_clause_number(span)] if span.numbers() else []


def _clause_number(span: Span) -> int | None:
    """Returns the number of a clause: its numbers are equal, or the first is the sum of the others (a breakdown)."""
    first, *others = span.numbers()
    if first is None or None in others:
        return None
    if len(others) > 1 and first == sum(number for number in others if number is not None):
        return first
    parts = len(_PART.findall(span.text, span.start, span.end))
    return first if set(others) <= {first} and parts < 2 else None


# Rules that need no context to identify the answer.
_RULES: list[Callable[[Span], list[int | None]]] = [_strong, _in_all, _weak, _alone, _calculated]
