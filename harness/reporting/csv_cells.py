"""Fields of CSV files: a spreadsheet that opens one must not compute what a stranger wrote."""

import re

# What spreadsheets take for the beginning of a formula, also behind blanks, and in the wide signs of some keyboards.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")
# Ends of lines, some readers' ends of lines, and what no file of text holds.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def csv_cell(text: str) -> str:
    """The text in one line, with an apostrophe before what might be a formula. Numbers stay as they are.

    Python before 3.13 does not quote a carriage return, which some readers take for the end of a row: `x\\r=1+1`
    would begin one with a formula.
    """
    line = _CONTROLS.sub(lambda found: " " if found.group().isspace() else "\ufffd", text)
    return f"'{line}" if _FORMULA.match(line) and not _NUMBER.fullmatch(line) else line
