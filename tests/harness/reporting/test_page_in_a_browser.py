"""Report and comparison pages in a real browser: desktop and phone, light and dark mode."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import UserError
from harness.reporting.page import write_comparison, write_report
from harness.reporting.run_labels import labels
from harness.runs import observations
from harness.runs.run import Run
from tests.harness.reporting.test_page import HOSTILE, made_up_run

# For every text of the page that shows: its size in pixels and its contrast with what is painted beneath it, the
# paint of shapes and boxes laid over one another down to the page.
MEASURE = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, below, alpha) => top.map((part, i) => alpha * part + (1 - alpha) * below[i]);
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    const shows = element.checkVisibility({contentVisibilityAuto: true});
    if (!own || !box.width || !shows || ['title', 'desc', 'style'].includes(element.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(element);
    const line = element.tagName === 'text' ? box : range.getClientRects()[0];
    const [x, y] = [line.left + line.width / 2, line.top + line.height / 2];
    if (x < 0 || x > innerWidth) continue;
    const stack = document.elementsFromPoint(x, y).filter(one => !['text', 'SPAN'].includes(one.tagName));
    let ground = parse(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    for (const one of stack.reverse()) {
      const style = getComputedStyle(one);
      const shape = one instanceof SVGGeometryElement;
      const [r, g, b, a = 1] = parse(shape ? style.fill : style.backgroundColor);
      if (r === undefined || (shape && style.fill.startsWith('url'))) continue;
      ground = over([r, g, b], ground, a * (shape ? style.fillOpacity * style.opacity : 1));
    }
    const style = getComputedStyle(element);
    const svg = element.ownerSVGElement;
    const ink = light(parse(svg ? style.fill : style.color).slice(0, 3)), paper = light(ground);
    const size = parseFloat(style.fontSize) * (svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const right = svg ? box.right - svg.getBoundingClientRect().right : 0;
    found.push({text: element.textContent.trim().slice(0, 40), svg: !!svg, size, contrast, right});
  }
  return found;
}"""

