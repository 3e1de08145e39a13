"""Which number of a text is its answer: the rules of the grammar in harness.answers, one function each."""

# ruff: noqa: RUF001 (signs that look like others are what is read here)

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from harness.answers.numerals import ASIDE, MARKER, NUMBER, Numbered

N, ANY = NUMBER, f"[{NUMBER}{ASIDE}]"
_LIST = rf"{N}(?:[ ]*(?:,|and|&|,[ ]*and|to|through|-|–|y|et|und|和|,)[ ]*{N}){{0,60}}"
_SYMBOL = r"[ ]*(?:[+*×·÷/✕^]|\*\*|x\b|乘以|加|减|除以)[ ]*\(?"
_OPERATOR = rf"(?:{_SYMBOL}|[ ](?:times|plus|minus|less|take away|subtracted by|multiplied by|divided by|por|mal|fois))"
_EQUALS = r"(?:=|equals|is|makes|gives|es|ist|est|fait|等于|是)"
_SIDE = r"(?:letters?|characters?|chars|words?|items?|entries|elements|syllables|vowels|consonants|字母|个字母)"


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


# Numbers that say where, which or how, not how many. They are no candidates.
_ASIDES = [
    _rule(rf"\b(?:positions?|index|indices|indexes|places?|spots?|slots?|steps?|lines?|numbers? at|option|part|round)\b"
          rf"[ ]*[:#]?[ ]*(?:is |are |number )?\(?{_LIST}"),
    _rule(rf"\b(?:letters?|characters?|word|item|(?<=\w )no\.|number) ?#?{_LIST}(?=[ ]*(?:[:,.;)(]|is\b|are\b|$))"),
    _rule(rf"第[ ]*{N}|#{N}|posici(?:ón|ones) {_LIST}|\bStellen? {_LIST}"),
    _rule(rf"(?<![\w'])[\"']?\w[\"']? ?\(#?{N}\)|{N} ?\([\"']?[^\W\d][\"']?\)"),  # r (1); 3 (r)
    _rule(rf"{N}(?:[ ]*\)?{_OPERATOR}[ ]*{N})+"
          rf"|{ANY}(?:\)? ?- ?\(?{ANY}){{1,20}}(?=\)?(?: ?{_EQUALS}|:|,? (?:you|we|I) get| ?(?:→|->|=>)))"),
    _rule(rf"\b(?:product|sum|difference|quotient) (?:of|between) {N} and {N}"
          rf"|\bmultipl\w+ {N} (?:by|and|with) {N}|{N} (?:squared|cubed)\b|\bso far:? {N}|{N}(?: \w+)? so far\b"),
    _rule(rf"^(?:in|as of|since) {N},"),
    _rule(rf"\b(?:out of|not|isn't|aren't|instead of|rather than) (?:just |only |exactly |the )?{N}"),
]  # fmt: skip
_CHECK = _rule(rf"\b(?:verif\w+|check\w*|proof|because|since|as)\b[^.\n{N}]{{0,60}}{ASIDE}[ ]*\)?[ ]*{_EQUALS}[ ]*{N}")
# Answers that are taken back. They are none where there are others.
_MENTIONS = [
    _rule(
        r"\b(?:earlier|previous|initial|original|old|former|prior)(?: \w+)?"
        r" (?:answer|count|response|guess|reply|total)\b"
        rf"[^.\n;{N}]{{0,24}}{N}"
    ),
    _rule(
        r"\bI (?:\w+ )?(?:said|thought|claimed|stated|counted)"
        r" (?:that )?(?:the answer was|there (?:were|was|are|is)|it was)?"
        rf"[ ]*{N}(?=[^.\n{N}]{{0,40}}\b(?:but|was|is) )"
    ),
]
_LENGTHS = _rule(rf"{N} (?:\w+ )?{_SIDE}(?!\w)(?! (?:[\"']|[b-z]\b))(?:(?: long)?)|{N}个(?:字母|字符|单词|词)")
_ITEM = re.compile(rf"(?<!\S){N}[.):](?=(?P<more>[ \t]+\S)|\s|$)")
_BOUND = _rule(
    rf"(?:\b(?:at least|at most|(?:more|fewer|less|greater) than|up to|over|under)|(?<![-=])[<>≤≥]) ?{N}"
    rf"|{N}(?:\+| or more| or fewer)"
)

