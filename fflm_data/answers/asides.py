"""Which numbers of a text are no answers: places, operands, bounds, parts, what is taken back or left open."""

# ruff: noqa: RUF001 (signs that look like others are what is read here)

import re
from collections import Counter

from fflm_data.answers.numerals import ASIDE, MARKER, NUMBER

N, ANY = NUMBER, f"[{NUMBER}{ASIDE}]"
_LIST = rf"{N}(?:[ ]*(?:,|and|&|,[ ]*and|to|through|-|–|y|et|und|和|,)[ ]*{N}){{0,60}}"
_SYMBOL = r"[ ]*(?:[+*×·÷/✕^]|\*\*|x\b|乘以|加|减|除以)[ ]*\(?"
OPERATOR = rf"(?:{_SYMBOL}|[ ](?:times|plus|minus|less|take away|subtracted by|multiplied by|divided by|por|mal|fois))"
EQUALS = r"(?:=|equals|is|makes|gives|es|ist|est|fait|等于|是)"
# What may be counted after a number, and what ends a clause after it.
THINGS = r"(?: (?:times|occurrences?|instances?|of them|in total|[\"']?[^\W\d_][\"']?(?:'?s)?)(?!\w)){0,3}"
ENDS = rf"(?=[^\w{N}{ASIDE},?/]*(?:$|[.!;)\]—] ?(?!\d))|,? (?:because|since|as|not|instead)\b| [—–-] )"
_SIDE = r"(?:letters?|characters?|chars|words?|items?|entries|elements|syllables|vowels|consonants|字母|个字母)"


