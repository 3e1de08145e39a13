"""What is printed: names and texts out of files may hold anything, and a terminal must not obey them.

Every line that the command lines print goes through `say`, every cell of a table through `visible`.
"""

import sys
import unicodedata
from typing import TextIO


def visible(text: object, lines: bool = False) -> str:
    """A text with all that a terminal would act on written as Python writes it: escape sequences, controls, marks that
    turn the direction of writing, half characters, and ends of lines unless `lines` says that they are meant."""
    return "".join(sign if _is_harmless(sign) or (lines and sign == "\n") else _escaped(sign) for sign in str(text))


def say(text: object, *, lines: bool = False, file: TextIO | None = None) -> None:
    """Prints a text as it is `visible`, at once. lines: whether it may have several."""
    out = sys.stdout if file is None else file
    shown = visible(text, lines)
    encoding = getattr(out, "encoding", None) or "utf-8"
    print(shown.encode(encoding, "backslashreplace").decode(encoding), file=out, flush=True)


def _is_harmless(sign: str) -> bool:
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")
