"""Excludes numbers that cannot be the answer: positions, operands, bounds, parts, retracted and alternative numbers."""

# ruff: noqa: RUF001 (ambiguous characters are intended: they occur in model outputs)

import re
from collections import Counter

from fflm_data.answers.numerals import MARKER, NUMBER, OTHER

# N matches a candidate, ANY any number.
N, ANY = NUMBER, f"[{NUMBER}{OTHER}]"
_LIST = rf"{N}(?:[ ]*(?:,|and|&|,[ ]*and|to|through|-|–|y|et|und|和|,)[ ]*{N}){{0,60}}"
_SYMBOL = r"[ ]*(?:[+*×·÷/✕^]|\*\*|x\b|乘以|加|减|除以)[ ]*\(?"
OPERATOR = rf"(?:{_SYMBOL}|[ ](?:times|plus|minus|less|take away|subtracted by|multiplied by|divided by|por|mal|fois))"
EQUALS = r"(?:=|equals|is|makes|gives|es|ist|est|fait|等于|是)"
# Things that may follow a number, and the end of a clause after a number.
THINGS = r"(?: (?:times|occurrences?|instances?|of them|in total|[\"']?[^\W\d_][\"']?(?:'?s)?)(?!\w)){0,3}"
ENDS = rf"(?=[^\w{N}{OTHER},?/]*(?:$|[.!;)\]—] ?(?!\d))|,? (?:because|since|as|not|instead)\b| [—–-] )"
_SIDE = r"(?:letters?|characters?|chars|words?|items?|entries|elements|syllables|vowels|consonants|字母|个字母)"


