"""Which texts a submission may hold: what people read on a page and in a terminal, and nothing that acts there."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from leaderboard.judging.refusal import Refused, shown

MOST_CHARACTERS = 4_000
# Tags and comments of markup, templates, and the one kind of address that is a program.
_MARKUP = re.compile(r"<\s*[a-z/!?]|\{[{%#]|javascript:", re.IGNORECASE)
# Control signs, and what is not seen or turns the direction of reading.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
# Where somebody's files lie: /home/name, C:\Users\name, ~/name.
_HOME = re.compile(r"(^|[\s=\"'(,:])(~[\w.-]*/|/(home|Users|root|mnt|data|workspace|scratch|tmp|var)/|[A-Za-z]:\\)")
# The texts that may have several lines.
_LINES = {"system", "disclosure", "reason"}
_TOKEN = re.compile(r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|sk-[\w-]{16,}|AKIA[A-Z0-9]{12,})")


def require_harmless(value: Any, name: str) -> None:
    """Raises Refused if any text of a JSON value, its keys among them, acts, hides something or gives away a secret."""
    for where, text in _texts(value, name):
        if fault := fault_of(text, where.rpartition(", ")[2] in _LINES):
            raise Refused(f"{where} {fault}: {shown(text)}")


def fault_of(text: str, lines: bool = False) -> str:
    """What is wrong with a text, as what follows its name; "" if nothing. lines: whether it may have several."""
    if len(text) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS:,} characters"
    unseen = next(
        (sign for sign in text if unicodedata.category(sign) in _UNSEEN and not (lines and sign in "\n\t")), None
    )
    if unseen is not None:
        return f"has a sign that nobody sees (U+{ord(unseen):04X})"
    if unicodedata.normalize("NFC", text) != text:
        return "is not in Unicode's normal form NFC"
    if _MARKUP.search(text):
        return "has markup in it"
    if _TOKEN.search(text):
        return "looks like a token that opens an account"
    return "names a folder of somebody's machine" if _HOME.search(text) else ""


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