def rule(pattern: str) -> re.Pattern[str]:
    """A pattern as all rules are: in any case, line by line."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


# Numbers that say where, which or how, not how many. They are no candidates.
_ASIDES = [
    rule(rf"\b(?:positions?|index|indices|indexes|places?|spots?|slots?|steps?|lines?|numbers? at|option|part|round)\b"
          rf"[ ]*[:#]?[ ]*(?:is |are |number )?\(?{_LIST}"),
    rule(rf"\b(?:letters?|characters?|word|item|(?<=\w )no\.|number) ?#?{_LIST}(?=[ ]*(?:[:,.;)(]|is\b|are\b|$))"),
    rule(rf"第[ ]*{N}|#{N}|posici(?:ón|ones) {_LIST}|\bStellen? {_LIST}"),
    rule(rf"(?<![\w'])[\"']?\w[\"']? ?\(#?{N}\)|{N} ?\([\"']?[^\W\d][\"']?\)"),  # r (1); 3 (r)
    rule(rf"{N}(?:[ ]*\)?{OPERATOR}[ ]*{N})+"
          rf"|{ANY}(?:\)? ?- ?\(?{ANY}){{1,20}}(?=\)?(?: ?{EQUALS}|:|,? (?:you|we|I) get| ?(?:→|->|=>)))"),
    rule(rf"\b(?:product|sum|difference|quotient) (?:of|between) {N} and {N}"
          rf"|\bmultipl\w+ {N} (?:by|and|with) {N}|{N} (?:squared|cubed)\b|\bso far:? {N}|{N}(?: \w+)? so far\b"),
    rule(rf"^(?:in|as of|since) {N},"),
    rule(rf"{N}(?: times)? in a row\b"),
    rule(rf"\b(?:out of|not|isn't|aren't|instead of|rather than) (?:just |only |exactly |the )?{N}"),
]  # fmt: skip
_CHECK = rule(rf"\b(?:verif\w+|check\w*|proof|because|since|as)\b[^.\n{N}]{{0,60}}{ASIDE}[ ]*\)?[ ]*{EQUALS}[ ]*{N}")
_MAYBE = r"(?:maybe|perhaps|possibly|arguably|alternatively|potentially)"
_HEDGE = rf"(?:{_MAYBE}|(?:could|might|may) be)"
# Answers that are taken back. They are none where there are others.
_MENTIONS = [
    rule(rf"\b{_HEDGE} {N}(?=,? but (?:it's|it is|there are) {N})"),
    rule(
        r"\b(?:sorry|apolog\w+|mistake|mistaken|wrong|errors?)\b[^.\n]{0,30}?"
        rf"\b(?:saying|answering|claiming|counting|said|answered|counted) {N}"
    ),
    rule(
        r"\b(?:first|earlier|previous|initial|original|old|former|prior)(?: \w+)?"
        r" (?:answer|count|response|guess|reply|total)\b"
        rf"[^.\n;{N}]{{0,24}}{N}"
    ),
    rule(
        r"\bI (?:\w+ )?(?:said|thought|claimed|stated|counted)"
        r" (?:that )?(?:the answer was|there (?:were|was|are|is)|it was)?"
        rf"[ ]*{N}(?=[^.\n{N}]{{0,40}}\b(?:(?:but|was|is) |earlier\b|before\b|previously\b|at first\b|initially\b))"
    ),
]
# Numbers that a text gives the choice between: "2 (or 3)", "2, maybe 3", "2 (3 if you count the capital)".
_LINK = rf"[^\w\n{N}{ASIDE}]{{1,6}}"
_LINKING = (
    r"(?:but|though|although|and|hmm?|is|was|are|were|it's|it|that's|that|there|should|would|could|might|may|be|also|even"
    rf"|else|just|or|{_MAYBE})\b"
)
_CHOICES = [
    rule(
        rf"{N}[}}\"']*(?: \([^()\n{N}]{{1,40}}\)|(?: (?!and\b)[\w'\"]{{1,14}}){{0,2}})[,;]?[ ]?[—–(-]*[ ]?"
        rf"(?:or(?: (?:{_MAYBE}|even|else))?|{_MAYBE})[, ]+[{MARKER}]?{N}|{N}\. {_MAYBE},? {N}"
    ),
    # "2 (or is it 3?)", "2. Maybe it's 3.", "2, but it could also be 3"; "2. Ah, 3?"
    rule(
        rf"{N}(?: (?!and\b)[\w'\"]{{1,14}}){{0,2}}(?:{_LINK}{_LINKING}){{0,4}}{_LINK}(?:or|{_MAYBE}|could|might|may)\b"
        rf"(?:{_LINK}{_LINKING}){{0,5}}{_LINK}{N}|{N}[.,;!…—]{{1,3}} (?:\w{{1,5}}, )?{N}\?"
    ),
    rule(rf"\b{_HEDGE} {N}[^\n{N}]{{0,60}}\b{_HEDGE} {N}"),
    rule(rf"{N}(?: [\w'\"]{{1,14}})? \({N}(?:\?| (?:if|when|with|including|counting|depending)\b)"),
    # "2 (some count 3)"
    rule(
        rf"{N}(?: [\w'\"]{{1,14}})? \((?:but |though |although )?(?:some|others|many|most)(?: \w+)?"
        rf" (?:count|say|see|get|find|claim|argue)(?: (?:that|it's|it as|there are|there is))? {N}"
    ),
    rule(
        rf"{N} (?:if|when)\b[^.\n]{{0,80}}\b(?:otherwise|else|if not|without)\b[^.\n{N}]{{0,20}}{N}"
        rf"|{N} (?:if|when)\b[^.\n{N}]{{0,60}}{N} (?:otherwise|else|if|when|without)\b"
    ),
]
# Parts of a number that was just said: "3 r's, two of which are adjacent"; not "24 words, 5 of which are 'apple'".
_OF_THEM = r"of (?:which|whom|them|these|those)\b"
_LETTER_OF = (
    r"(?: (?:times|occurrences?|instances?|of them|[\"']?[^\W\d][\"']?(?:'?s)?|letters? [\"']?[^\W\d][\"']?(?:'?s)?))"
)
_PARTS = rule(
    rf"(?:{N}{_LETTER_OF}?[,;](?: with| and| including| no)? ){N}(?= {_OF_THEM})"
    rf"|(?:{N}{_LETTER_OF}?[,;] {_OF_THEM},? ){N}|(?:^[ ]*|\band ){N}(?= of which\b)"
)
_WHOLE = rule(rf"{N}(?= [^\W\d]{{3,20}}, {N} {_OF_THEM} (?:is|are) [\"'])")
_LENGTHS = rule(rf"{N} (?:\w+ )?{_SIDE}(?!\w)(?! (?:[\"']|[b-z]\b))(?:(?: long)?)|{N}个(?:字母|字符|单词|词)")
_ITEM = re.compile(rf"(?<!\S){N}[.):](?=(?P<more>[ \t]+\S)|\s|$)")
_BOUND = rule(
    r"(?:\b(?:at least|at most|(?:more|fewer|less|greater) than|over|under"
    rf"|(?<!adds )(?<!add )(?<!adding )(?<!sums )up to)|(?<![-=])[<>≤≥]) ?{N}"
    rf"|{N}(?:\+| or more| or fewer)"
)
# The number itself after a bound: ": 3", ", namely 3", " (3, to be exact)".
_UPPER = rule(r"at most|fewer|less|under|up to|[<≤]")
_EXACT = rule(
    rf"{THINGS}(?:[:;]|,? ?[—–(;,-]? ?(?:namely|exactly|in fact|specifically|precisely|i\.e\.),?| [—–-]| (?=\()) ?\(?"
    rf"(?:exactly )?{N}(?={THINGS}(?:{ENDS}|, to be (?:exact|precise)))"
)
# "3 [1, 2]", "three r's in it [1][2]", "3 [[1]]"
_REFERENCE = rule(
    rf"{N}[^\n{N}{ASIDE}[\]]{{0,60}}?(?P<marks>(?:[ ]?\(?\[{{1,2}}{N}(?:,[ ]?{N}){{0,9}}\]{{1,2}}\)?)+)"
    r"(?=[^\w[(]*$|[.,;])"
)
_MARK = rule(rf"(?:^|[ ])\[{N}(?=\](?::?[ ]|[.,;]|$))")


def candidates(text: str, values: dict[int, int | None], strict: bool) -> str:
    """A text whose numbers that can be no answer are asides; in `values` those that say no one number have none.

    strict: whether the length of the word or list is none even where there is no other.
    """
    text = _without_asides(text, values)
    short = _LENGTHS.sub(_as_aside, text)
    if NUMBER in short or strict:
        text = short
    text = _without_checks(text, values)
    for mention in _MENTIONS:
        rest = mention.sub(_as_aside, text)
        text = rest if NUMBER in rest else text
    return text


def _as_aside(match: re.Match[str]) -> str:
    return match.group().replace(NUMBER, ASIDE)


def _last_as_aside(match: re.Match[str]) -> str:
    """Of what says a number and then a part of it, the part is left out."""
    before, _, after = match.group().rpartition(NUMBER)
    return f"{before}{ASIDE}{after}"


def _without_asides(text: str, values: dict[int, int | None]) -> str:
    text = _without_bounds(text, values)
    text = _without_references(text, values)
    text = _without_list_markers(text, values)
    for aside in _ASIDES:
        text = aside.sub(_as_aside, text)
    text = _WHOLE.sub(_as_aside, text)
    text = _PARTS.sub(_last_as_aside, text)
    for choice in _CHOICES:
        for match in choice.finditer(text):
            places = [place for place, sign in enumerate(match.group(), match.start()) if sign == N]
            if len({values[place] for place in places}) > 1:
                values.update(dict.fromkeys(places))
    return text


def _without_bounds(text: str, values: dict[int, int | None]) -> str:
    """Bounds have no value; one after which the number itself stands is none: "more than 2: 3"."""
    signs = list(text)
    for match in _BOUND.finditer(text):
        place = match.start() + match.group().index(N)
        exact = _EXACT.match(text, match.end())
        bound, number = values[place], values[exact.end() - 1] if exact else None
        values[place] = None
        low, high = (number, bound) if _UPPER.search(match.group()) else (bound, number)
        if low is not None and high is not None and low < high:
            signs[place] = ASIDE
    return "".join(signs)


def _without_references(text: str, values: dict[int, int | None]) -> str:
    """Marks of references after a number, "3 [1]", and the list of these; they are numbered from 1."""
    signs: list[str] = list(text)
    marks: set[int | None] = set()
    for match in _REFERENCE.finditer(text):
        places = [place for place in range(match.start("marks"), match.end()) if text[place] == N]
        if values[places[0]] == 1:
            marks |= {values[place] for place in places}
            for place in places:
                signs[place] = ASIDE
    for match in _MARK.finditer(text) if marks else ():
        number = values[match.end() - 1]
        if number in marks or number == len(marks) + 1:
            marks.add(number)
            signs[match.end() - 1] = ASIDE
    return "".join(signs)


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
        goes_on = index + 1 < len(items) and values[items[index + 1].start()] == 2 and items[index + 1]["more"]
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
