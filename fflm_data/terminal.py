"""What is printed: names and texts out of files may hold anything, and a terminal must not obey them.

Every line that the command lines print goes through `say`, every cell of a table through `visible`, every bar is a
`Bar`.
"""

import os
import sys
import unicodedata
from typing import Any, TextIO

from tqdm import tqdm

# How wide a terminal is that does not say so, and how high all are taken to be: a bar takes one line.
COLUMNS, ROWS = 80, 24


class Bar(tqdm):
    """tqdm's progress bar, as wide as the terminal is now; also on one that reports no size, as those of containers and
    CI do, where tqdm shows nothing."""

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draws it."""
        self.ncols, self.nrows = columns(self.fp), ROWS
        return super().display(msg, pos)


def columns(stream: TextIO) -> int:
    """How many characters fit on a line of a stream's terminal; one less than it has, as some wrap a full line."""
    try:
        return max(1, (os.get_terminal_size(stream.fileno()).columns or COLUMNS) - 1)
    except (OSError, ValueError, AttributeError):  # no terminal, no file, or one that is closed
        return COLUMNS - 1


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
