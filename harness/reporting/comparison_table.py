"""The comparison of two runs as a table: for a terminal, for files, and the items on which the runs differ."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from fflm_data.number_formats import percent, points
from harness.models.model_name import title
from harness.reporting import table_formats
from harness.reporting.csv_cells import csv_cell
from harness.reporting.table import cell
from harness.runs.run import Run
from harness.scoring.comparison import JobComparison, remarks

COLUMNS = ("rows", "A %", "B %", "A - B, points", "95% interval", "p", "only A / only B")


def comparison_table(run_a: Run, run_b: Run, comparisons: list[JobComparison]) -> Table:
    """The compact table: a row per comparison."""
    names = [f"{letter}: {title(run.facts['model'])}" for letter, run in (("A", run_a), ("B", run_b))]
    table = Table(title="\n".join(map(cell, names)), title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for comparison in comparisons:
        split = comparison.split if comparison.group is None else f"{comparison.split}, {comparison.group}"
        table.add_row(*map(cell, (comparison.task, split, *_cells(comparison))))
    return table


def as_text(form: str, compared: Sequence[tuple[tuple[str, Run], tuple[str, Run], list[JobComparison]]]) -> str:
    """The tables of several comparisons as one, in one of `table_formats.FORMATS`.

    compared: A and B, each with its label, and their comparisons.
    """
    entries = [(a, b, comparison) for a, b, comparisons in compared for comparison in comparisons]
    sides = [
        {f"{name}_{letter}": value for letter, (_, run) in zip("ab", pair, strict=True) for name, value in _run(run)}
        for *pair, _ in entries
    ]
    return table_formats.write(
        form,
        [side | _where(entry) | _values(entry) for side, (*_, entry) in zip(sides, entries, strict=True)],
        ("A", "B", "task", "split", "group", *COLUMNS),
        [(a[0], b[0], *(text or "" for text in _where(entry).values()), *_cells(entry)) for a, b, entry in entries],
        texts=5,
    )


def _run(run: Run) -> Iterator[tuple[str, str]]:
    yield from (("model", run.facts["model"]["id"]), ("revision", run.facts["model"]["revision"]))
    yield "run", run.folder.as_posix()


def _where(comparison: JobComparison) -> dict[str, str | None]:
    return {"task": comparison.task, "split": comparison.split, "group": comparison.group}


def _values(comparison: JobComparison) -> dict[str, Any]:
    """A comparison as names and values; None where no item has finite logits in both runs."""
    paired = comparison.paired
    return {
        "rows": comparison.rows,
        "accuracy_a": comparison.accuracy_a,
        "accuracy_b": comparison.accuracy_b,
        **{name: getattr(paired, name, None) for name in ("difference", "low", "high", "p_value", "only_a", "only_b")},
    }


def _cells(comparison: JobComparison) -> Iterator[str]:
    paired = comparison.paired
    yield f"{comparison.rows:,}"
    if paired is None or comparison.accuracy_a is None or comparison.accuracy_b is None:
        yield from ("-",) * (len(COLUMNS) - 1)
        return
    yield percent(comparison.accuracy_a)
    yield percent(comparison.accuracy_b)
    yield points(paired.difference)
    yield f"{points(paired.low)} to {points(paired.high)}"
    yield "<0.001" if paired.p_value < 0.001 else f"{paired.p_value:.3f}"
    yield f"{paired.only_a:,} / {paired.only_b:,}"


def show(run_a: Run, run_b: Run, comparisons: list[JobComparison]) -> None:
    """Prints the table and a sentence for each other difference between the runs; to a pipe, in full width."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(comparison_table(run_a, run_b, comparisons))
    excluded = [
        f"{comparison.task}.{comparison.split}: {comparison.nonfinite:,} answers have NaN or infinite logits in a run "
        "and are excluded"
        for comparison in comparisons
        if comparison.nonfinite
    ]
    for sentence in dict.fromkeys([*excluded, *remarks(run_a, run_b, ("A", "B"))]):
        console.print(cell(sentence), soft_wrap=True)


def write_items(comparisons: list[JobComparison], path: Path) -> None:
    """Writes every item on which exactly one run is right (of a dialogue all turns) as CSV: task, split, `ITEMS`."""
    # Of a dialogue the comparison of all turns comes last, and contains the first answers.
    by_split = {(comparison.task, comparison.split): comparison.items for comparison in comparisons}
    tables = [
        escaped(items)
        .add_column(0, "split", pa.array([split] * items.num_rows, pa.string()))
        .add_column(0, "task", pa.array([task] * items.num_rows, pa.string()))
        for (task, split), items in by_split.items()
    ]
    csv.write_csv(pa.concat_tables(tables), path)


def escaped(items: pa.Table) -> pa.Table:
    """The table with its texts escaped, so that spreadsheets do not evaluate them."""
    columns = [
        pa.array(map(csv_cell, column.to_pylist()), pa.string()) if pa.types.is_string(column.type) else column
        for column in items.columns
    ]
    return pa.table(columns, schema=items.schema)
