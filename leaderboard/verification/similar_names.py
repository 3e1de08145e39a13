"""Names that pass for one another on a page: which signs look alike, and where a difference counts.

A letter may look like a digit; two digits are never alike: 1B is not 8B, and version 2 is not version 3. Names are
ASCII, of which Unicode's confusables (TR39) know O and 0, l, I and 1, m and rn; the others are as alike in the letters
of a page.
"""

import re
from dataclasses import dataclass

# Signs that pass for one another wherever they stand.
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "q": "g", "_": "", "-": "", ".": ""})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
# Within a word digits stand for letters, elsewhere they are sizes and versions.
_WITHIN = str.maketrans("234789", "zeatbg")
# What passes for a digit where not both are words of their own, and what does between two letters only.
_LOOKS = {"2": "z", "6": "bg", "8": "b", "9": "g"}
_READ_AS = {"3": "e", "4": "a", "7": "t"}
# What passes for a digit, in the two ways to read what stands between digits.
_DIGITS = ("0-9", "0-9loizsbgq")
_NUMBER = re.compile(r"[0-9,.]+[a-z]?")
# Billions, millions, thousands of parameters or tokens.
_UNITS = "bmkt"


@dataclass(frozen=True)
class _Sign:
    """A sign of a name. alone: whether its word has nothing but its kind, a number with its unit or letters. fixed:
    whether it is a unit. within: whether letters stand on both sides of it."""

    sign: str
    alone: bool
    fixed: bool
    within: bool

    def passes_for(self, other: "_Sign") -> bool:
        """Whether the one may be read for the other."""
        if self.sign == other.sign:
            return True
        if self.sign.isdigit() == other.sign.isdigit():
            return False
        digit, letter = (self, other) if self.sign.isdigit() else (other, self)
        if digit.within and letter.sign in _READ_AS.get(digit.sign, ""):
            return True
        return letter.sign in _LOOKS.get(digit.sign, "") and not letter.fixed and not (digit.alone and letter.alone)


def pass_for_each_other(one: str, other: str) -> bool:
    """Whether two names look alike, with letters that look like digits taken for letters or for digits."""
    return any(_look_alike(_signs(one, digits), _signs(other, digits)) for digits in _DIGITS)


def _look_alike(one: list[_Sign], other: list[_Sign]) -> bool:
    return len(one) == len(other) and all(mine.passes_for(theirs) for mine, theirs in zip(one, other, strict=True))


def _signs(name: str, digits: str) -> list[_Sign]:
    """What is seen of a name: its signs without case and hyphens, those that look alike anywhere as one."""
    text = _with_commas(name, digits)
    signs: list[_Sign] = []
    for word in re.finditer(r"[^/_-]+|/", text):
        told = word[0]
        letters, number = told.replace(".", "").isalpha(), _NUMBER.fullmatch(told) is not None
        for place, sign in enumerate(told):
            before, after = told[place - 1 : place], told[place + 1 : place + 2]
            signs += [
                _Sign(
                    one,
                    number if sign.isdigit() else letters,
                    sign in _UNITS and before.isdigit() and not after.isalnum(),
                    before.isalpha() and after.isalpha(),
                )
                for one in sign.translate(_ALIKE)
            ]
    for pair, one in _PAIRS:
        signs = _joined(signs, pair, one)
    return signs


def _joined(signs: list[_Sign], pair: str, one: str) -> list[_Sign]:
    """The signs with one in the place of two that look like it."""
    joined: list[_Sign] = []
    for sign in signs:
        if joined and joined[-1].sign + sign.sign == pair:
            joined[-1] = _Sign(one, sign.alone, fixed=False, within=sign.within)
        else:
            joined.append(sign)
    return joined


def skeleton(name: str, digits: str = "0-9") -> str:
    """A name without what the eye passes over: case, hyphens, and signs that look like another. What stands between
    two digits counts: 1.3b is not 13b. digits: what passes for one."""
    within = re.sub(r"(?<=[a-z])[0-9](?=[a-z])", lambda digit: digit[0].translate(_WITHIN), _with_commas(name, digits))
    alike = within.translate(_ALIKE)
    for pair, one in _PAIRS:
        alike = alike.replace(pair, one)
    return alike


def _with_commas(name: str, digits: str) -> str:
    return re.sub(rf"(?<=[{digits}])[._-]+(?=[{digits}])", ",", name.casefold())
