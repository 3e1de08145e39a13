"""A result for people at a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fflm_data.terminal import say, visible
from harness.models.model_name import title
from harness.reporting import formats
from harness.reporting.labels import labels
from harness.runs.run import Run
from harness.tasks import all_tasks

COLUMNS = ("rows", "accuracy %", "95% interval", "errors / n", "baseline %", "skill")
UNANSWERED = {"parse_failures": "not understood", "refusals": "refused", "cut_off": "cut off"}


def cell(text: str) -> str:
    """A text for rich: neither markup nor what a terminal would act on."""
    return escape(visible(text))


def percent(value: float) -> str:
    """A share in percent, with as many digits as tell it from 0% and 100%."""
    for digits in range(2, 7):
        text = f"{100 * value:.{digits}f}"
        if value in (0, 1) or float(text) not in (0, 100):
            return text
    return text


def summary(result: dict[str, Any]) -> Table:
    """The compact table: a line a task and split, and one for each part that the task wants beside it."""
    table = Table(title=cell(title(result["model"])), title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for line in lines(result):
        whole = line["group"] is None
        where = (line["task"], line["split"]) if whole else ("", f"  {line['group']}")
        rows, *numbers = cells(line)
        table.add_row(*map(cell, (*where, rows if whole else "", *numbers)))
    return table


def lines(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of that table as names and values, shares as they are in result.json. group: None for all answers of a
    split. best_baseline: the best baseline on the same rows, and its accuracy."""
    for task, data in result["data"]["tasks"].items():
        for split, asked in data["splits"].items():
            scores = {
                (score["metric"], score["group"]): score
                for score in result["scores"]
                if (score["task"], score["split"]) == (task, split)
            }
            where = {"task": task, "split": split}
            size = {"rows": asked["rows"], "of": asked["of"]}
            yield from ({**where, "group": group, **size, **numbers} for group, numbers in _parts(task, scores))


def _parts(
    task: str, scores: dict[tuple[str, str | None], dict[str, Any]]
) -> Iterator[tuple[str | None, dict[str, Any]]]:
    whole = scores.get(("accuracy", None))
    if whole is None:  # no answer was a number
        return
    baseline = max(
        ((score["value"], group) for (metric, group), score in scores.items() if metric == "baseline_accuracy"),
        key=lambda one: one[0],
    )[1]
    yield None, _numbers(whole, scores[("skill", None)], str(baseline))
    among = scores.get(("accuracy_among_symbols", None), whole)
    if among["errors"] != whole["errors"]:
        yield "among its symbols", _numbers(among, None, None)
    for group in all_tasks()[task].headline_groups if task in all_tasks() else ():
        if ("accuracy", group) in scores:
            yield group, _numbers(scores[("accuracy", group)], scores.get(("skill", group)), None)


def _numbers(accuracy: dict[str, Any], skill: dict[str, Any] | None, baseline: str | None) -> dict[str, Any]:
    return {
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "errors": accuracy["errors"],
        "n": accuracy["n"],
        "best_baseline": baseline,
        "best_baseline_accuracy": accuracy["baseline"],
        "skill": None if skill is None else skill["value"],
    }


def cells(line: dict[str, Any]) -> tuple[str, ...]:
    """A line's texts, those of `COLUMNS`."""
    whole = line["rows"] == line["of"]
    return (
        f"{line['rows']:,}" if whole else f"first {line['rows']:,} of {line['of']:,}",
        percent(line["accuracy"]),
        f"{percent(line['low'])} to {percent(line['high'])}",
        f"{line['errors']:,} / {line['n']:,}",
        (f"{line['best_baseline']}: " if line["best_baseline"] else "") + percent(line["best_baseline_accuracy"]),
        "" if line["skill"] is None else f"{line['skill']:.2f}",
    )


def as_text(form: str, labelled: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """The tables of some results as one, in one of `formats.FORMATS`. labelled: what a reader knows each model by, its
    run folder, its result."""
    found = [(label, folder, result["model"], line) for label, folder, result in labelled for line in lines(result)]
    where = ("task", "split", "group")
    return formats.write(
        form,
        [{"model": one["id"], "revision": one["revision"], "run": folder, **line} for _, folder, one, line in found],
        ("model", *where, *COLUMNS),
        [(label, *(line[key] or "" for key in where), *cells(line)) for label, _, _, line in found],
        texts=1 + len(where),
    )


def remarks(result: dict[str, Any]) -> Iterator[str]:
    """A sentence for each part in which the model gave no numbers, or no answers."""
    for task, data in result["data"]["tasks"].items():
        for split in data["splits"]:
            scores = {
                score["metric"]: score
                for score in result["scores"]
                if (score["task"], score["split"], score["group"]) == (task, split, None)
            }
            if lost := scores.get("not_a_number"):
                yield (
                    f"{task}.{split}: {lost['errors']:,} of {lost['n']:,} answers have NaN or infinite logits, and "
                    "count neither as right nor as wrong: try another --dtype, such as float32"
                )
            found = {name: scores[metric] for metric, name in UNANSWERED.items() if metric in scores}
            if any(score["errors"] for score in found.values()):
                listed = ", ".join(f"{score['errors']:,} {name}" for name, score in found.items() if score["errors"])
                n = max(score["n"] for score in found.values())
                yield f"{task}.{split}: of {n:,} answers {listed}, which count as wrong"


def show(result: dict[str, Any]) -> None:
    """Prints the compact table; a pipe gets it as wide as it is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(summary(result))
    for sentence in remarks(result):
        console.print(cell(sentence), soft_wrap=True)


def print_scores(scored: Sequence[tuple[Run, dict[str, Any]]], form: str | None) -> None:
    """Prints the results of some runs. form: one of `formats.FORMATS`, None for a terminal."""
    if form is None:
        for _, result in scored:
            show(result)
        return
    names = labels([result["model"] for _, result in scored])
    labelled = [(name, run.folder.as_posix(), result) for name, (run, result) in zip(names, scored, strict=True)]
    say(as_text(form, labelled).rstrip("\n"), lines=True)
