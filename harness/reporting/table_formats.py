"""Table file formats: CSV and JSON with raw values, LaTeX and Markdown with formatted texts."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from harness.reporting.csv_cells import csv_cell

FORMATS = ("csv", "json", "latex", "markdown")
_STYLES = {"latex": "latex_booktabs", "markdown": "github"}


def write(
    form: str, lines: Sequence[dict[str, Any]], head: Sequence[str], cells: Sequence[Sequence[str]], *, texts: int
) -> str:
    """A table in one of `FORMATS`, with a newline at the end.

    lines: rows of CSV and JSON, with the same names in each. head, cells: header and rows of LaTeX and Markdown.
    texts: number of leading columns that are texts; the others are numbers, which are right-aligned.
    """
    if form == "json":
        return json.dumps(lines, indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, lines[0] if lines else head, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: csv_cell(value) if isinstance(value, str) else value for name, value in line.items()}
            for line in lines
        )
        return file.getvalue()
    from tabulate import tabulate

    if form == "markdown":
        cells = [[cell.replace("|", r"\|") for cell in row] for row in cells]
    align = ("left",) * texts + ("right",) * (len(head) - texts)
    drawn = tabulate(cells, head, tablefmt=_STYLES[form], disable_numparse=True, colalign=align if cells else None)
    return ("% needs \\usepackage{booktabs}\n" if form == "latex" else "") + drawn + "\n"
