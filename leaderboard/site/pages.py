"""Renders the pages. All templates (HTML, SVG, XML) escape every value."""

import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from fflm_data import GENERATOR_VERSION
from fflm_data.number_formats import percent
from harness.models.training_statement import setting_text
from harness.prompts.preview import show
from harness.reporting.error_examples import ErrorExample
from harness.reporting.page import provenance
from harness.runs.version import HARNESS_VERSION
from harness.tasks import Task, all_tasks
from leaderboard.records import record_files
from leaderboard.site import formatting, plots
from leaderboard.site.entries import Cell, Entry
from leaderboard.site.findings import MOST_ROWS
from leaderboard.site.seed_rows import Row
from leaderboard.site.site_data import LARGEST, NO_SIZE, SIZES, SiteData, size_of
from leaderboard.site.sources import Source
from leaderboard.untrusted_text import shorten, visible
from leaderboard.verification_level import LEVELS, REPORTED

DISPUTED = "disputed"
TEMPLATES = Path(__file__).parent / "templates"
# White text on each has a contrast of at least 4.5:1.
BADGE_COLOURS = {"above": "#1f6fb2", "near": "#63666d", "below": "#a34d15"}
BADGE_LETTER = 6.6  # mean width of a letter


@cache
def environment() -> Any:
    """Returns the Jinja environment, with autoescape. Undefined names are errors."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=formatting.clean,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    jinja.filters |= {
        "percent": percent, "count": formatting.count, "short": formatting.short_count, "skill": formatting.skill,
        "points": formatting.points, "shorten": shorten, "visible": visible, "x": _x, "setting": setting_text,
    }  # fmt: skip
    jinja.globals |= {
        "interval": formatting.interval, "span": formatting.span, "counts": formatting.counts,
        "spread": formatting.spread, "seed_count": formatting.seed_count, "size_of": size_of, "plots": plots,
        "badge_text": badge_text, "files": record_files_of, "error_examples_of": error_examples_of,
        "most_rows": MOST_ROWS, "provenance": provenance, "policy": formatting.POLICY,
        "harness_version": HARNESS_VERSION, "generator_version": GENERATOR_VERSION, "is_link": is_link,
    }  # fmt: skip
    return jinja


def is_link(text: str) -> bool:
    """Returns whether an untrusted text may be the target of a link."""
    return text.lower().startswith(("https://", "http://"))


def _x(share: float) -> str:
    """Returns a share as an x coordinate of a bar of width 100."""
    return f"{100 * share:.2f}"


def pages(site: SiteData) -> Iterator[tuple[str, str]]:
    """Yields the path and text of every page."""
    render = partial(_render, site)
    divisions = sorted({row.division for row in site.rows})
    choices = {"families": _families(site), "sizes": _sizes(site), "levels": _levels(site), "divisions": divisions}
    yield "index.html", render("index.html", "", **choices)
    yield "compare.html", render("compare.html", "")
    for entry in site.entries:
        values = {"entry": entry, "group": site.group_of(entry), "series": site.series[entry.slug]}
        yield entry.page, render("model.html", "../", **values)
    for group in site.seed_groups:
        yield group.page, render("recipe.html", "../", group=group, series=site.series[group.slug])
    for task in all_tasks().values():
        yield f"tasks/{task.name}.html", render("task.html", "../", task=task, **_task_values(site, task))


def badge(entry: Entry) -> str:
    """Returns the badge of a row as SVG."""
    name, _, value = badge_text(entry).partition(": ")
    left, right = (round(BADGE_LETTER * len(text) + 12) for text in (name, value))
    colour = BADGE_COLOURS[_headline(entry).against_baseline]
    values = {"name": name, "value": value, "left": left, "right": right, "colour": colour}
    return str(environment().get_template("badge.svg").render(values))


def badge_text(entry: Entry) -> str:
    """Returns the text of a badge: the worst flip-flop split ("memory" if all are whole), else the first cell."""
    cell = _headline(entry)
    name = "memory" if cell is entry.whole_memory else f"{cell.task} {cell.split}"
    notes = {
        f"first {cell.rows:,} rows": cell.partial,
        DISPUTED: entry.verification.disputed,
        "external outputs": entry.external,
    }
    shown = ", ".join(note for note, applies in notes.items() if applies)
    return f"fflm {name}: {percent(cell.value)}%" + (f" ({shown})" if shown else "")


def record_files_of(source: Source) -> list[PurePosixPath]:
    """Returns the files of a source, relative to its folder."""
    return record_files(source.run)


def error_examples_of(entry: Entry, source: Source) -> list[ErrorExample]:
    """Returns the error examples of a source, for the cells of a row that come from it."""
    places = {place for place, cell in entry.cells.items() if cell.source is source}
    return [example for example in source.findings.error_examples if (example.task, example.split) in places]


def _headline(entry: Entry) -> Cell:
    return entry.memory or next(iter(entry.cells.values()))


def _render(site: SiteData, template: str, root: str, **values: Any) -> str:
    """root: relative path from the page to the site's folder."""
    return str(environment().get_template(template).render(site=site, root=root, **values))


def _families(site: SiteData) -> list[str]:
    return sorted({row.family for row in site.rows}, key=lambda name: (name.casefold(), name))


def _sizes(site: SiteData) -> list[str]:
    present = {size_of(row.model) for row in site.rows}
    return [name for name in (*(name for name, _ in SIZES), LARGEST, NO_SIZE) if name in present]


def _levels(site: SiteData) -> list[str]:
    present = {row.verification.level for row in site.rows}
    levels = [level for level in LEVELS if level in present and level != REPORTED]
    return [*levels, DISPUTED] if any(row.verification.disputed for row in site.rows) else levels


def _task_values(site: SiteData, task: Task) -> dict[str, Any]:
    """Returns the values of a task's page: header, example prompt, and per split the rows and the plot."""
    values: dict[str, Any] = {
        "header": _header(task),
        "example": _example(task.name),
        "parts": [],
    }
    for split in task.splits:
        place = task.name, split
        rows = [row for row in site.rows if place in row.cells]
        drawn = [
            (row, row.cells[place], series)
            for row in rows
            if (series := plots.main_series(site.series[row.slug].get(place, [])))
        ]
        if rows:
            sheet = plots.sheet(split, drawn, site.labels)
            values["parts"].append((split, sorted(rows, key=partial(_best, place)), sheet))
    return values


@cache
def _example(task: str) -> str:
    """Returns the prompt of a task's first row, below its header. It is the same in every site."""
    return show(all_tasks()[task], 0).partition("\nversion: ")[2]


def _best(place: tuple[str, str], row: Row) -> tuple[Any, ...]:
    cell = row.cells[place]
    return cell.partial, -cell.value, row.slug


def _header(task: Task) -> list[tuple[str, str]]:
    """Returns the `name: text` lines of a task's docstring. An indented line continues the line before."""
    header: list[tuple[str, str]] = []
    for line in (sys.modules[type(task).__module__].__doc__ or "").strip().splitlines():
        name, colon, text = line.partition(": ")
        if colon and not line.startswith(" "):
            header.append((name, text))
        elif header:
            header[-1] = header[-1][0], f"{header[-1][1]} {line.strip()}"
    return header
