"""Safe terminal output: escapes control characters in names and texts that come from files.

The commands print every line with `echo`, escape every table cell with `visible`, and show progress with `Bar`.
"""

import os
import sys
import unicodedata
from typing import Any, TextIO

from tqdm import tqdm

# Width of a terminal that does not report one, and assumed height of all terminals (a bar takes one line).
COLUMNS, ROWS = 80, 24


class Bar(tqdm):
    """A tqdm progress bar that follows the width of the terminal.

    tqdm shows nothing on terminals that report no size, as in containers and CI; this class assumes 80 columns.
    """

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draws the bar."""
        self.ncols, self.nrows = columns(self.fp), ROWS
        return super().display(msg, pos)


def columns(stream: TextIO) -> int:
    """Returns the usable columns of a stream's terminal: one less than reported, as some terminals wrap full lines."""
    try:
        return max(1, (os.get_terminal_size(stream.fileno()).columns or COLUMNS) - 1)
    except (OSError, ValueError, AttributeError):  # not a terminal, not a file, or closed
        return COLUMNS - 1


def visible(text: object, lines: bool = False) -> str:
    """Escapes everything that a terminal would interpret, in Python's notation.

    This covers escape sequences, control characters, bidirectional marks and surrogates, and newlines unless `lines`.
    """
    return "".join(
        character if _is_harmless(character) or (lines and character == "\n") else _escape(character)
        for character in str(text)
    )


def echo(text: object, *, lines: bool = False, file: TextIO | None = None) -> None:
    """Prints a text escaped by `visible`, and flushes. lines: whether newlines are allowed."""
    stream = sys.stdout if file is None else file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(visible(text, lines).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
