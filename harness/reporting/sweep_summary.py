"""The tables of a sweep: minimum, median and maximum over the seeds of each series, for the terminal and the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fflm_data.number_formats import percent, significant
from harness.reporting.sweep_data import SETS, Series
from harness.reporting.sweep_plots import quartet
from harness.reporting.table import cell

READ_HEADER = ("set", "min %", "median %", "max %", "seeds without errors", "errors / reads")
COUNT_HEADER = ("min accuracy %", "median %", "max %", "median absolute error")


@dataclass(frozen=True)
class TableRow:
    """A row of a table. name: values of the grid, else the recipe. facts: parameters, seeds, CPU minutes. Both are
    empty if they are as in the row above."""

    name: str
    facts: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class GroupTable:
    """A table of one group: a row per cell, and for flip-flop models per set of reads. header: of the cells."""

    title: str
    header: tuple[str, ...]
    rows: list[TableRow]


def group_tables(series: Sequence[Series]) -> Iterator[GroupTable]:
    """The tables of all groups."""
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(one.group, []).append(one)
    for title, members in groups.items():
        counting = members[0].is_counting
        rows = [row for one in members for row in _rows(one, [_counts(one)] if counting else list(_reads(one)))]
        yield GroupTable(title, COUNT_HEADER if counting else READ_HEADER, rows)


def _rows(series: Series, cells: Sequence[tuple[str, ...]]) -> Iterator[TableRow]:
    minutes = float(np.median([row["cpu_seconds"] for row in series.rows])) / 60
    facts = (f"{series.rows[0]['parameters']:,}", series.size, significant(minutes, 2))
    yield TableRow(series.cell or series.rows[0]["recipe"], facts, cells[0])
    yield from (TableRow("", ("", "", ""), each) for each in cells[1:])


def _reads(series: Series) -> Iterator[tuple[str, ...]]:
    """The cells of each set."""
    for name in (name for name in SETS if series.has(name)):
        values = (percent(value / 100) for value in quartet(series.rates(name)))
        errors, reads = (sum(row[f"{name}_{part}"] for row in series.rows) for part in ("errors", "reads"))
        right = sum(row[f"{name}_errors"] == 0 for row in series.rows)
        yield (SETS[name], *values, f"{right} of {len(series.rows)}", f"{errors:,} / {reads:,}")


def _counts(series: Series) -> tuple[str, ...]:
    accuracies = quartet([row["accuracy"] for row in series.rows])
    error = float(np.median([row["mean_absolute_error"] for row in series.rows]))
    return *map(percent, accuracies), significant(error)


def show(series: Sequence[Series]) -> None:
    """Prints the tables; to a pipe, in full width."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for group in group_tables(series):
        table = Table(title=cell(group.title), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
        table.add_column("cell")
        for name in group.header:
            table.add_column(name, justify="left" if name == "set" else "right")
        for names, cells in _lines(group.rows):
            table.add_row("\n".join(map(cell, names)), *map(cell, cells))
        console.print(table)


def _lines(rows: Sequence[TableRow]) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """The rows with their first column: the name of a cell, then its facts beside the rows that belong to it."""
    facts: list[str] = []
    for index, row in enumerate(rows):
        if row.name:
            facts = [f"{row.facts[0]} parameters", f"{row.facts[1]}, {row.facts[2]} CPU minutes"]
        names = [row.name] if row.name else facts[:1]
        facts = facts if row.name else facts[1:]
        if index + 1 == len(rows) or rows[index + 1].name:
            names += facts
        yield names, row.cells
