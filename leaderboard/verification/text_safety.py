"""Which texts a submission may hold: what people read on a page and in a terminal, and nothing that acts there."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from leaderboard.verification.refusal import Refused, shown
from leaderboard.verification.secrets import has_secret

MOST_CHARACTERS = 4_000
# Tags, entities and comments of markup, templates, and the one kind of address that is a program.
_MARKUP = re.compile(r"<\s*[a-z/!?]|\{[{%#]|javascript:|&(#[0-9]+|#x[0-9a-f]+|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
# Control signs, and what is not seen or turns the direction of reading.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
# Of other categories: Unicode's Default_Ignorable_Code_Point, and the blank of Braille.
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_MOST_MARKS = 2
# Where somebody's files lie: /home/name, /gpfs/users/name, C:\Users\name, \\host\share, ~/name; not and/or, 1/2, https://
_HOME = re.compile(
    r"(^|[\s=\"'(,:])(~[\w.-]*/|/(home|Users|root|mnt|data|workspace|scratch|tmp|var)/|[A-Za-z]:[\\/](?!/))"
    r"|(?<![\w/.)\]}%-])/[\w.-]+/[\w.-]|\\\\[\w.-]+\\",
    re.IGNORECASE,
)
_LINK = re.compile(r"\]\(\s*(https?:|//|www\.)", re.IGNORECASE)
# The texts that may have several lines.
_LINES = {"system", "command", "disclosure", "reason"}
# What is read as the name of somebody, or told by one.
_NAMES, _TOLD = {"contact"}, {"contact", "disclosure", "by"}
# What calls many people at once in a comment, and what a spreadsheet or a shell takes for more than a text.
_CALL = re.compile(r"(?<![\w.])@(everyone|here|channel|all|team|[\w-]+/[\w-]+)\b", re.IGNORECASE)
_FORMULA = re.compile(r"[=+\-@|%]")
_SAYING = {"contact", "disclosure", "reason"}


def require_harmless(value: Any, name: str, *, new: bool = True) -> None:
    """Raises Refused if any text of a JSON value, its keys among them, acts, hides something or gives away a secret.
    new: whether it was not accepted before, when what only looks like a secret is one, too."""
    for where, text in _texts(value, name):
        key = where.rpartition(", ")[2]
        if fault := fault_of(text, key in _LINES, new) or _fault_of_telling(text, key):
            raise Refused(f"{where} {fault}: {shown(text)}")


def _fault_of_telling(text: str, key: str) -> str:
    """What is wrong with what people say of themselves; "" if nothing, or if the text is of something else."""
    told, named = key in _TOLD, key in _NAMES
    faults = {
        "names a folder of somebody's machine": told and "file:/" in text.casefold(),
        "has a link that shows another text than its address": told and _LINK.search(text),
        "says nothing: it has no word in it": key in _SAYING and not _says_something(text),
        "calls many people at once: name them without @": told and _CALL.search(text),
        "begins as a formula or a call does: begin with a letter": named and _FORMULA.match(text),
        "is not in Unicode's normal form NFKC: it has signs that look like others": (
            named and unicodedata.normalize("NFKC", text) != text
        ),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _says_something(text: str) -> bool:
    """Whether there are two letters in it, or one of a script that writes words with one."""
    letters = [sign for sign in text if sign.isalpha()]
    return len(letters) > 1 or any(not sign.isascii() for sign in letters)


def fault_of(text: str, lines: bool = False, guess: bool = True) -> str:
    """What is wrong with a text, as what follows its name; "" if nothing. lines: whether it may have several. guess:
    whether what only looks like a secret is wrong."""
    if len(text) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS:,} characters"
    unseen = next((sign for sign in text if _is_unseen(sign) and not (lines and sign in "\n\t")), None)
    if unseen is not None:
        return f"has a sign that nobody sees (U+{ord(unseen):04X})"
    if _has_piled_marks(text):
        return f"has more than {_MOST_MARKS} marks on one letter"
    if unicodedata.normalize("NFC", text) != text:
        return "is not in Unicode's normal form NFC"
    if has_secret(text, guess):
        return "has what looks like a key, token or password of an account: take it out, and revoke it"
    patterns = {
        "has markup in it": _MARKUP,
        "names a folder of somebody's machine": _HOME,
    }
    return next((fault for fault, pattern in patterns.items() if pattern.search(text)), "")


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in _UNSEEN or _IGNORED.match(sign) is not None


def _has_piled_marks(text: str) -> bool:
    marks = 0
    for sign in text:
        marks = marks + 1 if unicodedata.category(sign) in ("Mn", "Me") else 0
        if marks > _MOST_MARKS:
            return True
    return False


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield f"a key of {name}", key
            yield from _texts(one, f"{name}, {key}" if len(key) <= 40 and key.isascii() else name)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, name)
