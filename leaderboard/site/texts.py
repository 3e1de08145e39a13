"""How numbers and foreign texts are written on the pages, and what pages may load."""

import re
import unicodedata
from typing import Any

from fflm_data import number_formats
from fflm_data.number_formats import percent, typographic

# What pages may load and do; the headers of `serve` add who may frame them, which a page cannot say itself.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
DASH = "\N{EN DASH}"
# What neither XML 1.0 nor UTF-8 has: control signs, halves of characters.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def clean(value: Any) -> Any:
    """A text without what no file of the site can hold, replaced; anything else as it is. For Jinja's `finalize`."""
    return _NO_TEXT.sub("\ufffd", value) if type(value) is str else value


def visible(text: str) -> str:
    """A foreign program for people to read: what is not seen or turns the direction of reading stands as its number."""
    return "".join(
        f"\\u{{{ord(sign):04x}}}" if sign not in "\n\t" and unicodedata.category(sign) in _UNSEEN else sign
        for sign in text.replace("\r\n", "\n")
    )


def short_count(number: int) -> str:
    """133,381 as 133K, 134,515,008 as 135M, 999,999 as 1M."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        # From 999.5 of the unit below, which three digits would write as 1000.
        if 2 * number >= 1999 * (size // 1000):
            return f"{max(number / size, 1):.3g}{unit}"
    return str(number)


def interval(low: float, high: float) -> str:
    """Both ends in percent."""
    return f"{percent(low)}{DASH}{percent(high)}"


def points(value: float) -> str:
    """A difference of shares, in percentage points, with its sign."""
    return typographic(number_formats.points(value))


def skill(value: float) -> str:
    """A skill."""
    return typographic(number_formats.skill(value))


def span(best: int, worst: int) -> str:
    """A range of places."""
    return str(best) if best == worst else f"{best}{DASH}{worst}"


def count(number: int) -> str:
    """With commas."""
    return f"{number:,}"


def shortened(text: str, most: int) -> str:
    """Its beginning, if it is long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
