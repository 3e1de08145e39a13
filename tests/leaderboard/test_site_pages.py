"""The pages in Chromium, served by the package's server: accessibility, layout, links."""

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leaderboard.site.formatting import short_count
from leaderboard.site.plots import BOLD, Point, Series, sheet
from tests.leaderboard.browsing import PHONE, cell_of, head, open_page, paths_of
from tests.leaderboard.site_fixtures import Built

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("javascript", [True, False])
def test_permalinks(browser: Any, address: str, site: Built, javascript: bool) -> None:
    slug = site.slug("org/model-2")
    with open_page(browser, address, java_script_enabled=javascript) as page:
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


def test_pages_without_javascript(browser: Any, address: str, site: Built) -> None:
    with open_page(browser, address, java_script_enabled=False) as page:
        page.goto(f"{address}index.html")
        rows = page.locator("#board tbody tr")
        assert rows.count() == len(site.rows)
        for row in site.index["models"]:
            text = page.locator(f"tr[id='{row['slug']}']").inner_text()
            assert row["id"] in text and row["verification"]["level"] in text and row["division"] in text
            assert all(f"{100 * cell['value']:.2f}" in text for cell in row["cells"])
            for cell in row["cells"]:
                assert (f"{cell['percent_interval']} first {cell['rows']:,}" in text) == (
                    cell["rows"] < cell["split_rows"]
                )
                place = f"{cell['task']}.{cell['split']}"
                assert head(page, place).inner_text().split("\n")[-1] == f"{cell['split']}, {cell['split_rows']:,} rows"
        assert page.get_by_role("searchbox").count() == 0 and page.locator("#board button").count() == 0
        assert "62.50" in page.locator("section", has_text="Reported on model pages").first.inner_text()
        link = page.get_by_role("link", name="https://example.org/card")
        assert link.get_attribute("rel") == "nofollow noopener"
        page.goto(f"{address}compare.html")
        assert (
            page.get_by_role("link", name="scores.csv").is_visible() and not page.locator("select").first.is_visible()
        )


@pytest.mark.slow("leaderboard/site")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index", "model", "task", "compare"])
def test_accessibility(browser: Any, address: str, site: Built, kind: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with open_page(browser, address, color_scheme=scheme) as page:
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
def test_layout_on_a_phone(browser: Any, address: str, site: Built, kind: str) -> None:
    with open_page(browser, address, viewport=PHONE) as page:
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
    with open_page(browser, address) as page:
        page.goto(f"{address}compare.html?a={a['slug']}&b={b['slug']}")
        row = page.locator("#difference tbody tr")
        row.wait_for()
        text = row.inner_text()
        first, second = cell_of(a, "letters.test"), cell_of(b, "letters.test")
        assert first and second
        # Computed from the definition of the method.
        difference = first["value"] - second["value"]
        low = difference - ((first["value"] - first["low"]) ** 2 + (second["high"] - second["value"]) ** 2) ** 0.5
        high = difference + ((first["high"] - first["value"]) ** 2 + (second["value"] - second["low"]) ** 2) ** 0.5
        assert all(f"+{100 * value:.2f}" in text for value in (difference, low, high))
        page.locator("select[name=a]").select_option(b["slug"])
        page.locator("select[name=b]").select_option(a["slug"])
        assert f"\N{MINUS SIGN}{100 * difference:.2f}" in row.inner_text()
        page.wait_for_url(f"**/compare.html?a={b['slug']}&b={a['slug']}")
        page.locator("select[name=b]").select_option(site.slug("fflm/lstm"))
        assert not row.is_visible() and page.get_by_role("status").inner_text().startswith("0 common results")


def test_compare_percentages_match_the_table(browser: Any, address: str, site: Built) -> None:
    """Python and JavaScript round halves differently."""
    slug = site.slug("org/partial")
    cell = site.rows[slug]["cells"][0] | {"value": 0.60625, "percent": "60.62", "percent_interval": "18.12\u201393.38"}
    index = site.index | {"models": [site.rows[slug] | {"cells": [cell]}]}
    with open_page(browser, address) as page:
        page.route("**/index.json", lambda route: route.fulfill(json=index))
        page.goto(f"{address}compare.html")
        text = page.locator("#difference tbody td").first.inner_text()
        assert text.split("\n") == ["60.62", "18.12\u201393.38", "first 30 of 1,000"]


def test_compare_with_unknown_models(browser: Any, address: str, site: Built) -> None:
    a, b = (site.slug(name) for name in ("org/both", "org/model-2"))
    for query, gone in ((f"a=<b>&b={b}", "<b>"), ("a=gone&b=gone", "gone")):
        with open_page(browser, address) as page:
            page.goto(f"{address}compare.html?{query}")
            status = page.get_by_text(f"Not on the leaderboard: {gone}. Choose another model.", exact=True)
            status.wait_for()
            page.wait_for_timeout(400)
            assert page.url == f"{address}compare.html?{query}".replace("<", "%3C").replace(">", "%3E")
            assert not page.locator("#difference").is_visible()
            page.locator("select[name=a]").select_option(a)
            assert page.locator("#difference").is_visible() == (f"b={b}" in query)
            page.locator("select[name=b]").select_option(b)
            assert page.locator("#difference").is_visible() and status.count() == 0
            page.wait_for_url(f"**/compare.html?a={a}&b={b}")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1K"), (133_381, "133K"), (999_499, "999K"), (999_500, "1M"), (999_999, "1M"),
        (134_515_008, "135M"), (999_499_999, "999M"), (999_500_000, "1B"), (999_600_000, "1B"),
        (7_240_000_000, "7.24B"), (10**12, "1T"),
    ],
)  # fmt: skip
def test_short_counts(number: int, text: str) -> None:
    assert short_count(number) == text


