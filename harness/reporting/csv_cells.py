"""Escaping of CSV cells, so that spreadsheets do not evaluate untrusted text as a formula."""

import re

# Spreadsheets take these for the start of a formula, also after blanks and as full-width characters.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")
# Line ends (of any reader) and characters that text files cannot hold.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def csv_cell(text: str) -> str:
    """The text on one line, with an apostrophe before a possible formula. Numbers are unchanged.

    Python before 3.13 does not quote carriage returns, which some readers take for the end of a row: `x\\r=1+1` would
    start a row with a formula.
    """
    line = _CONTROLS.sub(lambda found: " " if found.group().isspace() else "\ufffd", text)
    return f"'{line}" if _FORMULA.match(line) and not _NUMBER.fullmatch(line) else line
