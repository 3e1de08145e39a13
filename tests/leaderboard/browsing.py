"""Opens pages of a site in a browser and reads the visible table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

from harness.tasks import all_tasks
from leaderboard.records import find_records
from leaderboard.site import pages, serve
from leaderboard.site.entries import Cell, Entry, PromptingOptions
from leaderboard.site.rows import Rows
from leaderboard.site.site_data import assemble
from leaderboard.site.sources import Source
from leaderboard.verification_level import VerificationLevel
from tests.leaderboard.site_fixtures import DAY, Built

PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yields the address at which the package's server serves a folder."""
    with serve.server(folder, 0) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/"
        finally:
            running.shutdown()


@contextmanager
def open_page(browser: Any, where: str, **context: Any) -> Iterator[Any]:
    """Yields a page in a new context. Fails on console messages and on requests to other sites."""
    opened = browser.new_context(**{"viewport": DESK, **context})
    problems: list[str] = []
    page = opened.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.extend([request.url] * (not request.url.startswith(where))))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    try:
        yield page
        assert problems == []
    finally:
        opened.close()


def shown(page: Any) -> list[str]:
    """Returns the slugs of the visible rows, from top to bottom."""
    rows = "[...document.querySelectorAll('#board tbody tr')].filter(row => row.checkVisibility()).map(row => row.id)"
    return list(page.evaluate(rows))


def head(page: Any, key: str) -> Any:
    return page.locator(f"th[data-key='{key}']")


def cell_of(row: dict[str, Any], key: str) -> dict[str, Any] | None:
    return next((cell for cell in row["cells"] if f"{cell['task']}.{cell['split']}" == key), None)


def paths_of(slug: str) -> dict[str, str]:
    """Returns the path of a page of each kind. slug: of the shown model."""
    return {"index": "index.html", "model": f"models/{slug}.html", "task": "tasks/letters.html",
            "compare": "compare.html"}  # fmt: skip


def large_index_page(site: Built, rows: int, of: int) -> str:
    """Returns the index page with 200 models and all tasks, with names and intervals of realistic length."""
    (record, *_) = find_records(site.records)
    findings: Any = SimpleNamespace(result={"scores": []})
    source = Source(
        record.run, findings, record.digest, VerificationLevel("rescored", ""), record.submission, record.place
    )
    numbers: Any = (0.87123, 0.80123, 0.91234, 12_345, 354_289, 0.5, "previous symbol", 0.7, rows, of, 0, source)
    places = [(task.name, split) for task in all_tasks().values() for split in task.splits]
    entries = []
    for number in range(200):
        model = record.run.facts["model"] | {"id": f"organisation-{number}/A-Model-7B-Instruct-v{number}"}
        slug = f"organisation-{number}--a-model-7b-instruct-v{number}-0123456789ab-bfloat16"
        cells = {place: Cell(*place, *numbers) for place in places}
        entries.append(Entry(slug, model, PromptingOptions(), cells, (source,), (), {}))
    board = assemble(Rows(entries, []), [], DAY, "")
    return next(text for name, text in pages.pages(board) if name == "index.html")