def drawn(slug: str, value: float, rows: int, **parts: float) -> tuple[Any, Any, Series]:
    points = tuple(Point(name[1:].replace("_", "-"), share, 0, 1, 4, 2, None) for name, share in parts.items())
    cell = SimpleNamespace(value=value, rows=rows, partial=rows < 100)
    return SimpleNamespace(slug=slug, name=f"org/{slug}"), cell, Series("t", "s", "accuracy", "gap", points)


def test_plot_lines_run_from_left_to_right() -> None:
    longest = drawn("b", 0.8, 100, _1=0.9, _4_7=0.7, _16_31=0.6)
    rest = [drawn(f"m{number}", 0.5, 100, _1=0.5, _2_3=0.25) for number in range(BOLD)]
    partial = drawn("a", 1.0, 6, _2_3=1.0, _8_15=0.5)
    found = sheet("s", [partial, *rest, longest], {"a": "a (float32)"})
    assert found is not None and found.names == ("1", "2-3", "4-7", "8-15", "16-31")
    for line in found.lines:
        across = [float(point.split()[0]) for point in line.path.removeprefix("M").split("L")]
        assert across == sorted(across) and len(across) == len(line.values)
    looks = [(line.label, line.css_class) for line in found.lines]
    whole = [(f"org/m{number}", f"s{number + 2}") for number in range(BOLD - 1)]
    last = [(f"org/m{BOLD - 1}", "thin"), ("a (float32)", "part")]
    assert looks == [("org/b", "s1"), *whole, *last] and found.whole == BOLD + 1
    alone = sheet("s", [partial], {})
    assert alone is not None and [line.css_class for line in alone.lines] == ["part"]


@pytest.mark.parametrize("seed", range(5))
def test_groups_without_order_are_not_joined(seed: int) -> None:
    """Groups are in the order of the task, also if some are missing, and each has a separate dash."""
    order, chance = ["head", "middle", "tail", "control", "bare"], random.Random(seed)
    lacking = [[name for name in order if name != gone] for gone in order] + [order[:2], order[3:]]
    chance.shuffle(lacking)
    models = [drawn(str(n), 0.5, 100, **{f"_{name}": 0.5 for name in one}) for n, one in enumerate(lacking)]
    found = sheet("s", models, {})
    assert found is not None and list(found.names) == order and not found.ordered
    for line, names in zip(found.lines, lacking, strict=True):
        assert "L" not in line.path and line.path.count("M") == line.path.count("h") == len(names)


def test_plot_caption(site: Built) -> None:
    text = (site.folder / "tasks" / "letters.html").read_text(encoding="utf-8")
    caption = re.search(r"<figcaption>(.*?)</figcaption>", text)
    cells = [cell for row in site.index["models"] for cell in row["cells"] if cell["task"] == "letters"]
    partial = sum(cell["rows"] < cell["split_rows"] for cell in cells)
    assert caption and f"the best 6 of {len(cells) - partial} whole results in colour" in caption[1]
    assert partial == 1 and "; 1 over the first rows only" in caption[1] and text.count('<path class="part"') == 2
    assert re.search(r"org/partial[^<]* <small>first 30 rows</small>", text)
    assert all(text.count(f'<path class="s{number}"') == 2 for number in range(1, 7))


def test_model_page(browser: Any, address: str, site: Built) -> None:
    slug = site.slug("org/both")
    with open_page(browser, address) as page:
        page.goto(f"{address}models/{slug}.html")
        text = page.locator("main").inner_text()
        output = (
            "harness eval --model org/both",
            "a tester",
            "CC-BY-4.0",
            "n0nce",
            "Spot-checked",
            "+8.25",
            "off by 1",
        )
        for message in (*output, "every score recomputed", "of 9", f"badges/{slug}.svg"):
            assert message in text, message
        figures = page.locator("figure")
        assert figures.count() >= 4
        for figure in figures.all():  # what is drawn also stands in a table
            assert figure.locator("tbody tr").count() == figure.locator("svg circle").count() > 1
        links = page.locator("main a").evaluate_all("all => all.map(one => one.href)")
        assert any(link.endswith("observations/letters.test.parquet") for link in links)
        assert any(link.endswith(f"{slug}.letters.test.csv") for link in links)


def test_links_are_valid(site: Built) -> None:
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