def rule(pattern: str) -> re.Pattern[str]:
    """Compiles a pattern with the flags that all rules use."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


# Numbers that are positions, ordinals, operands and the like instead of counts.
_NON_COUNTS = [
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
_CHECK = rule(rf"\b(?:verif\w+|check\w*|proof|because|since|as)\b[^.\n{N}]{{0,60}}{OTHER}[ ]*\)?[ ]*{EQUALS}[ ]*{N}")
_MAYBE = r"(?:maybe|perhaps|possibly|arguably|alternatively|potentially)"
_HEDGE = rf"(?:{_MAYBE}|(?:could|might|may) be)"
# Retracted answers. They are excluded only if other candidates remain.
_RETRACTED = [
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
# Alternatives between which the text does not decide: "2 (or 3)", "2, maybe 3", "2 (3 if you count the capital)".
_LINK = rf"[^\w\n{N}{OTHER}]{{1,6}}"
_LINKING = (
    r"(?:but|though|although|and|hmm?|is|was|are|were|it's|it|that's|that|there|should|would|could|might|may|be|also|even"
    rf"|else|just|or|{_MAYBE})\b"
)
_ALTERNATIVES = [
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
# Parts of the preceding number: "3 r's, two of which are adjacent"; not "24 words, 5 of which are 'apple'".
_OF_THEM = r"of (?:which|whom|them|these|those)\b"
_LETTER_OF = (
    r"(?: (?:times|occurrences?|instances?|of them|[\"']?[^\W\d][\"']?(?:'?s)?|letters? [\"']?[^\W\d][\"']?(?:'?s)?))"
)
_PARTS = rule(
    rf"(?:{N}{_LETTER_OF}?[,;](?: with| and| including| no)? ){N}(?= {_OF_THEM})"
    rf"|(?:{N}{_LETTER_OF}?[,;] {_OF_THEM},? ){N}|(?:^[ ]*|\band ){N}(?= of which\b)"
)
_LISTED_TOTAL = rule(rf"{N}(?= [^\W\d]{{3,20}}, {N} {_OF_THEM} (?:is|are) [\"'])")
_LENGTHS = rule(rf"{N} (?:\w+ )?{_SIDE}(?!\w)(?! (?:[\"']|[b-z]\b))(?:(?: long)?)|{N}个(?:字母|字符|单词|词)")
_ITEM = re.compile(rf"(?<!\S){N}[.):](?=(?P<more>[ \t]+\S)|\s|$)")
_BOUND = rule(
    r"(?:\b(?:at least|at most|(?:more|fewer|less|greater) than|over|under"
    rf"|(?<!adds )(?<!add )(?<!adding )(?<!sums )up to)|(?<![-=])[<>≤≥]) ?{N}"
    rf"|{N}(?:\+| or more| or fewer)"
)
# The exact number after a bound: ": 3", ", namely 3", " (3, to be exact)".
_UPPER = rule(r"at most|fewer|less|under|up to|[<≤]")
_EXACT = rule(
    rf"{THINGS}(?:[:;]|,? ?[—–(;,-]? ?(?:namely|exactly|in fact|specifically|precisely|i\.e\.),?| [—–-]| (?=\()) ?\(?"
    rf"(?:exactly )?{N}(?={THINGS}(?:{ENDS}|, to be (?:exact|precise)))"
)
# "3 [1, 2]", "three r's in it [1][2]", "3 [[1]]"
_REFERENCE = rule(
    rf"{N}[^\n{N}{OTHER}[\]]{{0,60}}?(?P<marks>(?:[ ]?\(?\[{{1,2}}{N}(?:,[ ]?{N}){{0,9}}\]{{1,2}}\)?)+)"
    r"(?=[^\w[(]*$|[.,;])"
)
_MARK = rule(rf"(?:^|[ ])\[{N}(?=\](?::?[ ]|[.,;]|$))")


def exclude_non_candidates(text: str, values: dict[int, int | None], strict: bool) -> str:
    """Replaces NUMBER by OTHER for numbers that cannot be the answer. Sets ambiguous numbers in `values` to None.

    strict: also exclude the length of the word or list if there is no other candidate.
    """
    text = _exclude_non_counts(text, values)
    without_lengths = _LENGTHS.sub(_exclude, text)
    if NUMBER in without_lengths or strict:
        text = without_lengths
    text = _exclude_verifications(text, values)
    for pattern in _RETRACTED:
        remaining = pattern.sub(_exclude, text)
        text = remaining if NUMBER in remaining else text
    return text


def _exclude(match: re.Match[str]) -> str:
    return match.group().replace(NUMBER, OTHER)


def _exclude_last(match: re.Match[str]) -> str:
    """Excludes only the last number of a match, which is a part of the first."""
    before, _, after = match.group().rpartition(NUMBER)
    return f"{before}{OTHER}{after}"


def _exclude_non_counts(text: str, values: dict[int, int | None]) -> str:
    text = _exclude_bounds(text, values)
    text = _exclude_references(text, values)
    text = _exclude_list_markers(text, values)
    for pattern in _NON_COUNTS:
        text = pattern.sub(_exclude, text)
    text = _LISTED_TOTAL.sub(_exclude, text)
    text = _PARTS.sub(_exclude_last, text)
    for pattern in _ALTERNATIVES:
        for match in pattern.finditer(text):
            positions = [index for index, character in enumerate(match.group(), match.start()) if character == N]
            if len({values[position] for position in positions}) > 1:
                values.update(dict.fromkeys(positions))
    return text


def _exclude_bounds(text: str, values: dict[int, int | None]) -> str:
    """Sets bounds to None. Excludes a bound that is followed by the exact number, as in "more than 2: 3"."""
    characters = list(text)
    for match in _BOUND.finditer(text):
        position = match.start() + match.group().index(N)
        exact = _EXACT.match(text, match.end())
        bound, number = values[position], values[exact.end() - 1] if exact else None
        values[position] = None
        low, high = (number, bound) if _UPPER.search(match.group()) else (bound, number)
        if low is not None and high is not None and low < high:
            characters[position] = OTHER
    return "".join(characters)


def _exclude_references(text: str, values: dict[int, int | None]) -> str:
    """Excludes reference marks after a number, as in "3 [1]", and the list of references. They are numbered from 1."""
    characters: list[str] = list(text)
    marks: set[int | None] = set()
    for match in _REFERENCE.finditer(text):
        positions = [index for index in range(match.start("marks"), match.end()) if text[index] == N]
        if values[positions[0]] == 1:
            marks |= {values[position] for position in positions}
            for position in positions:
                characters[position] = OTHER
    for match in _MARK.finditer(text) if marks else ():
        number = values[match.end() - 1]
        if number in marks or number == len(marks) + 1:
            marks.add(number)
            characters[match.end() - 1] = OTHER
    return "".join(characters)


def _exclude_verifications(text: str, values: dict[int, int | None]) -> str:
    """Removes calculations that verify another candidate, which is their operand: "12, because 12 x 48 = 576"."""
    counts = Counter(values[index] for index, character in enumerate(text) if character == NUMBER)

    def remove(match: re.Match[str]) -> str:
        operands = {values[index] for index in range(match.start(), match.end()) if text[index] == OTHER}
        result = values[match.end() - 1]
        verifies = any(counts[operand] > (operand == result) for operand in operands)
        return re.sub(ANY, " ", match.group()) if verifies else match.group()

    return _CHECK.sub(remove, text)


def _exclude_list_markers(text: str, values: dict[int, int | None]) -> str:
    """Excludes the numbers of list items 1. 2. 3. A single "1." is one if it begins a line, a single "3." is not."""
    items = list(_ITEM.finditer(text))
    last, positions, previous = 0, set(), 0
    for index, item in enumerate(items):
        position, value = item.start(), values[item.start()]
        line = text.rfind("\n", 0, position) + 1
        begins_line = position - line < 20 and not text[line:position].strip(" \t-*>")
        continues = index + 1 < len(items) and values[items[index + 1].start()] == 2 and items[index + 1]["more"]
        if value == 1 and item["more"] and (begins_line or continues):
            last = 1
        elif value is not None and last and value == last + 1 and (begins_line or (item["more"] and line <= previous)):
            last = value
        else:
            continue
        positions.add(position)
        previous = position
    characters = list(text)
    for position in positions:
        characters[position] = OTHER
    return "".join(characters)
