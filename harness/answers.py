"""What number a completion says. One number or none: nothing is half right.

An integer in digits ("3", "3.", "**3**", "1,400") or words ("three", "twenty-one") counts; the same
number twice is one number; several different ones, a fraction, one with a word such as hundred or
minus, or none is a parse failure. So is a number at the very end of an output that was cut off: its
last digits are not known.
"""

import re

UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

_WORDS = {word: number for number, word in enumerate(UNITS)} | {word: 20 + 10 * i for i, word in enumerate(TENS)}
_COMPOUNDS = rf"(?P<tens>{'|'.join(TENS)})[- ](?P<unit>{'|'.join(UNITS[1:10])})"
_NUMBER = re.compile(
    rf"(?<![\w.,/])(?:(?P<digits>[-\u2212]?(?:\d{{1,3}}(?:,\d{{3}}){{1,4}}|\d{{1,15}})(?P<fraction>\.\d{{1,15}})?)"
    rf"|{_COMPOUNDS}|(?P<word>{'|'.join(_WORDS)}))"
    r"(?!\w)(?![.,/]?\d)",
    re.IGNORECASE,
)

# Words that make another number of the one beside them; none is read in part.
_SCALE = re.compile(r"\b(?:hundred|thousand|million|billion|dozen|half|halves|thirds|quarters|minus)\b", re.IGNORECASE)


_FIRST_LINE = re.compile(r"\s*\S.*\n")


def is_complete(text: str) -> bool:
    """Whether a completion has written a line that says something, so that nothing after it is asked for."""
    return _FIRST_LINE.match(text) is not None


def first_line(text: str) -> str:
    """What counts of a completion: a token that ends the line may bring the beginning of the next."""
    line = _FIRST_LINE.match(text)
    return line.group() if line else text


def parse(text: str, cut_off: bool = False) -> int | None:
    """The number that a text says; None if it says none, several, or was cut off in one."""
    found = list(_NUMBER.finditer(text))
    if _SCALE.search(text):
        return None
    if cut_off and found and found[-1].end() == len(text):
        return None
    numbers = {_value(match) for match in found}
    number = numbers.pop() if len(numbers) == 1 else None
    return int(number) if number is not None and number == int(number) else None


def _value(match: re.Match[str]) -> float:
    if match["digits"]:
        text = match["digits"].replace(",", "").replace("\u2212", "-")
        return float(text) if match["fraction"] else int(text)
    if match["tens"]:
        return _WORDS[match["tens"].lower()] + _WORDS[match["unit"].lower()]
    return _WORDS[match["word"].lower()]