_TURN = _rule(rf"(?<=\S)\s*\n\s*(?:Question|Q|User|Human|Problem|问题)(?: ?{N})?[:.]")
_STEPS = _rule(
    r"\b(?:first(?:ly)?,|next,"
    r"|(?:steps?|let's|let us|let me|break (?:it|this|that|down)|one by one|we (?:need|have|can|must))\b)"
    rf"|^[ \t]*(?:[-*•]|{N}[.)])[ \t]"
)
_CORRECTION = _rule(
    rf"(?:^|(?<=[.!?,;:] ))actually\b|\bactually,|[—–] ?actually\b"
    rf"|\b(?:wait|correction|scratch that|on second thought|I (?:made a mistake|miscounted|misspoke|mean)"
    rf"|let me (?:re-?count|re-?check|double[- ]check|try again|correct)|no,? (?={N}|it's|it is|there are))"
)
_STRONG = _rule(
    rf"{MARKER}|\b(?:(?:final |correct |right |short )?answer|antwort|réponse|respuesta|resposta|risposta|ответ|उत्तर)\b"
    rf"[\"']?(?: (?:to|for) [^.:\n{N}]{{1,80}}?)?[ ]*(?::|=|है"
    r"|\b(?:is|was|would be|should be|ist|lautet|est|es|è|é)\b(?: that)?[ ]*:?)"
    r"|(?:答案|答|الجواب|الإجابة)[ ]*(?:是|为|هو|هي)?[ ]*:?|^A:"
)
_WEAK = _rule(
    r"\b(?:so(?! far)|therefore|thus|hence|in total|altogether|overall|in conclusion|in summary|to sum up)\b,?"
    r"|\b(?:my )?(?:best )?guess(?: is| would be|:)"
    r"|\b(?:I think|I believe|I'd say|I would say|maybe|perhaps|probably|might be|could be)\b"
    r"|\b(?<!me )(?<!us )(?<!let's )(?<!to )(?:total|sum|count|result|número|nombre|anzahl|gesamt|output|value)\b"
    rf"(?: (?:number|count|amount))?(?: of [^.:\n{N}]{{1,60}}?)?[\"']?[ ]*(?::|=|is\b|was\b|of\b|comes to\b)"
    rf"|\b(?:the )?number of [^.:\n{N}]{{1,60}}? (?:is|are|=)"
    r"|\b(?:donc|por lo tanto|итого)\b,?|(?:所以|因此|一共|总共|共)"
)
_IN_ALL = _rule(
    rf"{N}[^{N}.,\n]{{0,40}}\b(?:in total|altogether|in all|overall|insgesamt|total(?! ?(?:of\b|is\b|[:=])))\b"
)
_JUST = r"(?:only|exactly|just|a total of|about|approximately|around|roughly|also|actually|in fact|precisely|~)"
_STATED = _rule(
    rf"(?:\b(?:there(?:'s| is| are| was| were)|there appears? to be|it's|that's|they're"
    rf"|contains?|includes?|has|have|had|appears?|occurs?|shows? up"
    rf"|is (?:used|repeated|found|mentioned|present)|(?:used|repeated|found|mentioned)"
    rf"|I (?:count|counted|see|found|find|get|got)|you get"
    rf"|equals?|is|are|be|hay|tiene|aparece|il y a|contient|a|apparaît|gibt es|enthält|hat|kommt|há|tem|ci sono)"
    rf"|[有现了共是为于=])[ :]*(?:{_JUST}[ ]*){{0,2}}{N}(?!\w)"
    rf"|{N} (?:times?|occurrences?|instances?|mal|veces|vez|fois|vezes|volte|раза?|बार|مرات|مرة)\b|{N}[ ]*[次个個]"
)
_CALCULATED = _rule(rf"(?:{ASIDE}[ ]*\)?[ ]*{_EQUALS}|\+[^=+\n]{{0,40}}=)[ ]*{N}(?!\)?{_OPERATOR}[ ]*{ANY})")
_CALCULATION = _rule(rf"{ANY}\)?{_OPERATOR}[ ]*{ANY}")
_ALONE = _rule(rf"^[^\w{NUMBER}{ASIDE}\n]*{N}(?:[^\w{NUMBER}{ASIDE}\n]|\({N}\))*$")
_OPENS = re.compile(
    rf"[^\w{NUMBER}{ASIDE}]*{N}(?! ?\([^)\n]{{0,40}}\)[ ]*[+×*x])"
    rf"(?=\.(?!\.)|[!;(—)}}\]\n]|,[ ]*(?:because|since|as|with|which|namely|at|I)\b"
    rf"|[ ]+[(—–-][ ]*(?:\w|{N} (?:in|at|from)\b)|[ ]*$)"
)
_OPENS_AFTER_MARKER = re.compile(
    rf"[\s\"'(\[{{:~-]*(?:(?:equal to|exactly|only|just|about|approximately)[ ]*)?(?P<n>{N})"
    rf"(?![ ]*(?:,|or|to|and|-|–|/|,[ ]*or|,[ ]*and)?[ ]*{ANY})(?!{_OPERATOR}[ ]*{ANY})"
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
        matches = pattern.finditer(self.text, self.start, self.end)
        return [self.values[match.start() + match.group().rindex(N)] for match in matches if N in match.group()]

    def after(self, start: int) -> "Span":
        return self._replace(start=start)


def count(numbered: Numbered, cautious: bool, unfinished: bool) -> int | None:
    """The number that a text answers. Cautious: only where a rule tells which; unfinished: only where a marker does, if
    the text seems to work it out step by step."""
    text, values = numbered
    turn = before_next_turn(text)
    rules = [*_RULES, _all]
    if unfinished and _STEPS.search(turn):
        rules = [_strong]
    elif cautious or unfinished:
        rules = _RULES
    text = _without_asides(turn, values)
    short = _LENGTHS.sub(_as_aside, text)
    if NUMBER in short or cautious or unfinished:
        text = short
    text = _without_checks(text, values)
    for mention in _MENTIONS:
        rest = mention.sub(_as_aside, text)
        text = rest if NUMBER in rest else text
    span = Span(text, values, 0, len(text))
    corrections = [match.end() for match in _CORRECTION.finditer(text)]
    if corrections and span.after(corrections[-1]).numbers():
        return _first(span.after(corrections[-1]), rules)
    return _first(span, rules)


def before_next_turn(text: str) -> str:
    """A text up to where it asks the next question itself."""
    turn = _TURN.search(text)
    return text[: turn.start()] if turn else text


def _first(span: Span, rules: list[Callable[[Span], list[int | None]]]) -> int | None:
    """What the first rule that finds anything finds, if that is one number."""
    for rule in rules:
        said = set(rule(span))
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def _as_aside(match: re.Match[str]) -> str:
    return match.group().replace(NUMBER, ASIDE)


def _without_asides(text: str, values: dict[int, int | None]) -> str:
    for match in _BOUND.finditer(text):
        values[match.start() + match.group().index(N)] = None
    text = _without_list_markers(text, values)
    for aside in _ASIDES:
        text = aside.sub(_as_aside, text)
    return text


def _without_checks(text: str, values: dict[int, int | None]) -> str:
    """Calculations that show another answer to be right, which stands in them: "12, because 12 x 48 = 576"."""

    candidates = Counter(values[place] for place, sign in enumerate(text) if sign == NUMBER)

    def check(match: re.Match[str]) -> str:
        operands = {values[match.start() + place] for place, sign in enumerate(match.group()) if sign == ASIDE}
        result = values[match.end() - 1]
        others = any(candidates[operand] > (operand == result) for operand in operands)
        return re.sub(ANY, " ", match.group()) if others else match.group()

    return _CHECK.sub(check, text)


def _without_list_markers(text: str, values: dict[int, int | None]) -> str:
    """The items of lists 1. 2. 3. A lone "1." is one where it begins a line; a lone "3." is an answer."""
    items = list(_ITEM.finditer(text))
    last, places, previous = 0, set(), 0
    for index, item in enumerate(items):
        place, value = item.start(), values[item.start()]
        line = text.rfind("\n", 0, place) + 1
        begins_line = place - line < 20 and not text[line:place].strip(" \t-*>")
        goes_on = index + 1 < len(items) and values[items[index + 1].start()] == 2
        if value == 1 and item["more"] and (begins_line or goes_on):
            last = 1
        elif value is not None and last and value == last + 1 and (begins_line or (item["more"] and line <= previous)):
            last = value
        else:
            continue
        places.add(place)
        previous = place
    signs = list(text)
    for place in places:
        signs[place] = ASIDE
    return "".join(signs)


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
    """Numbers on lines of their own, and one that opens the text as its first sentence."""
    opening = _OPENS.match(span.text, span.start, span.end)
    return span.found(_ALONE) + ([span.values[opening.end() - 1]] if opening else [])


def _calculated(span: Span) -> list[int | None]:
    """The last result; none of which another calculation follows that has no result yet."""
    ends = [match.end() for match in _CALCULATED.finditer(span.text, span.start, span.end)]
    unfinished = ends and _CALCULATION.search(span.text, ends[-1], span.end)
    return [None] if unfinished else span.found(_CALCULATED)[-1:]


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


_RULES: list[Callable[[Span], list[int | None]]] = [_strong, _in_all, _weak, _alone, _calculated, _stated]
