"""Formatting of numbers and texts on the pages, and their content security policy."""

import re
from typing import Any

from fflm_data import number_formats
from fflm_data.number_formats import percent, typographic
from leaderboard.site.seed_rows import SpreadCell

# Content security policy. `serve` adds frame-ancestors, which is only valid in a header.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
DASH = "\N{EN DASH}"
# Characters outside XML 1.0 or UTF-8: control characters, surrogates.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(value: Any) -> Any:
    """Replaces characters of a text that no file of the site can contain. For Jinja's `finalize`: other values pass."""
    return _NO_TEXT.sub("\ufffd", value) if type(value) is str else value


def short_count(number: int) -> str:
    """Formats 133,381 as 133K, 134,515,008 as 135M, 999,999 as 1M."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        # From 999.5 of the smaller unit, which would be rounded to 1000.
        if 2 * number >= 1999 * (size // 1000):
            return f"{max(number / size, 1):.3g}{unit}"
    return str(number)


def interval(low: float, high: float) -> str:
    """Formats an interval in percent."""
    return f"{percent(low)}{DASH}{percent(high)}"


def points(value: float) -> str:
    """Formats a difference of shares in percentage points, with its sign."""
    return typographic(number_formats.points(value))


def skill(value: float) -> str:
    """Formats a skill."""
    return typographic(number_formats.skill(value))


def span(best: int, worst: int) -> str:
    """Formats a range of ranks."""
    return str(best) if best == worst else f"{best}{DASH}{worst}"


def spread(cell: SpreadCell) -> str:
    """Formats minimum and maximum of several seeds in percent, "all equal" if they do not differ; "" for one seed."""
    if len(cell.cells) == 1:
        return ""
    return "all equal" if cell.low == cell.high else interval(cell.low, cell.high)


def seed_count(cell: SpreadCell) -> str:
    """Formats the number of seeds of a cell."""
    return "1 seed" if len(cell.cells) == 1 else f"{len(cell.cells)} seeds"


def counts(least: int, most: int) -> str:
    """Formats a range of integers with commas."""
    return count(least) if least == most else f"{count(least)}{DASH}{count(most)}"


def count(number: int) -> str:
    """Formats an integer with commas."""
    return f"{number:,}"
