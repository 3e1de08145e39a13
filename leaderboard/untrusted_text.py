"""Quotes untrusted text: in error messages, in attestations and on pages."""

import re
import unicodedata

from leaderboard.verification.secrets import mask_secrets

MOST_SHOWN = 80
# Nothing beyond this is shown, so nothing beyond it is searched for secrets.
_MOST_READ = 4_000
# Length of quotes from model outputs, which appear on pages. Markup, paths and secrets do not fit into it.
QUOTED = 15
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def shorten(text: str, most: int = MOST_SHOWN) -> str:
    """Returns the text, cut to `most` characters with "..." at the end."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def quote(value: object) -> str:
    """Returns a part of a submission for a public error message: ASCII, in quotes if it is text, shortened, with keys
    and passwords masked."""
    text = (
        ascii(mask_secrets(value[:_MOST_READ])) if isinstance(value, str) else mask_secrets(ascii(value)[:_MOST_READ])
    )
    return shorten(text)


def quote_output(text: str) -> str:
    """Returns the beginning of a model output with harmless characters only, as attestations store it."""
    return re.sub(r"[^\w .,+='\"\\-]|_", "?", ascii(text[:QUOTED]))


def visible(text: str) -> str:
    """Returns an untrusted program for a page, with invisible and bidirectional characters as \\u{...} escapes."""
    return "".join(
        f"\\u{{{ord(sign):04x}}}" if sign not in "\n\t" and unicodedata.category(sign) in _INVISIBLE else sign
        for sign in text.replace("\r\n", "\n")
    )
