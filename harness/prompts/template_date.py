"""A fixed date for chat templates that write the current date, so that prompts are reproducible."""

import json

# Midnight of 1 January 2025, a Wednesday.
TODAY = "01 Jan 2025"
DATES = {
    "Y": "2025", "y": "25", "C": "20", "G": "2025", "g": "25", "B": "January", "b": "Jan", "h": "Jan", "m": "01",
    "d": "01", "e": " 1", "j": "001", "A": "Wednesday", "a": "Wed", "u": "3", "w": "3", "U": "00", "W": "00", "V": "01",
    "H": "00", "k": " 0", "I": "12", "l": "12", "M": "00", "S": "00", "f": "000000", "p": "AM", "P": "am",
    "D": "01/01/25", "x": "01/01/25", "F": "2025-01-01", "T": "00:00:00", "X": "00:00:00", "R": "00:00",
    "r": "12:00:00 AM", "c": "Wed Jan  1 00:00:00 2025", "s": "1735689600", "z": "", "Z": "", "n": "\n", "t": "\t",
}  # fmt: skip


def _codes() -> list[tuple[str, str]]:
    """All strftime codes with their text, including flags: "%-d", on Windows "%#d"."""
    codes = [("%%", "\0")]
    for code, text in DATES.items():
        is_number, width = text.strip().isdigit(), len(text)
        number = text.lstrip("0 ") or "0" if is_number else text
        filled = {
            "-": number,
            "#": number,
            "_": number.rjust(width),
            "0": number.rjust(width, "0" if is_number else " "),
        }
        flags = filled | {"^": text.upper(), "": text, "E": text, "O": text}
        codes += [(f"%{flag}{code}", written) for flag, written in flags.items()]
    return [*codes, ("\0", "%")]


# Replaces the strftime_now of transformers. Jinja drops the line break after it, and nothing else.
CLOCK = (
    "{%- macro strftime_now(format) -%}{%- set result = namespace(text=format) -%}{%- for code, text in "
    + json.dumps(_codes())
    + " -%}{%- set result.text = result.text|replace(code, text) -%}{%- endfor -%}{{ result.text }}{%- endmacro %}\n"
)
