"""The table in Chromium: sorting, filters, search, column groups, links to views, many rows."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.browsing import DESK, PHONE, cell_of, head, large_index_page, open_page, served, shown
from tests.leaderboard.site_fixtures import Built

ASSETS = ("style.css", "site.js", "icon.svg")


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The index page at desktop size."""
    with open_page(browser, address) as opened:
        opened.goto(f"{address}index.html")
        yield opened


def in_order(rows: list[dict[str, Any]], key: str, descending: bool) -> list[str]:
    """Returns the expected order of a column: whole results, partial ones, empty cells."""

    def value(row: dict[str, Any]) -> Any:
        if key == "model":
            return row["id"].lower()
        if key == "verification":
            return ["reported", "rescored", "spot-checked", "re-run"].index(row["verification"]["level"])
        if key == "memory":
            return row["memory"] and row["memory"]["rank"]["best"]
        if key == "gap":
            return row["fresh_gap"] and round(100 * row["fresh_gap"]["value"], 2)
        cell = cell_of(row, key)
        return cell and round(100 * cell["value"], 2)

    def part(row: dict[str, Any]) -> bool:
        cell = cell_of(row, key)
        return cell is not None and cell["rows"] < cell["split_rows"]

    present = [row for row in rows if value(row) is not None]
    whole, partial = ([row for row in present if part(row) == one] for one in (False, True))
    # Equal values keep the order of the table in both directions.
    ordered = [row for group in (whole, partial) for row in sorted(group, key=value, reverse=descending)]
    return [row["slug"] for row in ordered] + [row["slug"] for row in rows if value(row) is None]


COLUMNS = ["model", "verification", "memory", "gap", "letters.test", "arithmetic.test", "flipflop.val"]


@pytest.mark.parametrize("key", COLUMNS)
def test_sort_by_mouse(page: Any, site: Built, key: str) -> None:
    rows = site.index["models"]
    assert shown(page) == [row["slug"] for row in rows]
    directions = []
    for _ in range(2):
        head(page, key).get_by_role("button").click()
        directions.append(head(page, key).get_attribute("aria-sort"))
        assert shown(page) == in_order(rows, key, directions[-1] == "descending")
        assert page.locator("[aria-sort]").count() == 1
    assert sorted(directions) == ["ascending", "descending"]


def test_partial_results_sort_last(page: Any, site: Built) -> None:
    partial, without = site.slug("org/partial"), site.slug("fflm/lstm")
    for _ in range(2):
        head(page, "letters.test").get_by_role("button").click()
        assert shown(page)[-2:] == [partial, without]


@pytest.mark.parametrize("press", ["Enter", "Space"])
def test_sort_by_keyboard(page: Any, site: Built, press: str) -> None:
    page.locator("button[type=reset]").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.dataset.key") == "letters.test":
            break
    page.keyboard.press(press)
    assert head(page, "letters.test").get_attribute("aria-sort") == "descending"
    assert shown(page) == in_order(site.index["models"], "letters.test", True)
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "letters.test"  # and keeps the focus


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("division", "trained on fflm", lambda row: row["division"] == "trained on fflm"),
        ("division", "pretrained", lambda row: row["division"] == "pretrained"),
        ("size", "100M to 1B", lambda row: 10**8 <= row["parameters"] < 10**9),
        ("size", "under 10M", lambda row: row["parameters"] < 10**7),
        ("family", "GPT2", lambda row: row["id"] == "org/both"),
        ("task", "arithmetic", lambda row: row["id"] == "org/both"),
        ("task", "flipflop", lambda row: False),
        ("verification", "spot-checked", lambda row: row["verification"]["level"] == "spot-checked"),
        ("verification", "disputed", lambda row: row["verification"]["disputed"]),
    ],
)
def test_filters(page: Any, site: Built, name: str, value: str, fits: Callable[[Any], bool]) -> None:
    rows = site.index["models"]
    page.locator(f"select[name={name}]").select_option(value)
    assert shown(page) == [row["slug"] for row in rows if fits(row)]
    assert page.get_by_role("status").inner_text() == f"{len(shown(page))} of {len(rows)} rows shown"
    page.get_by_role("button", name="Reset").click()
    assert len(shown(page)) == len(rows)


def test_search(page: Any, site: Built) -> None:
    page.get_by_role("searchbox").fill("MODEL- org")
    assert len(shown(page)) == 6
    page.get_by_role("searchbox").fill("be brief")
    assert shown(page) == [site.slug("org/shots")]
    page.get_by_role("searchbox").fill("(.*")
    assert shown(page) == []


def test_column_groups(page: Any) -> None:
    button = page.get_by_role("button", name="letters", exact=True)
    assert button.get_attribute("aria-pressed") == "true"
    cells = page.locator("#board tbody tr").first.locator("td:visible")
    before = cells.count()
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert cells.count() == before - 1 and not head(page, "letters.test").is_visible()
    assert not page.locator("th.g", has_text="letters").is_visible()
    button.click()
    assert cells.count() == before and head(page, "letters.test").is_visible()


