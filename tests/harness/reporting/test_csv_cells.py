"""CSV cells are single-line text, also for spreadsheets."""

import csv
import io

import pytest

from harness.reporting.csv_cells import csv_cell

FORMULAS = [
    *("=cmd()", "+cmd()", "-cmd()", "@SUM(A1)", "\r=cmd()", "\n=cmd()", "\t=cmd()", " =cmd()", "\x00=cmd()"[1:]),
    *("\uff1dcmd()", "\uff20x", "-1+cmd()", "=1+1", "- 5", "\u2028=cmd()", "\r\n\t @x"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_cell_escapes_formulas(text: str) -> None:
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize("text", [*FORMULAS, "x\r=cmd()", "x\n=cmd()", "x\r\n=cmd()", 'say "x"\r=cmd()', "a,b\r+1"])
def test_csv_cell_stays_in_one_row(text: str) -> None:
    """A carriage return alone ends a row for some readers."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(["first", csv_cell(text), "last"])
    assert len(out.getvalue().splitlines()) == 1
    (row,) = csv.reader(io.StringIO(out.getvalue()))
    assert len(row) == 3 and not any(field.lstrip()[:1] in ("=", "+", "-", "@") for field in row if field)


@pytest.mark.parametrize("text", ["", "3", "-5", "+7", "-12.5", "1e9", "word", "a=b", "naïve 日本", "it's", '"=x"'])
def test_csv_cell_keeps_harmless_text(text: str) -> None:
    assert csv_cell(text) == text


def test_csv_cell_replaces_invalid_characters() -> None:
    assert csv_cell("a\x07b\ud800c\x9b") == "a\ufffdb\ufffdc\ufffd"
