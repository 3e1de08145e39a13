"""`harness compare`: differences of runs on the same rows, plots, and the answers on which they differ."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.commands import options
from harness.console import echo
from harness.errors import UserError

HELP = "compare runs on the same rows: differences, plots"


class Compared(NamedTuple):
    """A run compared with the first. number: its position on the command line, from 1. jobs: list of JobComparison."""

    number: int
    run: Any
    jobs: list[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="run folders; the first is the reference")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write compare.html, its plots and the rows here")
    options.add_format(parser, "a terminal table")


def run(args: argparse.Namespace) -> None:
    """Prints the comparison of the first run with each other run; with --out, writes a page and the differing rows.

    Raises UserError unless there are two usable runs that share rows.
    """
    if len(args.folders) < 2:
        raise UserError("there is only one run: name two or more run folders")
    from harness.reporting import comparison_table
    from harness.reporting.page import write_comparison
    from harness.runs.files import require_writable
    from harness.runs.several_runs import for_each_run, require_complete

    first, *others = for_each_run(args.folders, require_complete)
    if not others:
        raise UserError(f"{first.folder} is the only usable run: name another run folder")
    if args.out is not None:
        require_writable(args.out)
    compared = _compared(first, others)
    if args.format is None:
        for other in compared:
            comparison_table.show(first, other.run, other.jobs)
    else:
        _print_as(args.format, first, compared)
    if args.out is not None:
        stream = sys.stdout if args.format is None else sys.stderr
        _write_rows(compared, args.out, stream)
        echo(write_comparison([first, *(other.run for other in compared)], args.out), file=stream)
    elif args.format is None:
        echo("for plots and differing rows: add --out DIR")


def _compared(first: Any, others: Sequence[Any]) -> list[Compared]:
    from harness.scoring.comparison import compare_runs

    compared, errors = [], []
    for number, other in enumerate(others, start=2):
        try:
            compared.append(Compared(number, other, compare_runs(first, other)))
        except UserError as error:
            errors.append(error)
    if not compared:
        raise errors[0]
    for reason in errors:
        echo(f"skipped: {reason}", file=sys.stderr)
    return compared


def _print_as(form: str, first: Any, compared: Sequence[Compared]) -> None:
    from harness.reporting import comparison_table
    from harness.reporting.run_labels import labels
    from harness.scoring.comparison import remarks

    a, *b = labels([run.facts["model"] for run in (first, *(other.run for other in compared))])
    pairs = [((a, first), (name, other.run), other.jobs) for name, other in zip(b, compared, strict=True)]
    echo(comparison_table.as_text(form, pairs).rstrip("\n"), lines=True)
    for name, other in zip(b, compared, strict=True):
        for sentence in remarks(first, other.run, (a, name)):
            echo(sentence, file=sys.stderr)


def _write_rows(compared: Sequence[Compared], out: Path, stream: Any) -> None:
    """Writes the rows on which each run differs from the first; deletes files of an earlier comparison."""
    from harness.reporting.comparison_table import write_items

    written = set()
    for other in compared:
        rows = out / f"differences-1-{other.number}.csv"
        write_items(other.jobs, rows)
        written.add(rows)
        echo(f"{rows}: answers that only one of the two runs has right", file=stream)
    for earlier in set(out.glob("differences-1-*.csv")) - written:
        earlier.unlink()
