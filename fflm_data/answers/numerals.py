"""Finds numbers in digits or words and replaces each by one character, so that the rules can match it."""

# ruff: noqa: RUF001 (ambiguous characters are intended: they occur in model outputs)

import re
from typing import NamedTuple

UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

# Private use characters: a number that is a candidate, a number that is not, a marker of the answer.
NUMBER, OTHER, MARKER = "\ue000", "\ue001", "\ue002"
MAX_DIGITS = 18  # fits int64


class MarkedText(NamedTuple):
    """A text with NUMBER in place of each number, and the values by position (None: not an integer)."""

    text: str
    values: dict[int, int | None]


_GLUE = "√∛A-Za-zÀ-ÖØ-öø-\u024f\u0370-\u052f%¼½¾²³¹\u2070-\u209c"
_SPACES = "\u00a0\u2009\u202f"
_INTEGER = re.compile(rf"[-+]?(?:\d+|\d{{1,3}}([,'_{_SPACES}])\d{{3}}(?:\1\d{{3}})*)(?:\.0+)?")
_SMALL = rf"(?:(?:{'|'.join(TENS)})(?:[- ](?:{'|'.join(UNITS[1:10])}))?|{'|'.join(sorted(UNITS, key=len)[::-1])})"
_BELOW_1000 = rf"(?:(?:a|{'|'.join(sorted(UNITS[1:], key=len)[::-1])})[ ]hundred(?:[ ](?:and[ ])?{_SMALL})?|{_SMALL})"
_CARDINAL = rf"(?:(?:a|{_BELOW_1000})[ ]thousand(?:,?[ ](?:and[ ])?{_BELOW_1000})?|{_BELOW_1000})"
_OCCUR = r"(?:appear|occur|show[ ]up|exist)"
_LETTER = r"(?:letters?[ ])?(?:\"[a-z]\"|'[a-z]'|[b-z]')[\"']?s?"
_BARE = r"(?:letters?[ ])?[b-hj-z](?=[ ]*(?:[.,;!)]|in\b|$))"
_HAN = "〇零一二三四五六七八九"
_NUMBER = re.compile(
    rf"""(?P<before>[{_GLUE}]-?)?(?P<digits>(?:(?<![\w)+-])[-+]+)?(?<!\d)(?:(?<!\S)\.)?\d+(?:[.,:/'_{_SPACES}–-]\d+)*)
         (?P<after>-?[{_GLUE}][{_GLUE}\d.]*|[ ]%)?
         (?P<scale>[ -](?:hundred|thousand|million|billion|dozen|and[ ]a[ ]half)\b)?
       | (?<![\w-])(?P<words>{_CARDINAL}|a[ ]single|once|twice|thrice)(?![\w]|-[a-z])
         (?P<part>[ ](?:hundred|thousand|million|billion|dozen|and[ ]a[ ]half|half|thirds|quarters)\b)?
       | (?<![\w-])(?P<none>none(?:[ ]at[ ]all)?(?=[ ]*(?:[.!,;)]|in\b|of[ ]which\b|$))
           | not[ ]at[ ]all | never(?=[ ]{_OCCUR}s?\b|\W*$) | (?<=appears[ ])never | (?<=occurs[ ])never
           | (?:does|do|did)(?:n't|[ ]not)[ ]{_OCCUR}(?![ ](?:more|only|just|to|as|until|elsewhere|again|next|o?n?ce)\b)
           | (?:does|do)(?:n't|[ ]not)[ ](?:contain|have|include)
             [ ](?:the[ ](?:letter|word)\b|any\b|(?:an?[ ])?{_LETTER}|(?:an?[ ])?{_BARE})
           | (?:is|are)(?:n't|[ ]not)[ ](?:any\b|a[ ]single|an?[ ]{_LETTER}|(?:present|contained|found)[ ]in\b)
           | not[ ]a[ ]single | not[ ]even[ ]once
           | no[ ](?:times|occurrences?|instances?|{_LETTER}|{_BARE}))(?![a-z])
       | (?:^|(?<=[有共现了是为: ]))(?P<han>[{_HAN}两兩十]+)(?=[个個次遍]|[ ]*(?:[.!,]|$))""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_BEFORE_PRONOUN = re.compile(
    r"\b(?:the|this|that|each|every|which|another|last|next|first|second|third|fourth|fifth|\d{1,3}(?:st|nd|rd|th)|any|no|by|at)"
    r"(?: (?:correct|right|wrong|new|old|other|same))? $",
    re.IGNORECASE,
)
_AFTER_PRONOUN = re.compile(
    r" (?:by one|of the|of them|at a time|can|must|should|more|again|we|you|I)\b", re.IGNORECASE
)
_SIGN = re.compile(r"(?:^|[^\w)\s][ ]?|\b(?:is|be|was|equals|of|say|get|=)[ ])(?:minus|negative)[ ]$", re.IGNORECASE)
_VALUES = {word: n for n, word in enumerate(UNITS)} | {word: 20 + 10 * n for n, word in enumerate(TENS)}
_VALUES |= {"a": 1, "single": 0, "once": 1, "twice": 2, "thrice": 3, "and": 0}


def mark_numbers(text: str, cut_off: bool) -> MarkedText:
    """Replaces each number in a text by NUMBER. cut_off: a number at the very end may be incomplete (no value)."""
    parts: list[str] = []
    values: dict[int, int | None] = {}
    position = copied = 0
    end = len(text) - text.endswith(",")
    for match in _NUMBER.finditer(text):
        if match["before"] or match["after"] or _is_article(text, match) or _is_pronoun(text, match):
            continue
        # "does not contain r" becomes one character. The verb is kept: "the word 0" would be a position.
        verb = "is " if (match["none"] or "")[:2].lower() in ("do", "di", "is", "ar") else ""
        parts += [text[copied : match.start()], verb, NUMBER]
        position += match.start() - copied + len(verb)
        value = None if cut_off and match.end() >= end else _value(match)
        values[position] = -value if value is not None and _is_negative(text, match) else value
        position += 1
        copied = match.end()
    return MarkedText("".join([*parts, text[copied:]]), values)


def _is_negative(text: str, match: re.Match[str]) -> bool:
    """Whether a word negates the number, as in "minus 3", but not in "5 minus 3"."""
    return _SIGN.search(text[max(0, match.start() - 24) : match.start()]) is not None


def _is_article(text: str, match: re.Match[str]) -> bool:
    """Whether 一个 is an article ("a"). It is a count only after 有 (there is) and 现了 (appeared)."""
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    return match["han"] == "一" and after in "个個" and before in "是为: "


def _is_pronoun(text: str, match: re.Match[str]) -> bool:
    """Whether "one" or "once" is not a count: "one by one", "this one", "once more"."""
    before, after = text[max(0, match.start() - 16) : match.start()], text[match.end() : match.end() + 12]
    return (match["words"] or "").lower() in ("one", "once") and bool(
        _BEFORE_PRONOUN.search(before) or _AFTER_PRONOUN.match(after)
    )


def _value(match: re.Match[str]) -> int | None:
    if match["scale"] or match["part"]:
        return None
    if match["none"]:
        return 0
    if match["digits"]:
        return integer(match["digits"])
    if match["han"]:
        return _han(match["han"])
    total = 0
    for word in re.findall("[a-z]+", match["words"].lower()):
        if word == "hundred":
            total += 99 * (total % 1000)
        elif word == "thousand":
            total *= 1000
        else:
            total += _VALUES[word]
    return total


def integer(digits: str) -> int | None:
    """Parses an integer in ASCII digits, with or without thousands separators; None for other text."""
    if not _INTEGER.fullmatch(digits):
        return None
    plain = re.sub(rf"[,'_{_SPACES}]", "", digits.partition(".")[0])
    return int(plain) if len(plain.lstrip("+-")) <= MAX_DIGITS else None


def _han(numeral: str) -> int | None:
    tens, ten, units = numeral.replace("两", "二").replace("兩", "二").replace("零", "〇").partition("十")
    if "十" in units or max(len(tens), len(units)) > (1 if ten else MAX_DIGITS):
        return None
    digits = _HAN.replace("零", "")
    if not ten:
        return int("".join(str(digits.index(character)) for character in tens))
    return 10 * (digits.index(tens) if tens else 1) + (digits.index(units) if units else 0)
