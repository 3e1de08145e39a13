"""The pages in real Chromium, over HTTP from the package's own server: for everybody, on every screen."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.browsing import PHONE, cell_of, head, paths_of, watched
from tests.leaderboard.sites import Built

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("javascript", [True, False])
def test_permalinks(browser: Any, address: str, site: Built, javascript: bool) -> None:
    slug = site.slug("org/model-2")
    with watched(browser, address, java_script_enabled=javascript) as page:
        page.goto(f"{address}index.html")
        page.locator(f"tr[id='{slug}'] a.k").click()
        assert page.url == f"{address}index.html#{slug}"
        marked, plain = (page.locator(f"tr[id='{one}'] th") for one in (slug, site.slug("org/model-3")))
        if javascript:
            colours = [one.evaluate("one => getComputedStyle(one).backgroundColor") for one in (marked, plain)]
            assert colours[0] != colours[1]
        marked.get_by_role("link").first.click()
        assert page.url == f"{address}models/{slug}.html"
        assert page.get_by_role("heading", level=1).inner_text() == "org/model-2"


def test_without_javascript_all_is_there(browser: Any, address: str, site: Built) -> None:
    with watched(browser, address, java_script_enabled=False) as page:
        page.goto(f"{address}index.html")
        rows = page.locator("#board tbody tr")
        assert rows.count() == len(site.rows)
        for row in site.index["models"]:
            text = page.locator(f"tr[id='{row['slug']}']").inner_text()
            assert row["id"] in text and row["standing"]["word"] in text and row["division"] in text
            assert all(f"{100 * cell['value']:.2f}" in text for cell in row["cells"])
            for cell in row["cells"]:
                assert (f"first {cell['rows']:,} of {cell['of']:,}" in text) == (cell["rows"] < cell["of"])
        assert page.get_by_role("searchbox").count() == 0 and page.locator("#board button").count() == 0
        assert "62.50" in page.locator("section", has_text="Reported elsewhere").first.inner_text()
        link = page.get_by_role("link", name="https://example.org/card")
        assert link.get_attribute("rel") == "nofollow noopener"
        page.goto(f"{address}compare.html")
        assert (
            page.get_by_role("link", name="scores.csv").is_visible() and not page.locator("select").first.is_visible()
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index", "model", "task", "compare"])
def test_axe_finds_nothing(browser: Any, address: str, site: Built, kind: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with watched(browser, address, color_scheme=scheme) as page:
        page.goto(address + paths_of(site.slug("org/both"))[kind])
        if kind == "index":
            head(page, "letters.test").get_by_role("button").click()
            page.locator("a.k").first.click()
        if kind == "compare":
            page.locator("#difference td").first.wait_for()
        for details in page.locator("details").all():
            details.locator("summary").first.click()
        found = Axe().run(page).response
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]] == []
        assert len(found["passes"]) > 10


@pytest.mark.parametrize("kind", ["index", "model", "task", "compare"])
def test_on_a_phone_only_tables_scroll(browser: Any, address: str, site: Built, kind: str) -> None:
    with watched(browser, address, viewport=PHONE) as page:
        page.goto(address + paths_of(site.slug("org/both"))[kind])
        if kind == "compare":
            page.locator("#difference td").first.wait_for()
        assert page.evaluate(OVERFLOW) == 0
        if kind == "index":
            first = page.locator("#board tbody th").first
            before = first.bounding_box()["x"]
            page.locator(".scroll").first.evaluate("one => one.scrollLeft = 300")
            assert page.locator(".scroll").first.evaluate("one => one.scrollLeft") > 100
            assert first.bounding_box()["x"] == before  # the names stay


def test_compare(browser: Any, address: str, site: Built) -> None:
    a, b = (site.rows[site.slug(name)] for name in ("org/both", "org/model-2"))
    with watched(browser, address) as page:
        page.goto(f"{address}compare.html?a={a['slug']}&b={b['slug']}")
        row = page.locator("#difference tbody tr")
        row.wait_for()
        text = row.inner_text()
        first, second = cell_of(a, "letters.test"), cell_of(b, "letters.test")
        assert first and second
        # By hand, from the definition of the method.
        difference = first["value"] - second["value"]
        low = difference - ((first["value"] - first["low"]) ** 2 + (second["high"] - second["value"]) ** 2) ** 0.5
        high = difference + ((first["high"] - first["value"]) ** 2 + (second["value"] - second["low"]) ** 2) ** 0.5
        assert all(f"+{100 * value:.2f}" in text for value in (difference, low, high))
        page.locator("select[name=a]").select_option(b["slug"])
        page.locator("select[name=b]").select_option(a["slug"])
        assert f"\N{MINUS SIGN}{100 * difference:.2f}" in row.inner_text()
        assert page.url.endswith(f"compare.html?a={b['slug']}&b={a['slug']}")
        page.locator("select[name=b]").select_option(site.slug("fflm/lstm"))
        assert not row.is_visible() and page.get_by_role("status").inner_text().startswith("0 common results")


def test_a_model_page_says_all(browser: Any, address: str, site: Built) -> None:
    slug = site.slug("org/both")
    with watched(browser, address) as page:
        page.goto(f"{address}models/{slug}.html")
        text = page.locator("main").inner_text()
        told = ("harness eval --model org/both", "a tester", "CC-BY-4.0", "n0nce", "Spot-checked", "+8.25", "off by 1")
        for said in (*told, "every score recomputed", "of 10", f"badges/{slug}.svg"):
            assert said in text, said
        figures = page.locator("figure")
        assert figures.count() >= 4
        for figure in figures.all():  # what is drawn also stands in a table
            assert figure.locator("tbody tr").count() == figure.locator("svg circle").count() > 1
        links = page.locator("main a").evaluate_all("all => all.map(one => one.href)")
        assert any(link.endswith("observations/letters.test.parquet") for link in links)
        assert any(link.endswith(f"{slug}.letters.test.csv") for link in links)


def test_no_link_is_dead(site: Built) -> None:
    class Links(HTMLParser):
        def __init__(self, path: Path):
            super().__init__()
            self.path, self.found, self.ids = path, set[str](), set[str]()
            self.feed(path.read_text(encoding="utf-8"))

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            for name, value in attrs:
                if name in ("href", "src"):
                    self.found.add(value)
                if name == "id":
                    assert value not in self.ids
                    self.ids.add(value)
                assert name != "style" and not name.startswith("on")
            assert tag not in ("style", "iframe", "object", "embed", "base")

    pages = [Links(path) for path in site.folder.rglob("*.html")]
    by_path = {page.path: page for page in pages}
    assert len(pages) == len(site.rows) + 11 + 2
    for page in pages:
        for link in page.found:
            if re.match("https?://", link):
                continue
            target, _, name = link.partition("#")
            path = (page.path.parent / target.partition("?")[0]).resolve() if target else page.path
            assert path.is_file(), (page.path, link)
            assert not name or name in by_path[path].ids, (page.path, link)
