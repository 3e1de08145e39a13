"""Which number of a text is its answer: the rules of the grammar in fflm_data.answers, one function each."""

# ruff: noqa: RUF001 (signs that look like others are what is read here)

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fflm_data.answers import retractions
from fflm_data.answers.asides import ANY, EQUALS, OPERATOR, N, candidates, rule
from fflm_data.answers.numerals import ASIDE, MARKER, NUMBER, Numbered

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
    # A row of a table, or its end: "| Total r's | 3 |", "Total 3."
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
_CALCULATED = rule(rf"(?:{ASIDE}[ ]*\)?[ ]*{EQUALS}|\+[^=+\n]{{0,40}}=)[ ]*{N}(?!\)?{OPERATOR}[ ]*{ANY})")
_CALCULATION = rule(rf"{ANY}\)?{OPERATOR}[ ]*{ANY}")
_ALONE = rule(rf"^[^\w{NUMBER}{ASIDE}\n]*{N}(?:[^\w{NUMBER}{ASIDE}\n]|\({N}\))*$")
_OPENS = re.compile(
    rf"[^\w{NUMBER}{ASIDE}]*{N}(?!\](?: or)? ?\[|\] \w| ?\([^)\n]{{0,40}}\)[ ]*(?:[+×*x]|(?:[,;](?: and)?| and) {ANY}))"
    rf"(?=\.(?!\.)|[!;(—)}}\]\n]|,[ ]*(?:because|since|as|with|which|namely|at|I)\b"
    rf"|[ ]+[(—–-][ ]*(?:\w|{N} (?:in|at|from)\b)|[ ]*$)"
)
_CLOSES = re.compile(rf"[.!?…] {N}[.!]?\s*\Z")
_OPENS_AFTER_MARKER = re.compile(
    rf"[\s\"'(\[{{:~-]*(?:(?:equal to|exactly|only|just|about|approximately)[ ]*)?(?P<n>{N})"
    rf"(?![ ]*(?:,|or|to|and|-|–|/|\||,[ ]*or|,[ ]*and)?[ ]*{ANY})(?!(?: \([^()\n]{{0,40}}\))?{OPERATOR}[ ]*{ANY})"
)
# What a breakdown comes to: "1 in straw and 2 in berry, which makes 3".
_TOGETHER = r"(?:makes?|gives?|totals?|totaling|totalling|adds? up to|sums? (?:up )?to|comes? to|amounts? to)"
_EXACTLY = r"(?:[ ](?:a total of|exactly|us|you|up to|in all))*"
_MADE = rule(
    rf"\b(?:which|that|this|it|together|and so)(?: (?:all|together|altogether))? {_TOGETHER}{_EXACTLY} {N}"
    rf"|\b(?:making|giving|totaling|totalling|adding up to|summing (?:up )?to){_EXACTLY} {N}"
)
_SUMMED = rule(
    rf"(?:[:=>→]|(?<!\.)[.;!](?= {N}[.!]?\s*\Z)|\b(?:{_TOGETHER}|together (?:have|has|make|are|contain)|is|are))"
    rf"{_EXACTLY}[ ]*{N}"
)
_CLAUSE_END = re.compile(r"[.!?:;(\n—]")
_PART = re.compile(rf"{N}(?: \S{{1,12}}){{0,2}} in\b", re.IGNORECASE)


class Span(NamedTuple):
    """A part of a text with signs for its numbers."""

    text: str
    values: dict[int, int | None]
    start: int
    end: int

    def numbers(self) -> list[int | None]:
        """The values of all candidates, in order."""
        return [self.values[place.start()] for place in re.compile(N).finditer(self.text, self.start, self.end)]

    def found(self, pattern: re.Pattern[str]) -> list[int | None]:
        """The value of the last candidate in each match of the pattern."""
        return [
            self.values[match.start() + match.group().rindex(N)]
            for match in self.matches(pattern)
            if N in match.group()
        ]

    def matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        return pattern.finditer(self.text, self.start, self.end)

    def after(self, start: int) -> "Span":
        return self._replace(start=start)


