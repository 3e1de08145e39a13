"""Detects confusable names: characters that look alike, and where a difference is significant.

A letter may look like a digit. Two digits never look alike: 1B is not 8B, and version 2 is not version 3. Names are
ASCII. Unicode's confusables (TR39) list O and 0, l, I and 1, m and rn; the other pairs look alike in the fonts of a
page.
"""

import re
from dataclasses import dataclass

# Characters that look alike in every position.
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "q": "g", "_": "", "-": "", ".": ""})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
# Digits that are read as letters within a word. Elsewhere digits are sizes and versions.
_WITHIN = str.maketrans("234789", "zeatbg")
# Letters that look like a digit unless both stand alone, and letters that a digit replaces between two letters.
_LOOKS = {"2": "z", "6": "bg", "8": "b", "9": "g"}
_READ_AS = {"3": "e", "4": "a", "7": "t"}
# Character classes that count as digits, in two readings of the characters between digits.
_DIGITS = ("0-9", "0-9loizsbgq")
_NUMBER = re.compile(r"[0-9,.]+[a-z]?")
# Billions, millions, thousands of parameters or tokens.
_UNITS = "bmkt"


@dataclass(frozen=True)
class _Sign:
    """A character of a name. alone: whether its word has only characters of its kind (a number with its unit, or
    letters). fixed: whether it is a unit. within: whether it has letters on both sides."""

    sign: str
    alone: bool
    fixed: bool
    within: bool

    def looks_like(self, second: "_Sign") -> bool:
        """Returns whether one character can be read as the other."""
        if self.sign == second.sign:
            return True
        if self.sign.isdigit() == second.sign.isdigit():
            return False
        digit, letter = (self, second) if self.sign.isdigit() else (second, self)
        if digit.within and letter.sign in _READ_AS.get(digit.sign, ""):
            return True
        return letter.sign in _LOOKS.get(digit.sign, "") and not letter.fixed and not (digit.alone and letter.alone)


def are_confusable(first: str, second: str) -> bool:
    """Returns whether two names look alike, with letters that look like digits read as letters or as digits."""
    return any(_look_alike(_signs(first, digits), _signs(second, digits)) for digits in _DIGITS)


def _look_alike(first: list[_Sign], second: list[_Sign]) -> bool:
    return len(first) == len(second) and all(
        mine.looks_like(theirs) for mine, theirs in zip(first, second, strict=True)
    )


def _signs(name: str, digits: str) -> list[_Sign]:
    """Returns the visible characters of a name: no case, no hyphens, look-alikes replaced by one character."""
    text = _with_commas(name, digits)
    signs: list[_Sign] = []
    for word in re.finditer(r"[^/_-]+|/", text):
        text_of_word = word[0]
        letters, number = text_of_word.replace(".", "").isalpha(), _NUMBER.fullmatch(text_of_word) is not None
        for place, sign in enumerate(text_of_word):
            before, after = text_of_word[place - 1 : place], text_of_word[place + 1 : place + 2]
            signs += [
                _Sign(
                    look_alike,
                    number if sign.isdigit() else letters,
                    sign in _UNITS and before.isdigit() and not after.isalnum(),
                    before.isalpha() and after.isalpha(),
                )
                for look_alike in sign.translate(_ALIKE)
            ]
    for pair, single in _PAIRS:
        signs = _joined(signs, pair, single)
    return signs


def _joined(signs: list[_Sign], pair: str, single: str) -> list[_Sign]:
    """Replaces each pair of characters by the single character that it looks like."""
    joined: list[_Sign] = []
    for sign in signs:
        if joined and joined[-1].sign + sign.sign == pair:
            joined[-1] = _Sign(single, sign.alone, fixed=False, within=sign.within)
        else:
            joined.append(sign)
    return joined


def skeleton(name: str, digits: str = "0-9") -> str:
    """Returns a name without case, hyphens and look-alike differences (the skeleton of TR39). A separator between two
    digits is kept: 1.3b is not 13b. digits: character class that counts as digits."""
    within = re.sub(r"(?<=[a-z])[0-9](?=[a-z])", lambda digit: digit[0].translate(_WITHIN), _with_commas(name, digits))
    alike = within.translate(_ALIKE)
    for pair, single in _PAIRS:
        alike = alike.replace(pair, single)
    return alike


def _with_commas(name: str, digits: str) -> str:
    return re.sub(rf"(?<=[{digits}])[._-]+(?=[{digits}])", ",", name.casefold())
