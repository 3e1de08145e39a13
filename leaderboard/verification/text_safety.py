"""Checks the texts of a submission: readable on pages and in terminals, without active or hidden content or secrets."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused
from leaderboard.verification.secrets import has_secret

MOST_CHARACTERS = 4_000
# Tags, entities and comments of markup; templates; addresses that are programs.
_MARKUP = re.compile(r"<\s*[a-z/!?]|\{[{%#]|javascript:|&(#[0-9]+|#x[0-9a-f]+|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
# Control characters, and invisible or bidirectional ones.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
# Characters of other categories: Unicode's Default_Ignorable_Code_Point, and the blank Braille pattern.
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_MOST_MARKS = 2
# Local paths: /home/name, /gpfs/users/name, C:\Users\name, \\host\share, ~/name; not and/or, 1/2, https://
_HOME = re.compile(
    r"(^|[\s=\"'(,:])(~[\w.-]*/|/(home|Users|root|mnt|data|workspace|scratch|tmp|var)/|[A-Za-z]:[\\/](?!/))"
    r"|(?<![\w/.)\]}%-])/[\w.-]+/[\w.-]|\\\\[\w.-]+\\",
    re.IGNORECASE,
)
_LINK = re.compile(r"\]\(\s*(https?:|//|www\.)", re.IGNORECASE)
# Fields that may have several lines.
_LINES = {"system", "command", "disclosure", "reason"}
# Fields with a person's name, and fields that a person writes.
_NAMES, _WRITTEN = {"contact"}, {"contact", "disclosure", "by"}
# Mentions of many people in a comment, and beginnings that a spreadsheet or shell executes.
_CALL = re.compile(r"(?<![\w.])@(everyone|here|channel|all|team|[\w-]+/[\w-]+)\b", re.IGNORECASE)
_FORMULA = re.compile(r"[=+\-@|%]")
_NEEDS_WORDS = {"contact", "disclosure", "reason"}


def require_safe_texts(value: Any, name: str, *, new: bool = True) -> None:
    """Raises Refused if a text or key of a JSON value is active, hides characters or contains a secret. new: whether
    the record is submitted now; then a text that only resembles a secret is refused too."""
    for where, text in _texts(value, name):
        key = where.rpartition(", ")[2]
        if fault := text_fault(text, key in _LINES, new) or _fault_of_field(text, key):
            raise Refused(f"{where} {fault}: {quote(text)}")


def _fault_of_field(text: str, key: str) -> str:
    """Returns what is wrong with a text that a person wrote; "" if nothing, or for another field."""
    written, named = key in _WRITTEN, key in _NAMES
    faults = {
        "has a local path. Remove it": written and "file:/" in text.casefold(),
        "has a link whose text hides its address. Write the address": written and _LINK.search(text),
        "has no content. Write at least one word": key in _NEEDS_WORDS and not _has_words(text),
        "mentions a group of people. Write names without @": written and _CALL.search(text),
        "begins like a formula or command. Begin with a letter": named and _FORMULA.match(text),
        "is not in Unicode's normal form NFKC. Replace characters that look like others": (
            named and unicodedata.normalize("NFKC", text) != text
        ),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _has_words(text: str) -> bool:
    """Returns whether a text has two letters, or one of a script whose words may have one letter."""
    letters = [sign for sign in text if sign.isalpha()]
    return len(letters) > 1 or any(not sign.isascii() for sign in letters)


def text_fault(text: str, lines: bool = False, heuristic: bool = True) -> str:
    """Returns what is wrong with a text, as a predicate; "" if nothing. lines: whether it may have several lines.
    heuristic: whether a text that only resembles a secret is wrong."""
    if len(text) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS:,} characters"
    unseen = next((sign for sign in text if _is_unseen(sign) and not (lines and sign in "\n\t")), None)
    if unseen is not None:
        return f"has an invisible character (U+{ord(unseen):04X})"
    if _has_piled_marks(text):
        return f"has more than {_MOST_MARKS} combining marks on a letter"
    if unicodedata.normalize("NFC", text) != text:
        return "is not in Unicode's normal form NFC"
    if has_secret(text, heuristic):
        return "seems to have a key, token or password. Remove and revoke it"
    patterns = {
        "has markup": _MARKUP,
        "has a local path": _HOME,
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
        for key, item in value.items():
            yield f"a key of {name}", key
            yield from _texts(item, f"{name}, {key}" if len(key) <= 40 and key.isascii() else name)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