def count(numbered: Numbered, cautious: bool, unfinished: bool) -> int | None:
    """The number that a text answers. Cautious: only where a rule tells which; unfinished: only where a marker does, if
    the text seems to work it out step by step."""
    text, values = numbered
    turn = before_next_turn(text)
    rules = [*_RULES, *([] if unfinished else [_made, _summed]), _stated, *([] if cautious or unfinished else [_all])]
    if unfinished and _STEPS.search(turn):
        rules = [_strong]
    text = candidates(turn, values, cautious or unfinished)
    span = Span(text, values, 0, len(text))
    taken_back, said_again = retractions.corrected(text, values)
    if unfinished and said_again > taken_back:  # A count on its way is said again and again.
        rules = [_strong]
    return _first(span.after(max(taken_back, said_again)), rules)


def before_next_turn(text: str) -> str:
    """A text up to where it asks the next question itself."""
    turn = _TURN.search(text)
    return text[: turn.start()] if turn else text


def _first(span: Span, rules: list[Callable[[Span], list[int | None]]]) -> int | None:
    """What the first rule that finds anything finds, if that is one number."""
    for find in rules:
        said = set(find(span))
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def _marked(span: Span, marker: re.Pattern[str]) -> list[int | None]:
    """What the last marker with candidates after it on its line (or the next) says."""
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
        return [_first(rest, [_calculated, _in_all, _stated, _all] if marker is _STRONG else [_calculated, _stated])]
    return []


def _strong(span: Span) -> list[int | None]:
    return _marked(span, _STRONG)


def _weak(span: Span) -> list[int | None]:
    return [said for said in _marked(span, _WEAK) if said is not None]


def _in_all(span: Span) -> list[int | None]:
    return span.found(_IN_ALL)[-1:]


def _alone(span: Span) -> list[int | None]:
    """Numbers on lines of their own, and one that opens the text as its first sentence, with one that closes it so."""
    opening = _OPENS.match(span.text, span.start, span.end)
    sentences = [span.values[opening.end() - 1], *span.found(_CLOSES)] if opening else []
    lines = [span._replace(start=line.start(), end=line.end()) for line in span.matches(_ALONE)]
    return [number for line in lines for number in line.numbers()] + sentences


def _calculated(span: Span) -> list[int | None]:
    """The last result; none of which another calculation follows that has no result yet."""
    ends = [match.end() for match in _CALCULATED.finditer(span.text, span.start, span.end)]
    unfinished = ends and _CALCULATION.search(span.text, ends[-1], span.end)
    return [None] if unfinished else span.found(_CALCULATED)[-1:]


def _made(span: Span) -> list[int | None]:
    """What the last breakdown is said to make."""
    return span.found(_MADE)[-1:]


def _summed(span: Span) -> list[int | None]:
    """The last number, if it is said to be something and is the sum of all others, of which nothing such is said."""
    *parts, last = span.numbers() or [None]
    said = list(_SUMMED.finditer(span.text, span.start, span.end))
    if len(parts) < 2 or None in parts or len(said) != 1 or span.text.find(N, said[0].end(), span.end) >= 0:
        return []
    return [last] if last == sum(part for part in parts if part is not None) else []


def _stated(span: Span) -> list[int | None]:
    """What statements say; one whose clause goes on with other numbers says its first if that is their sum."""
    said: list[int | None] = []
    done = span.start
    for match in _STATED.finditer(span.text, span.start, span.end):
        if match.start() < done:
            continue
        starts = [end.end() for end in _CLAUSE_END.finditer(span.text, done, match.start())]
        end = _CLAUSE_END.search(span.text, match.end(), span.end)
        close = end.start() if end else span.end
        said.append(_total(Span(span.text, span.values, starts[-1] if starts else done, close)))
        done = close
    return said


def _all(span: Span) -> list[int | None]:
    return [_total(span)] if span.numbers() else []


def _total(span: Span) -> int | None:
    """The number of a clause: all are the same, or the first is the sum of the others, its breakdown."""
    first, *others = span.numbers()
    if first is None or None in others:
        return None
    if len(others) > 1 and first == sum(number for number in others if number is not None):
        return first
    parts = len(_PART.findall(span.text, span.start, span.end))
    return first if set(others) <= {first} and parts < 2 else None


# What says by itself which number is the answer.
_RULES: list[Callable[[Span], list[int | None]]] = [_strong, _in_all, _weak, _alone, _calculated]
