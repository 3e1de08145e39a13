"""A result for people at a terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def percent(value: float) -> str:
    """A share in percent, with as many digits as tell it from 0% and 100%."""
    for digits in range(2, 7):
        text = f"{100 * value:.{digits}f}"
        if value in (0, 1) or float(text) not in (0, 100):
            return text
    return text


def summary(result: dict[str, Any]) -> Table:
    """The compact table: a line a task and split."""
    model = result["model"]
    title = escape(f"{model['id']} @ {model['revision'][:12]}")
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("task", "split"):
        table.add_column(name)
    for name in ("rows", "accuracy %", "95% interval", "errors / n", "trivial %"):
        table.add_column(name, justify="right")
    for score in result["scores"]:
        if score["metric"] != "accuracy" or score["group"] is not None:
            continue
        asked = result["data"]["tasks"][score["task"]]["splits"][score["split"]]
        table.add_row(
            score["task"],
            score["split"],
            f"{asked['rows']:,}" if asked["rows"] == asked["of"] else f"first {asked['rows']:,} of {asked['of']:,}",
            percent(score["value"]),
            f"{percent(score['low'])} to {percent(score['high'])}",
            f"{score['errors']:,} / {score['n']:,}",
            percent(score["baseline"]),
        )
    return table


def losses(result: dict[str, Any]) -> list[str]:
    """A sentence for each part in which the model gave no numbers."""
    return [
        f"{score['task']}.{score['split']}: {score['errors']:,} of {score['n']:,} answers have NaN or infinite logits, "
        "and count neither as right nor as wrong: try another --dtype, such as float32"
        for score in result["scores"]
        if score["metric"] == "not_a_number"
    ]


def show(result: dict[str, Any]) -> None:
    """Prints the compact table; a pipe gets it as wide as it is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(summary(result))
    for sentence in losses(result):
        console.print(escape(sentence), soft_wrap=True)
