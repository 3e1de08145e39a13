"""A result for people at a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.tasks import all_tasks

COLUMNS = ("rows", "accuracy %", "95% interval", "errors / n", "best guess %", "skill")
UNANSWERED = {"parse_failures": "not understood", "refusals": "refused", "cut_off": "cut off"}


def percent(value: float) -> str:
    """A share in percent, with as many digits as tell it from 0% and 100%."""
    for digits in range(2, 7):
        text = f"{100 * value:.{digits}f}"
        if value in (0, 1) or float(text) not in (0, 100):
            return text
    return text


def summary(result: dict[str, Any]) -> Table:
    """The compact table: a line a task and split, and one for each part that the task wants beside it."""
    model = result["model"]
    title = escape(f"{model['id']} @ {model['revision'][:12]}")
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for task, data in result["data"]["tasks"].items():
        for split, asked in data["splits"].items():
            scores = {
                (score["metric"], score["group"]): score
                for score in result["scores"]
                if (score["task"], score["split"]) == (task, split)
            }
            for line in _lines(task, split, asked, scores):
                table.add_row(*line)
    return table


def _lines(
    task: str, split: str, asked: dict[str, int], scores: dict[tuple[str, str | None], dict[str, Any]]
) -> Iterator[tuple[str, ...]]:
    whole = scores.get(("accuracy", None))
    if whole is None:  # no answer was a number
        return
    rows = f"{asked['rows']:,}" if asked["rows"] == asked["of"] else f"first {asked['rows']:,} of {asked['of']:,}"
    guess = max(
        ((score["value"], group) for (metric, group), score in scores.items() if metric == "baseline_accuracy"),
        key=lambda one: one[0],
    )[1]
    yield task, split, rows, *_numbers(whole, scores[("skill", None)], str(guess))
    among = scores.get(("accuracy_among_symbols", None), whole)
    if among["errors"] != whole["errors"]:
        yield "", "  among its symbols", "", *_numbers(among, None, "")
    for group in all_tasks()[task].beside if task in all_tasks() else ():
        if ("accuracy", group) in scores:
            yield "", f"  {group}", "", *_numbers(scores[("accuracy", group)], scores.get(("skill", group)), "")


def _numbers(accuracy: dict[str, Any], skill: dict[str, Any] | None, guess: str) -> tuple[str, ...]:
    return (
        percent(accuracy["value"]),
        f"{percent(accuracy['low'])} to {percent(accuracy['high'])}",
        f"{accuracy['errors']:,} / {accuracy['n']:,}",
        (f"{guess}: " if guess else "") + percent(accuracy["baseline"]),
        "" if skill is None or skill["value"] is None else f"{skill['value']:.2f}",
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
        console.print(escape(sentence), soft_wrap=True)
