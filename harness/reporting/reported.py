"""`harness score`, `report` and `compare`: runs to tables and pages, of as many folders as a shell has written out.

A run that cannot be taken is named on stderr, and the others are taken.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fflm_data.terminal import say
from harness.errors import UserError
from harness.reporting import comparison_table, table
from harness.reporting.page import labels, write_comparison, write_report
from harness.runs.run import Run, require_writable, write_json
from harness.runs.several import complete, of_each
from harness.scoring import comparison
from harness.scoring.comparison import JobComparison
from harness.scoring.scores import score_run

Scored = tuple[Run, dict[str, Any]]


class Compared(NamedTuple):
    """One of the other runs against the first. number: which of the runs that were named it is."""

    number: int
    run: Run
    found: list[JobComparison]


def score(folders: Sequence[Path], form: str | None) -> None:
    """Writes result.json of runs again, and shows it. form: one of `formats.FORMATS`, None for a terminal."""
    scored = of_each(folders, _scored)
    for run, result in scored:
        write_json(run.folder / "result.json", result)
    show(scored, form)


def report(folders: Sequence[Path], form: str | None) -> None:
    """Writes report.html and plots of runs; with a format, prints their scores in one table in its place."""
    if form is not None:
        show(of_each(folders, _scored), form)
        return
    for page in of_each(folders, write_report):
        say(page)


def show(scored: Sequence[Scored], form: str | None) -> None:
    """Prints the scores of some runs."""
    if form is None:
        for _, result in scored:
            table.show(result)
        return
    names = labels([result["model"] for _, result in scored])
    labelled = [(name, run.folder.as_posix(), result) for name, (run, result) in zip(names, scored, strict=True)]
    say(table.as_text(form, labelled).rstrip("\n"), lines=True)


def compare(folders: Sequence[Path], out: Path | None, form: str | None) -> None:
    """Prints the first run against each other one, and writes a page and the rows on which they differ to `out`.

    Raises UserError if two runs are not left, or none of them has rows in common with the first.
    """
    first, *others = of_each(folders, complete)
    if not others:
        raise UserError(f"{first.folder} is the only run that is left, and compared with nothing: name another one")
    if out is not None:
        require_writable(out)
    compared = _compared(first, others)
    told = sys.stdout if form is None else sys.stderr
    if form is None:
        for one in compared:
            comparison_table.show(first, one.run, one.found)
    else:
        a, *b = labels([run.facts["model"] for run in (first, *(one.run for one in compared))])
        pairs = [((a, first), (name, one.run), one.found) for name, one in zip(b, compared, strict=True)]
        say(comparison_table.as_text(form, pairs).rstrip("\n"), lines=True)
        for name, one in zip(b, compared, strict=True):
            for sentence in comparison.remarks(first, one.run, (a, name)):
                say(sentence, file=sys.stderr)
    if out is None:
        if form is None:
            say("for plots, and every row on which they differ: add --out DIR")
        return
    _write_rows(compared, out, told)
    say(write_comparison([first, *(one.run for one in compared)], out), file=told)


def _scored(run: Run) -> Scored:
    return run, score_run(run)


def _compared(first: Run, others: Sequence[Run]) -> list[Compared]:
    compared, refused = [], []
    for number, other in enumerate(others, start=2):
        try:
            compared.append(Compared(number, other, comparison.compare_runs(first, other)))
        except UserError as error:
            refused.append(error)
    if not compared:
        raise refused[0]
    for reason in refused:
        say(f"left out: {reason}", file=sys.stderr)
    return compared


def _write_rows(compared: Sequence[Compared], out: Path, told: Any) -> None:
    """The rows on which each differs from the first; those of an earlier comparison there go."""
    written = set()
    for one in compared:
        rows = out / f"differences-1-{one.number}.csv"
        comparison_table.write_items(one.found, rows)
        written.add(rows)
        say(f"{rows}: every answer that only one of them has right", file=told)
    for earlier in set(out.glob("differences-1-*.csv")) - written:
        earlier.unlink()
