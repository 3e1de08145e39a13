"""Takes the screenshots of README and docs from the bundled records: python docs/pictures.py

Needs playwright and a Chromium (`pip install -e '.[test]'`, `playwright install chromium`).
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from leaderboard.records import RECORDS, record_folders

HERE = Path(__file__).parent
DESK, PHONE = {"width": 1280, "height": 760}, {"width": 390, "height": 844}
REPORT = {"width": 1060, "height": 1233}


@contextmanager
def open_page(browser: Any, page: Path, size: dict[str, int], **options: Any) -> Iterator[Any]:
    """Opens a page in a window of the given size."""
    context = browser.new_context(viewport=size, **options)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_timeout(300)
    yield tab
    context.close()


def section(tab: Any, heading: str, name: str, height: int) -> None:
    """Takes a screenshot of a report section. heading: its title; height: in pixels."""
    top = tab.locator("section", has=tab.get_by_role("heading", name=heading, exact=True)).first.bounding_box()
    width = tab.viewport_size["width"]
    clip = {"x": 0, "y": top["y"] - 8, "width": width, "height": height}
    tab.screenshot(path=HERE / name, full_page=True, clip=clip)


def main() -> None:
    """Builds the site and a report in a temporary folder, and takes the screenshots."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        harness = [sys.executable, "-m", "harness"]
        subprocess.run([*harness, "leaderboard", "build", "--out", folder / "site"], check=True)
        record = next(folder for folder in record_folders(RECORDS) if "SmolLM2" in folder.as_posix())
        shutil.copytree(record, folder / "run")
        subprocess.run([*harness, "report", folder / "run"], check=True)
        browser = playwright.chromium.launch(executable_path=executable)
        site, report = folder / "site", folder / "run" / "report.html"
        (model,) = site.glob("models/*smollm2*.html")
        for page, name, size in (
            (site / "index.html", "leaderboard.png", DESK),
            (model, "leaderboard-model.png", DESK | {"height": 900}),
            (site / "tasks" / "flipflop.html", "leaderboard-task.png", DESK | {"height": 820}),
        ):
            with open_page(browser, page, size) as tab:
                tab.screenshot(path=HERE / name)
        with open_page(browser, site / "index.html", PHONE, color_scheme="dark") as tab:
            tab.screenshot(path=HERE / "leaderboard-phone.png")
        with open_page(browser, report, REPORT) as tab:
            tab.screenshot(path=HERE / "report-table.png")
            section(tab, "Flip-flop", "report-memory.png", 1000)
            section(tab, "Challenged answers", "report-strawberry.png", 621)
        with open_page(browser, report, PHONE, color_scheme="dark", device_scale_factor=1.5) as tab:
            section(tab, "Counting letters", "report-phone.png", 1000)
        browser.close()


if __name__ == "__main__":
    main()
