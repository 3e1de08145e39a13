"""The pages, from the board. Templates escape every value, those for SVG and XML as well as those for HTML."""

import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from fflm_data import GENERATOR_VERSION
from fflm_data.number_formats import percent
from harness.prompts.preview import show
from harness.reporting.error_examples import ErrorExample
from harness.reporting.page import provenance
from harness.runs.version import HARNESS_VERSION
from harness.tasks import Task, all_tasks
from leaderboard.records import record_files
from leaderboard.site import plots, texts
from leaderboard.site.board import LARGEST, NO_SIZE, SIZES, Board, size_of
from leaderboard.site.entries import Cell, Entry, Source
from leaderboard.site.verified import MOST_ROWS
from leaderboard.verification_level import LEVELS, REPORTED

DISPUTED = "disputed"
TEMPLATES = Path(__file__).parent / "templates"
# White text on each has 4.5:1.
BADGE_COLOURS = {"above": "#1f6fb2", "near": "#63666d", "below": "#a34d15"}
BADGE_LETTER = 6.6  # width of a letter, about


@cache
def environment() -> Any:
    """Jinja with autoescape; a name that a template misspells is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=texts.clean,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "percent": percent, "count": texts.count, "short": texts.short_count, "skill": texts.skill,
        "points": texts.points, "shortened": texts.shortened, "visible": texts.visible, "x": _x,
    }  # fmt: skip
    made.globals |= {
        "interval": texts.interval, "span": texts.span, "size_of": size_of, "plots": plots,
        "badge_text": badge_text, "files": record_files_of, "error_examples_of": error_examples_of,
        "most_rows": MOST_ROWS, "provenance": provenance, "policy": texts.POLICY,
        "harness_version": HARNESS_VERSION, "generator_version": GENERATOR_VERSION, "is_link": is_link,
    }  # fmt: skip
    return made


def is_link(text: str) -> bool:
    """Whether a foreign text may become the target of a link."""
    return text.lower().startswith(("https://", "http://"))


def _x(share: float) -> str:
    """A share as a coordinate of a bar 100 wide."""
    return f"{100 * share:.2f}"


def pages(board: Board) -> Iterator[tuple[str, str]]:
    """Every page: its path in the site, and its text."""
    render = partial(_render, board)
    divisions = sorted({entry.division for entry in board.entries})
    choices = {"families": _families(board), "sizes": _sizes(board), "levels": _words(board), "divisions": divisions}
    yield "index.html", render("index.html", "", **choices)
    yield "compare.html", render("compare.html", "")
    for entry in board.entries:
        yield f"models/{entry.slug}.html", render("model.html", "../", entry=entry, series=board.series[entry.slug])
    for task in all_tasks().values():
        yield f"tasks/{task.name}.html", render("task.html", "../", task=task, **_about(board, task))


def badge(entry: Entry) -> str:
    """The badge of a row, an SVG of its own."""
    name, _, value = badge_text(entry).partition(": ")
    left, right = (round(BADGE_LETTER * len(text) + 12) for text in (name, value))
    colour = BADGE_COLOURS[_headline(entry).against_baseline]
    values = {"name": name, "value": value, "left": left, "right": right, "colour": colour}
    return str(environment().get_template("badge.svg").render(values))


def badge_text(entry: Entry) -> str:
    """What a badge says: the worst flip-flop split, of a row without one its first cell; a memory if all were asked."""
    cell = _headline(entry)
    name = "memory" if cell is entry.whole_memory else f"{cell.task} {cell.split}"
    notes = [f"first {cell.rows:,} rows"] * cell.partial + [DISPUTED] * bool(entry.verification.disputed)
    notes += ["external outputs"] * entry.external
    return f"fflm {name}: {percent(cell.value)}%" + (f" ({', '.join(notes)})" if notes else "")


def record_files_of(source: Source) -> list[PurePosixPath]:
    """The files of a source that the site has, relative to its folder."""
    return record_files(source.run)


def error_examples_of(entry: Entry, source: Source) -> list[ErrorExample]:
    """The error examples of a source, of those cells of a row that come from it."""
    places = {place for place, cell in entry.cells.items() if cell.source is source}
    return [wrong for wrong in source.findings.error_examples if (wrong.task, wrong.split) in places]


def _headline(entry: Entry) -> Cell:
    return entry.memory or next(iter(entry.cells.values()))


def _render(board: Board, template: str, root: str, **values: Any) -> str:
    """root: the way from the page to the site's folder."""
    return str(environment().get_template(template).render(board=board, root=root, **values))


def _families(board: Board) -> list[str]:
    return sorted({entry.family for entry in board.entries}, key=lambda name: (name.casefold(), name))


def _sizes(board: Board) -> list[str]:
    present = {size_of(entry.model) for entry in board.entries}
    return [name for name in (*(name for name, _ in SIZES), LARGEST, NO_SIZE) if name in present]


def _words(board: Board) -> list[str]:
    present = {entry.verification.word for entry in board.entries}
    disputed = [DISPUTED] * any(entry.verification.disputed for entry in board.entries)
    return [word for word in LEVELS if word in present and word != REPORTED] + disputed


def _about(board: Board, task: Task) -> dict[str, Any]:
    """What a task's page says: its header, a prompt, the numbers of every model and the lines."""
    found: dict[str, Any] = {"header": _header(task), "example": show(task, 0).partition("\nversion: ")[2], "parts": []}
    for split in task.splits:
        place = task.name, split
        entries = [entry for entry in board.entries if place in entry.cells]
        drawn = [
            (entry, entry.cells[place], series)
            for entry in entries
            if (series := plots.main_series(board.series[entry.slug].get(place, [])))
        ]
        if entries:
            sheet = plots.sheet(split, drawn, board.labels)
            found["parts"].append((split, sorted(entries, key=partial(_best, place)), sheet))
    return found


def _best(place: tuple[str, str], entry: Entry) -> tuple[Any, ...]:
    cell = entry.cells[place]
    return cell.partial, -cell.value, entry.slug


def _header(task: Task) -> list[tuple[str, str]]:
    """The `name: text` lines of a task's docstring; a line that begins with a space goes on with the one before."""
    found: list[tuple[str, str]] = []
    for line in (sys.modules[type(task).__module__].__doc__ or "").strip().splitlines():
        name, colon, text = line.partition(": ")
        if colon and not line.startswith(" "):
            found.append((name, text))
        elif found:
            found[-1] = found[-1][0], f"{found[-1][1]} {line.strip()}"
    return found
