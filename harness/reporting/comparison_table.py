"""The comparison of two runs as a table: in the terminal, in a file format, and the items on which they differ."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from harness.models.model_name import title
from harness.reporting import formats
from harness.reporting.csv_cells import csv_cell
from harness.reporting.table import cell, percent
from harness.runs.run import Run
from harness.scoring.comparison import JobComparison, remarks

COLUMNS = ("rows", "A %", "B %", "A - B, points", "95% interval", "p", "only A / only B")


def points(value: float) -> str:
    """A difference of shares in percentage points, with as many digits as tell it from 0."""
    if value == 0:
        return "0.00"
    for digits in range(2, 7):
        if float(text := f"{100 * value:+.{digits}f}") != 0:
            break
    return text


def comparison_table(run_a: Run, run_b: Run, found: list[JobComparison]) -> Table:
    """The compact table: a line a comparison."""
    names = [f"{letter}: {title(run.facts['model'])}" for letter, run in (("A", run_a), ("B", run_b))]
    table = Table(title="\n".join(map(cell, names)), title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for one in found:
        part = one.split if one.group is None else f"{one.split}, {one.group}"
        table.add_row(*map(cell, (one.task, part, *_cells(one))))
    return table


def as_text(form: str, compared: Sequence[tuple[tuple[str, Run], tuple[str, Run], list[JobComparison]]]) -> str:
    """The tables of some comparisons as one, in one of `formats.FORMATS`. compared: A and B, each with what a reader
    knows it by, and what was found."""
    found = [(a, b, one) for a, b, all_found in compared for one in all_found]
    sides = [
        {f"{name}_{letter}": value for letter, (_, run) in zip("ab", pair, strict=True) for name, value in _who(run)}
        for *pair, _ in found
    ]
    return formats.write(
        form,
        [side | _where(one) | _values(one) for side, (*_, one) in zip(sides, found, strict=True)],
        ("A", "B", "task", "split", "group", *COLUMNS),
        [(a[0], b[0], *(text or "" for text in _where(one).values()), *_cells(one)) for a, b, one in found],
        texts=5,
    )


def _who(run: Run) -> Iterator[tuple[str, str]]:
    yield from (("model", run.facts["model"]["id"]), ("revision", run.facts["model"]["revision"]))
    yield "run", run.folder.as_posix()


def _where(one: JobComparison) -> dict[str, str | None]:
    return {"task": one.task, "split": one.split, "group": one.group}


def _values(one: JobComparison) -> dict[str, Any]:
    """A comparison as names and values; None where a model gave no numbers."""
    paired = one.paired
    return {
        "rows": one.rows,
        "accuracy_a": one.accuracy_a,
        "accuracy_b": one.accuracy_b,
        **{name: getattr(paired, name, None) for name in ("difference", "low", "high", "p_value", "only_a", "only_b")},
    }


def _cells(one: JobComparison) -> Iterator[str]:
    yield f"{one.rows:,}"
    if one.paired is None or one.accuracy_a is None or one.accuracy_b is None:
        yield from ("-",) * (len(COLUMNS) - 1)
        return
    yield percent(one.accuracy_a)
    yield percent(one.accuracy_b)
    yield points(one.paired.difference)
    yield f"{points(one.paired.low)} to {points(one.paired.high)}"
    yield "<0.001" if one.paired.p_value < 0.001 else f"{one.paired.p_value:.3f}"
    yield f"{one.paired.only_a:,} / {one.paired.only_b:,}"


def show(run_a: Run, run_b: Run, found: list[JobComparison]) -> None:
    """Prints the table and, a sentence each, what else differs between the runs; a pipe gets it as wide as it is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(comparison_table(run_a, run_b, found))
    told = [f"{one.task}.{one.split}: {one.lost:,} answers have NaN or infinite logits in a run and are left out"
            for one in found if one.lost]  # fmt: skip
    for sentence in dict.fromkeys([*told, *remarks(run_a, run_b, ("A", "B"))]):
        console.print(cell(sentence), soft_wrap=True)


def write_items(found: list[JobComparison], path: Path) -> None:
    """Every item on which exactly one of the two is right (of a dialogue all turns), as CSV: task, split, `ITEMS`."""
    whole = {(one.task, one.split): one.items for one in found}  # all turns come after, and have, the first answers
    tables = [
        escaped(items)
        .add_column(0, "split", pa.array([split] * items.num_rows, pa.string()))
        .add_column(0, "task", pa.array([task] * items.num_rows, pa.string()))
        for (task, split), items in whole.items()
    ]
    csv.write_csv(pa.concat_tables(tables), path)


def escaped(items: pa.Table) -> pa.Table:
    """The same table with its texts as cells that a spreadsheet does not compute."""
    columns = [
        pa.array(map(csv_cell, column.to_pylist()), pa.string()) if pa.types.is_string(column.type) else column
        for column in items.columns
    ]
    return pa.table(columns, schema=items.schema)
