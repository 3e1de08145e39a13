"""The table of a result, for a terminal and for files."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fflm_data.number_formats import percent
from fflm_data.terminal import echo, visible
from harness.models.model_name import title
from harness.reporting import table_formats
from harness.reporting.run_labels import labels
from harness.runs.run import Run
from harness.scoring.headline_score import Headline, SplitScores, scores_by_split
from harness.tasks import all_tasks

COLUMNS = ("rows", "accuracy %", "95% interval", "errors / n", "baseline %", "skill")
UNANSWERED = {"parse_failures": "not parsed", "refusals": "refused", "cut_off": "cut off"}
AMONG_SYMBOLS = "among its symbols"


def cell(text: str) -> str:
    """A text for rich, with markup and control characters escaped."""
    return escape(visible(text))


def summary(result: dict[str, Any]) -> Table:
    """The compact table: a row per task and split, and one per headline group of the task."""
    table = Table(title=cell(title(result["model"])), title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows(result):
        whole = row["group"] is None
        where = (row["task"], row["split"]) if whole else ("", f"  {row['group']}")
        size, *numbers = cells(row)
        table.add_row(*map(cell, (*where, size if whole else "", *numbers)))
    return table


def rows(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of that table as names and values; shares as in result.json.

    group: None for the whole split. best_baseline: name of the best baseline on the same rows.
    """
    for scores in scores_by_split(result):
        for group, headline in _headlines(scores):
            yield {
                "task": headline.task,
                "split": headline.split,
                "group": group,
                "rows": headline.rows,
                "of": headline.of,
                "accuracy": headline.accuracy,
                "low": headline.interval.low,
                "high": headline.interval.high,
                "errors": headline.errors,
                "n": headline.n,
                "best_baseline": headline.baseline_name or None,
                "best_baseline_accuracy": headline.baseline,
                "skill": headline.skill,
            }


def _headlines(scores: SplitScores) -> Iterator[tuple[str | None, Headline]]:
    """The whole split, then its accuracy among the symbols where that differs, then the task's headline groups."""
    whole = scores.headline()
    if whole is None:
        return
    yield None, whole
    among = scores.headline(metric="accuracy_among_symbols")
    if among and among.errors != whole.errors:
        yield AMONG_SYMBOLS, among
    for group in all_tasks()[scores.task].headline_groups if scores.task in all_tasks() else ():
        if headline := scores.headline(group):
            yield group, headline


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The texts of a row in `COLUMNS`."""
    whole = row["rows"] == row["of"]
    return (
        f"{row['rows']:,}" if whole else f"first {row['rows']:,} of {row['of']:,}",
        percent(row["accuracy"]),
        f"{percent(row['low'])} to {percent(row['high'])}",
        f"{row['errors']:,} / {row['n']:,}",
        (f"{row['best_baseline']}: " if row["best_baseline"] else "") + percent(row["best_baseline_accuracy"]),
        "" if row["skill"] is None else f"{row['skill']:.2f}",
    )


def as_text(form: str, labelled: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """The tables of several results as one, in one of `table_formats.FORMATS`.

    labelled: for each result, the label of the model, the run folder and result.json.
    """
    entries = [(label, folder, result["model"], row) for label, folder, result in labelled for row in rows(result)]
    where = ("task", "split", "group")
    return table_formats.write(
        form,
        [
            {"model": model["id"], "revision": model["revision"], "run": folder, **row}
            for _, folder, model, row in entries
        ],
        ("model", *where, *COLUMNS),
        [(label, *(row[key] or "" for key in where), *cells(row)) for label, _, _, row in entries],
        texts=1 + len(where),
    )


def remarks(result: dict[str, Any]) -> Iterator[str]:
    """A sentence for each split with non-finite logits, and for each with outputs without an answer."""
    for scores in scores_by_split(result):
        name = f"{scores.task}.{scores.split}"
        if nonfinite := scores.whole("not_a_number"):
            yield (
                f"{name}: {nonfinite['errors']:,} of {nonfinite['n']:,} answers have NaN or infinite logits, and "
                "are excluded from the scores. Use another --dtype, such as float32."
            )
        unanswered = {text: kind for metric, text in UNANSWERED.items() if (kind := scores.whole(metric))}
        if any(kind["errors"] for kind in unanswered.values()):
            counts = ", ".join(f"{kind['errors']:,} {text}" for text, kind in unanswered.items() if kind["errors"])
            n = max(kind["n"] for kind in unanswered.values())
            yield f"{name}: {n:,} answers, of which {counts} (counted as wrong)"


def show(result: dict[str, Any]) -> None:
    """Prints the compact table; to a pipe, in full width."""
    console = _console()
    console.print(summary(result))
    _print_remarks(console, result)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _print_remarks(console: Console, result: dict[str, Any]) -> None:
    for sentence in remarks(result):
        console.print(cell(sentence), soft_wrap=True)


def show_side_by_side(results: Sequence[dict[str, Any]]) -> None:
    """Prints the compact table of one result; of several, a column per model with accuracies and errors."""
    if len(results) == 1:
        show(results[0])
        return
    console = _console()
    table = Table(title="accuracy %, and errors / n", title_justify="left", header_style="bold")
    for name in ("task", "split", *labels([result["model"] for result in results])):
        table.add_column(cell(name), justify="left" if name in {"task", "split"} else "right")
    by_place: dict[tuple[str, str], dict[int, str]] = {}
    for number, result in enumerate(results):
        for row in rows(result):
            if row["group"] is None:
                text = f"{percent(row['accuracy'])}  {row['errors']:,} / {row['n']:,}"
                by_place.setdefault((row["task"], row["split"]), {})[number] = text
    for place, texts in by_place.items():
        table.add_row(*map(cell, place), *(cell(texts.get(number, "")) for number in range(len(results))))
    console.print(table)
    for result in results:
        _print_remarks(console, result)


def print_scores(scored: Sequence[tuple[Run, dict[str, Any]]], form: str | None) -> None:
    """Prints the results of several runs. form: one of `table_formats.FORMATS`, None for a terminal."""
    if form is None:
        for _, result in scored:
            show(result)
        return
    names = labels([result["model"] for _, result in scored])
    labelled = [(name, run.folder.as_posix(), result) for name, (run, result) in zip(names, scored, strict=True)]
    echo(as_text(form, labelled).rstrip("\n"), lines=True)