# Texts of one plot that lie on each other by more than a pixel.
OVERLAPS = """() => [...document.querySelectorAll('figure > svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
  return boxes.flatMap(([text, a], i) => boxes.slice(i + 1).filter(([, b]) =>
    shared(a, b, 'left', 'right') > 1 && shared(a, b, 'top', 'bottom') > 2
  ).map(([other]) => [svg.querySelector('title').textContent, text, other]));
})"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    some = ("flipflop", "flipflop-prose", "query-count", "letters", "strawberry", "capitals")
    return [
        made_up_run(folder / "whole", seed=0, model="org/whole"),
        made_up_run(folder / "part", seed=1, model="org/" + "b" * 60, tasks=some),
        made_up_run(folder / "other", seed=2, model="org/other", tasks=some),
    ]


@pytest.fixture(scope="module")
def written(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "report": write_report(runs[0]),
        "compare": write_comparison(runs[1:], tmp_path_factory.mktemp("out") / "new"),
    }


def opened(browser: Any, path: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """A page as high as its content, and its errors and external requests."""
    page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, problems


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow("harness/reporting"))])
@pytest.mark.parametrize("name", ["report", "compare"])
def test_pages_in_browser(browser: Any, written: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page, problems = opened(browser, written[name], width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0  # only tables scroll sideways
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
    page.set_viewport_size({"width": width, "height": page.evaluate(f"{root}.scrollHeight")})
    texts = page.evaluate(MEASURE)
    curves = [one for one in texts if one["svg"]]
    assert len(curves) > 300 and len(texts) > len(curves) + 60
    assert [one for one in texts if one["contrast"] < 4.5] == []
    assert [one for one in curves if one["size"] < 10.5] == []
    assert [one for one in curves if one["right"] > 0] == []  # no text is cut off at the edge of its plot
    assert page.evaluate(OVERLAPS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(251, 251, 249)", "dark": "rgb(21, 23, 26)"}[scheme]
    assert problems == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_svg_file_in_browser(browser: Any, written: dict[str, Path], scheme: str) -> None:
    path = written["report"].parent / "plots" / "flipflop-distance.svg"
    page, problems = opened(browser, path, 400, scheme)
    colours = "[...document.querySelectorAll('text')].map(one => getComputedStyle(one).fill)"
    ground = page.evaluate("getComputedStyle(document.querySelector('rect')).fill")
    expected = {"light": ("rgb(251, 251, 249)", "rgb(27, 28, 30)"), "dark": ("rgb(21, 23, 26)", "rgb(236, 237, 238)")}
    assert (ground, expected[scheme][1] in page.evaluate(colours)) == (expected[scheme][0], True)
    assert problems == []
    page.context.close()


def test_everything_from_a_run_is_escaped(browser: Any, written: dict[str, Path]) -> None:
    for path in written.values():
        page, problems = opened(browser, path, 1280, "light")
        assert "owned" not in page.title()
        assert page.locator("script, img, iframe, link, object").count() == 0
        assert HOSTILE.split("{{")[0] in page.locator("dl.facts").first.inner_text()
        assert "{{ 7 * 7 }}" in page.locator("dl.facts").first.inner_text()
        assert problems == []
        page.context.close()


def test_hostile_outputs_are_shown_verbatim(tmp_path: Path) -> None:
    """The only wrong answers of this run are hostile outputs."""
    run = made_up_run(tmp_path / "run", seed=5, tasks=("letters",))
    (job,) = run.jobs()
    table = observations.read(run.table(job), observations.schema_of(job.task, job.config))
    outputs = table.set_column(2, "output", [[HOSTILE] * table.num_rows])
    with observations.writing(run.table(job), table.schema) as writer:
        writer.write_table(outputs)
    facts = run.facts | {"model": run.facts["model"] | {"id": HOSTILE, "dtype": HOSTILE, "revision": HOSTILE}}
    text = write_report(replace(run, facts=facts)).read_text(encoding="utf-8")
    assert "<samp>&lt;script&gt;" in text and "<h1>&lt;script&gt;" in text
    assert "<script" not in text and "<img" not in text and "49" not in text.split("<samp>")[1].split("</samp>")[0]


def test_report_is_reproducible_and_removes_old_plots(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", seed=4, tasks=("flipflop-prose", "letters", "strawberry"))
    page = write_report(run)
    before = {path: path.read_bytes() for path in [page, *(run.folder / "plots").iterdir()]}
    (run.folder / "plots" / "of-an-earlier-version.svg").write_text("<svg/>", encoding="utf-8")
    assert write_report(run) == page
    assert {path: path.read_bytes() for path in [page, *(run.folder / "plots").iterdir()]} == before
    assert len(before) == 8


def test_missing_observations_are_reported(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", seed=3, tasks=("arithmetic",))
    (job,) = run.jobs()
    run.table(job).unlink()
    with pytest.raises(UserError, match=r"arithmetic\.test"):
        write_report(run)
    assert not (run.folder / "report.html").exists()


def test_labels_show_what_differs() -> None:
    one = {"id": "a/m", "dtype": "float32", "revision": "1" * 40}
    assert labels([one, one | {"id": "b/m"}]) == ["a/m", "b/m"]
    assert labels([one, one | {"dtype": "bfloat16"}]) == ["a/m float32", "a/m bfloat16"]
    assert labels([one, one | {"revision": "2" * 40}]) == ["a/m float32 1111111", "a/m float32 2222222"]
    assert labels([one, one]) == ["a/m float32 1111111 (1)", "a/m float32 1111111 (2)"]


@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_bars_of_the_table_show_the_value_itself(tmp_path: Path, wrong: int) -> None:
    """Not only the interval, which is below the value of a model without errors."""
    run = made_up_run(tmp_path, seed=1, tasks=("letters",))
    (job,) = run.jobs()
    target = job.config.table(job.split, 0, job.rows)["answer"].to_pylist()
    observed = pq.read_table(run.table(job))
    outputs = pa.array([str(answer + (row < wrong)) for row, answer in enumerate(target)])
    pq.write_table(
        observed.set_column(2, "output", outputs).set_column(3, "tokens", pa.array([1] * len(target), pa.int32())),
        run.table(job),
    )
    page = write_report(run).read_text(encoding="utf-8")
    (at,) = re.findall(r'<rect class="at" x="([0-9.]+)"', page)
    (start,) = re.findall(r'<rect class="interval" x="([0-9.]+)"', page)
    share = 100 * (1 - wrong / len(target))
    assert float(at) == pytest.approx(min(share, 98.2), abs=0.01) and float(start) < share
