"""The table in real Chromium: sorting, filters, search, groups of columns, a view as a link."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.leaderboard.browsing import cell_of, head, shown, watched
from tests.leaderboard.sites import Built


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The first page at a desk."""
    with watched(browser, address) as opened:
        opened.goto(f"{address}index.html")
        yield opened


def in_order(rows: list[dict[str, Any]], key: str, descending: bool) -> list[str]:
    """The order of a column by what its cells show: partial results after whole ones, then those without."""

    def value(row: dict[str, Any]) -> Any:
        if key == "model":
            return row["id"].lower()
        if key == "standing":
            return ["reported", "rescored", "spot-checked", "re-run"].index(row["standing"]["word"])
        if key == "memory":
            return row["memory"] and row["memory"]["rank"]["best"]
        if key == "gap":
            return row["fresh_gap"] and round(100 * row["fresh_gap"]["value"], 2)
        cell = cell_of(row, key)
        return cell and round(100 * cell["value"], 2)

    def part(row: dict[str, Any]) -> bool:
        cell = cell_of(row, key)
        return bool(cell) and cell["rows"] < cell["of"]

    present = [row for row in rows if value(row) is not None]
    whole, partial = ([row for row in present if part(row) == one] for one in (False, True))
    # Sorted either way, equals stay in the order of the table.
    ordered = [row for group in (whole, partial) for row in sorted(group, key=value, reverse=descending)]
    return [row["slug"] for row in ordered] + [row["slug"] for row in rows if value(row) is None]


COLUMNS = ["model", "standing", "memory", "gap", "letters.test", "arithmetic.test", "flipflop.val"]


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


def test_partial_results_come_last_in_both_directions(page: Any, site: Built) -> None:
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
        ("standing", "spot-checked", lambda row: row["standing"]["word"] == "spot-checked"),
        ("standing", "disputed", lambda row: row["standing"]["disputed"]),
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


def test_a_view_can_be_linked(page: Any, browser: Any, address: str) -> None:
    page.get_by_role("searchbox").fill("org")
    page.locator("select[name=standing]").select_option("rescored")
    head(page, "letters.test").get_by_role("button").click()
    page.get_by_role("button", name="memory", exact=True).click()
    with watched(browser, address) as other:
        other.goto(page.url)
        assert shown(other) == shown(page) and 0 < len(shown(other)) < 12
        assert head(other, "letters.test").get_attribute("aria-sort") == "descending"
        assert not head(other, "flipflop.val").is_visible()
        assert other.get_by_role("searchbox").input_value() == "org"
        other.goto(f"{address}index.html?size=<b>&sort=nothing&hide=x&q=")  # what nobody can have clicked
        assert len(shown(other)) == 12
