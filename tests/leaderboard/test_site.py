"""Records and the page made of them, with real runs and a real browser."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.run import read_run
from leaderboard import records, site, submit
from tests.conftest import Run, refused
from tests.harness import models

REPOSITORY = Path(__file__).parents[2]
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags, and the text of each table cell."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += " " + data.strip()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the LSTM, made once."""
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "20", "--output", str(output)]) == 0
    return output


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed at will."""
    shutil.copytree(finished, tmp_path / "runs")
    (folder,) = tmp_path.glob("runs/*/*")
    return folder


def test_accepted_records_are_whole_and_score_as_they_say() -> None:
    """The full run of the LSTM among them: 0 errors on every read of the three splits."""
    runs = records.find_records()
    results = {run.facts["model"]["id"]: records.rescore(run) for run in runs}
    assert {"fflm/lstm", "local/SmolLM2-135M-Instruct.Q4_1"} <= set(results)
    lstm = {
        score["split"]: (score["errors"], score["n"])
        for score in results["fflm/lstm"]["scores"]
        if score["metric"] == "accuracy" and score["group"] is None
    }
    assert lstm == {"val": (0, 26_711), "val_sparse": (0, 354_289), "val_dense": (0, 345_707)}
    for run in runs:
        size = sum(run.table(job).stat().st_size for job in run.jobs() if job.task.name == "flipflop")
        assert size < 5_000_000
        assert str(Path.home()) not in (run.folder / "run.json").read_text(encoding="utf-8")


def test_page_from_the_records(cli: Run, tmp_path: Path) -> None:
    result = cli("harness", "leaderboard", "build", "--out", "site")
    assert result.returncode == 0, result.stderr
    page = Page((tmp_path / "site" / "index.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    names = [cell.split()[0] for cell in page.cells if "parameters" in cell]
    assert names == ["fflm/lstm", "local/SmolLM2-135M-Instruct.Q4_1"]  # whole splits before first rows
    cells = " ".join(page.cells)
    assert "0 / 354,289" in cells and "first 6 rows" in cells and "133K parameters" in cells


def test_a_given_run_stands_beside_the_records(cli: Run, tmp_path: Path) -> None:
    folder = models.save_tiny(tmp_path / "my-model", models.gpt2_like())
    assert cli("harness", "eval", "--model", folder, "--task", "flipflop", "--limit", "5").returncode == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert cli("harness", "leaderboard", "build", "--out", "site", "--run", run).returncode == 0
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "local/my-model" in text and "fflm/lstm" in text
    assert f"harness eval --model {folder} --task flipflop --limit 5" in text


def test_several_runs_at_once(cli: Run, tmp_path: Path, run_folder: Path) -> None:
    """As a shell gives them for --run runs/*/*."""
    assert cli("harness", "leaderboard", "build", "--out", "site", "--run", run_folder, run_folder).returncode == 0


def test_more_rows_replace_fewer_for_the_same_model(cli: Run, tmp_path: Path, run_folder: Path) -> None:
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "30").returncode == 0
    runs = [read_run(path.parent) for path in tmp_path.glob("runs/*/*/run.json")]
    (row,) = site.merge([(run, records.rescore(run)) for run in runs])
    assert {cell.rows for cell in row.cells.values()} == {30}
    assert row.commands == ["harness eval --task flipflop --limit 30"]


def test_a_run_over_other_data_is_refused(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "5", "--set", "flipflop.length=32").returncode == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert "length=32" in refused(cli("harness", "leaderboard", "build", "--out", "site", "--run", run))


def test_an_edited_result_is_refused(run_folder: Path) -> None:
    path = run_folder / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["scores"][0]["value"] = 0.5
    path.write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(UserError, match="not what its observations give"):
        records.rescore(read_run(run_folder))


def test_submit_writes_a_record_once(tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "leaderboard" / "records").mkdir(parents=True)
    submit.command(run_folder, checkout)
    (run,) = records.find_records(checkout / "leaderboard" / "records")
    model = run.facts["model"]
    assert run.folder.parts[-3:-1] == ("fflm--lstm", model["revision"][:12])
    assert "git add" in capsys.readouterr().out
    assert records.rescore(run) == records.rescore(read_run(run_folder))
    with pytest.raises(UserError, match="is there already"):
        submit.command(run_folder, checkout)
    (run.folder / "run.json").write_text((run.folder / "run.json").read_text().replace("20", "21"), encoding="utf-8")
    with pytest.raises(UserError, match="changed after it was recorded"):
        records.find_records(checkout / "leaderboard" / "records")


def test_submit_needs_a_checkout(cli: Run, tmp_path: Path, run_folder: Path) -> None:
    assert "no checkout of fflm" in refused(cli("harness", "submit", run_folder, "--to", tmp_path))


@pytest.fixture
def hostile_site(tmp_path: Path, run_folder: Path) -> Path:
    """A page with a record in which every text is an attack."""
    run = read_run(run_folder)
    result = records.rescore(run)
    facts = json.loads(json.dumps(run.facts))
    facts["command"] = HOSTILE
    model = result["model"] | {"id": HOSTILE, "revision": HOSTILE, "dtype": HOSTILE}
    hostile = result | {"model": model, "environment": {"device": HOSTILE}}
    rows = site.merge([(type(run)(run.folder, facts), hostile)])
    out = tmp_path / "hostile"
    out.mkdir()
    (out / "index.html").write_text(site.render(rows), encoding="utf-8")
    shutil.copy(site.TEMPLATES / "style.css", out)
    return out


def test_everything_from_a_record_is_escaped(hostile_site: Path) -> None:
    text = (hostile_site / "index.html").read_text(encoding="utf-8")
    assert not {"script", "img"} & set(Page(text).tags)
    assert (
        "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text and "49" not in text.split("<main>")[1].split("</table>")[0]
    )


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(browser: Any, hostile_site: Path, cli: Run, tmp_path: Path, javascript: bool, width: int) -> None:
    page = browser.new_context(java_script_enabled=javascript, viewport={"width": width, "height": 800}).new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto((hostile_site / "index.html").as_uri())
    assert page.title() == "fflm leaderboard"
    assert HOSTILE in page.locator("tbody th").first.inner_text()

    assert cli("harness", "leaderboard", "build", "--out", "site").returncode == 0
    page.goto((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("tbody tr").count() == 2
    assert page.locator("tbody tr").first.locator("td .value").all_inner_texts() == ["100.00"] * 3
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    if javascript:
        assert page.evaluate(overflow) == 0  # only the table scrolls sideways
        colour = page.evaluate("getComputedStyle(document.querySelector('td.above .value')).color")
        assert colour != page.evaluate("getComputedStyle(document.body).color")  # the style sheet was let in
    assert problems == []
