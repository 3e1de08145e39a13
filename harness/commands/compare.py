"""`harness compare`: two or more runs on the same rows: differences, plots, and every answer on which they differ."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.commands import options
from harness.console import say
from harness.errors import UserError

HELP = "compare runs on the same rows: differences, plots"


class Compared(NamedTuple):
    """One of the other runs against the first. number: its place among the runs of the command line, from 1.
    found: list of JobComparison."""

    number: int
    run: Any
    found: list[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="run folders; the first is the reference")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write compare.html, its plots and the rows here")
    options.add_format(parser, "for the terminal")


def run(args: argparse.Namespace) -> None:
    """Prints the first run against each other one; with --out, writes a page and the rows on which they differ.

    Raises UserError if two usable runs are not left, or none of them shares rows with the first.
    """
    if len(args.folders) < 2:
        raise UserError("only one run: name two run folders or more")
    from harness.reporting import comparison_table
    from harness.reporting.page import write_comparison
    from harness.runs.files import require_writable
    from harness.runs.selection import for_each_run, require_complete

    first, *others = for_each_run(args.folders, require_complete)
    if not others:
        raise UserError(f"{first.folder} is the only usable run: name another one")
    if args.out is not None:
        require_writable(args.out)
    compared = _compared(first, others)
    if args.format is None:
        for one in compared:
            comparison_table.show(first, one.run, one.found)
    else:
        _print_as(args.format, first, compared)
    if args.out is not None:
        stream = sys.stdout if args.format is None else sys.stderr
        _write_rows(compared, args.out, stream)
        say(write_comparison([first, *(one.run for one in compared)], args.out), file=stream)
    elif args.format is None:
        say("for plots, and every row on which they differ: add --out DIR")


def _compared(first: Any, others: Sequence[Any]) -> list[Compared]:
    from harness.scoring.comparison import compare_runs

    compared, refused = [], []
    for number, other in enumerate(others, start=2):
        try:
            compared.append(Compared(number, other, compare_runs(first, other)))
        except UserError as error:
            refused.append(error)
    if not compared:
        raise refused[0]
    for reason in refused:
        say(f"skipped: {reason}", file=sys.stderr)
    return compared


def _print_as(form: str, first: Any, compared: Sequence[Compared]) -> None:
    from harness.reporting import comparison_table
    from harness.reporting.run_labels import labels
    from harness.scoring.comparison import remarks

    a, *b = labels([run.facts["model"] for run in (first, *(one.run for one in compared))])
    pairs = [((a, first), (name, one.run), one.found) for name, one in zip(b, compared, strict=True)]
    say(comparison_table.as_text(form, pairs).rstrip("\n"), lines=True)
    for name, one in zip(b, compared, strict=True):
        for sentence in remarks(first, one.run, (a, name)):
            say(sentence, file=sys.stderr)


def _write_rows(compared: Sequence[Compared], out: Path, stream: Any) -> None:
    """The rows on which each differs from the first; the files of an earlier comparison are deleted."""
    from harness.reporting.comparison_table import write_items

    written = set()
    for one in compared:
        rows = out / f"differences-1-{one.number}.csv"
        write_items(one.found, rows)
        written.add(rows)
        say(f"{rows}: every answer that only one of them has right", file=stream)
    for earlier in set(out.glob("differences-1-*.csv")) - written:
        earlier.unlink()