def test_view_is_kept_in_the_address(page: Any, browser: Any, address: str) -> None:
    page.get_by_role("searchbox").fill("org")
    page.locator("select[name=verification]").select_option("rescored")
    head(page, "letters.test").get_by_role("button").click()
    page.get_by_role("button", name="memory", exact=True).click()
    page.wait_for_url(re.compile("hide=memory"))
    with open_page(browser, address) as other:
        other.goto(page.url)
        assert shown(other) == shown(page) and 0 < len(shown(other)) < 12
        assert head(other, "letters.test").get_attribute("aria-sort") == "descending"
        assert not head(other, "flipflop.val").is_visible()
        assert other.get_by_role("searchbox").input_value() == "org"
        other.goto(f"{address}index.html?size=<b>&sort=nothing&hide=x&q=")  # what nobody can have clicked
        assert len(shown(other)) == 12


CALLS = "const one = history.replaceState; history.replaceState = (...all) => { calls++; one.apply(history, all); }"


def test_address_updates_are_delayed(page: Any, site: Built) -> None:
    """Safari refuses more than 100 changes in 30 seconds."""
    page.evaluate(f"window.calls = 0; {CALLS}; 0")
    page.get_by_role("searchbox").press_sequentially("org/model " * 10, delay=1)
    page.wait_for_url(re.compile(r"\?q=(org%2Fmodel\+){10}$"))
    assert page.evaluate("calls") < 10
    page.get_by_role("searchbox").fill("org/model-2")
    page.locator(f"tr[id='{site.slug('org/model-2')}'] th a").first.click()  # before the address has followed
    page.wait_for_url(re.compile("/models/"))
    page.go_back()
    assert page.get_by_role("searchbox").input_value() == "org/model-2" and page.url.endswith("?q=org%2Fmodel-2")


@pytest.mark.parametrize(("rows", "of"), [(1000, 1000), (6, 1000), (1000, 100_000)])
def test_index_of_200_models_is_light(site: Built, rows: int, of: int) -> None:
    """Size of the first load, uncompressed."""
    text = large_index_page(site, rows, of)
    assert text.count("<tr id=") == 200 and text.count("87.12") == 200 * 13 and text.count(f", {of:,} rows<") == 13
    assert text.count(f" first {rows:,}<") == (200 * 13 if rows < of else 0)
    assert len(text.encode()) + sum((site.folder / name).stat().st_size for name in ASSETS) < 300_000


@pytest.fixture(scope="module")
def crowded(site: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page of 200 models with partial results."""
    folder: Path = tmp_path_factory.mktemp("crowded")
    (folder / "index.html").write_text(large_index_page(site, 1000, 100_000), encoding="utf-8", newline="\n")
    for name in ASSETS:
        shutil.copyfile(site.folder / name, folder / name)
    with served(folder) as where:
        yield where


def test_focus_is_visible(browser: Any, crowded: str) -> None:
    seen = """() => {
      const one = document.activeElement, here = one.getBoundingClientRect();
      const box = one.closest(".scroll").getBoundingClientRect();
      const middle = (here.top + here.bottom) / 2, ends = [here.left + 1, here.right - 1];
      return { key: one.closest("th").dataset.key,
        inside: here.left >= box.left && here.right <= box.right && here.top >= box.top && here.bottom <= box.bottom,
        uncovered: ends.every((x) => one.contains(document.elementFromPoint(x, middle))) };
    }"""
    with open_page(browser, crowded, viewport=PHONE) as page:
        page.goto(crowded)
        keys = page.locator("#board th[data-key]").evaluate_all("all => all.map(one => one.dataset.key)")
        page.locator(".scroll").first.focus()
        found = []
        for press in ["Tab"] * len(keys) + ["Shift+Tab"] * (len(keys) - 1):
            page.keyboard.press(press)
            found.append(page.evaluate(seen))
        assert [one["key"] for one in found] == keys + keys[-2::-1] and len(keys) == 17
        assert [one for one in found if not (one["inside"] and one["uncovered"])] == []


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_sticky_headers(browser: Any, crowded: str, viewport: dict[str, int]) -> None:
    with open_page(browser, crowded, viewport=viewport) as page:
        page.goto(crowded)
        box, name = page.locator(".scroll").first, page.locator("#board tbody tr").nth(100).locator("th")
        box.evaluate("one => one.scrollTo(400, 5000)")
        top, left = (box.bounding_box()[side] for side in "yx")
        heads = page.locator("#board thead tr").first.bounding_box()
        assert heads["y"] == pytest.approx(top, abs=2) and name.bounding_box()["x"] == pytest.approx(left, abs=2)
        assert box.bounding_box()["height"] < viewport["height"]
        page.locator("#board tbody tr").nth(150).locator("a").first.focus()
        below = page.locator("#board thead").bounding_box()
        assert page.locator("a:focus").bounding_box()["y"] >= below["y"] + below["height"]


def test_print(browser: Any, crowded: str) -> None:
    with open_page(browser, crowded, viewport={"width": 718, "height": 1000}, color_scheme="dark") as page:  # A4
        page.goto(crowded)
        page.emulate_media(media="print")
        assert not any(page.locator(one).first.is_visible() for one in ("#controls", "#count", "nav", "a.k"))
        box = page.locator(".scroll").first
        assert box.evaluate("one => getComputedStyle(one).overflow") == "visible"
        for way in ("Width", "Height"):
            assert box.evaluate(f"one => one.scroll{way} - one.client{way}") == 0
        looks = "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).position]"
        for one in ("#board tbody td.a", "#board tbody th", "#board tbody th a", "#board thead"):
            assert page.locator(one).first.evaluate(looks) == ["rgba(0, 0, 0, 0)", "static"]
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 28, 30)"  # dark ink on paper
