"""The build is atomic, reproducible and cached."""

import json
import re
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UserError
from leaderboard.site import build, findings
from tests.leaderboard.record_edits import resign
from tests.leaderboard.site_fixtures import ADDRESS, Built, index_of, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")


def test_build_refuses_scores_that_do_not_match(records: Path) -> None:
    folder = make_answers_record(records, "org/m", wrong=3)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["scores"][0]["value"] = 0.99
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(UserError, match="was changed after submission"):
        index_of(records)
    folder = resign(folder, records)
    with pytest.raises(UserError, match=re.escape(str(folder))):
        index_of(records)
    assert not (records.parent / "site").exists()


def test_build_refuses_other_data(records: Path, tmp_path: Path) -> None:
    asked = [
        "eval",
        "--task",
        "flipflop",
        "--limit",
        "2",
        "--set",
        "flipflop.length=32",
        "--output",
        str(tmp_path / "r"),
    ]
    assert main(asked) == 0
    (run,) = tmp_path.glob("r/*/*")
    with pytest.raises(UserError, match="length=32"):
        build.command(tmp_path / "site", [run], records, None)


def test_interval_bars(records: Path, tmp_path: Path) -> None:
    """The bar shows the value, too: for a model without errors the interval is below it."""
    make_answers_record(
        records, "org/perfect", wrong=10**9, wrong_answer="3", rows=20
    )  # also of the first row, strawberry
    make_answers_record(records, "org/other", wrong=3, rows=20)
    found = {row["id"]: row for row in index_of(records)}
    for name, row in found.items():
        page = (tmp_path / "site" / "models" / f"{row['slug']}.html").read_text(encoding="utf-8")
        (at,) = re.findall(r'<rect class="at" x="([0-9.]+)"', page)
        share = 100 * row["cells"][0]["value"]
        assert float(at) == pytest.approx(min(share, 98.2), abs=0.06), name
    assert found["org/perfect"]["cells"][0]["errors"] == 0 < found["org/other"]["cells"][0]["errors"]


def test_build_skips_unfinished_runs(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """runs/*/* may have a finished run, a stopped one, one over other data, and another folder."""
    finished = make_answers_record(tmp_path / "elsewhere", "org/m", wrong=3)
    found = {name: Path(shutil.copytree(finished, tmp_path / "runs" / name)) for name in ("a", "stopped", "unscored")}
    next((found["stopped"] / "observations").iterdir()).unlink()
    (found["unscored"] / "result.json").unlink()
    asked = ["--limit", "2", "--set", "flipflop.length=32", "--output", str(tmp_path / "r")]
    assert main(["eval", "--task", "flipflop", *asked]) == 0
    found["other"] = next(tmp_path.glob("r/*/*"))
    (tmp_path / "runs" / "empty").mkdir()
    capsys.readouterr()
    build.command(tmp_path / "site", [*found.values(), tmp_path / "runs" / "empty"], records, None)
    message = capsys.readouterr()
    left_out = [line for line in message.err.splitlines() if line.startswith("skipped: ")]
    reasons = ("has no observations of letters.test yet", "is not finished", "length=32", "is not a run folder")
    assert all(reason in line for reason, line in zip(reasons, left_out, strict=True)) and "1 row," in message.out
    models = json.loads((tmp_path / "site" / "index.json").read_text(encoding="utf-8"))["models"]
    assert [row["id"] for row in models] == ["org/m"]
    before = (tmp_path / "site" / "index.json").read_bytes()
    for name in ("stopped", "unscored"):
        with pytest.raises(UserError, match=r"observations of letters\.test yet|is not finished"):
            build.command(tmp_path / "site", [found[name]], records, None)
    assert (tmp_path / "site" / "index.json").read_bytes() == before


def test_build_without_records(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no record"):
        build.command(tmp_path / "site", [], records, None)
    with pytest.raises(UserError, match="not a web address"):
        build.command(tmp_path / "site", [], records, "javascript:alert(1)")


def test_build_refuses_other_folders(records: Path, tmp_path: Path) -> None:
    make_answers_record(records, "org/m", wrong=3)
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="not a site of fflm"):
        build.command(out, [], records, None)
    assert [path.name for path in out.iterdir()] == ["chapter.txt"]


@pytest.mark.slow("leaderboard/site")
@pytest.mark.parametrize("where", ["pages", "index", "feed"])
def test_interrupted_build_keeps_the_old_site(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    make_answers_record(records, "org/m", wrong=3)
    index_of(records)
    out = tmp_path / "site"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    make_answers_record(records, "org/n", wrong=3)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build, where, interrupted)
        build.command(out, [], records, None)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"records", "site", "cache"}
    assert len(index_of(records)) == 2


def test_failed_replacement_keeps_the_old_site(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_answers_record(records, "org/m", wrong=3)
    index_of(records)
    before = (tmp_path / "site" / "index.json").read_bytes()
    make_answers_record(records, "org/n", wrong=3)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError(13, "denied")
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="cannot be replaced"):
        patch.setattr(Path, "rename", failing)
        build.command(tmp_path / "site", [], records, None)
    assert (tmp_path / "site" / "index.json").read_bytes() == before


def test_build_is_reproducible(site: Built, tmp_path: Path) -> None:
    build.command(tmp_path / "again", [], site.records, ADDRESS)
    files = {path.relative_to(site.folder): path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
    again = tmp_path / "again"
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == files


def test_findings_cache(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_answers_record(records, "org/m", wrong=3)
    first = index_of(records)
    (kept,) = findings.cache_folder().iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(findings, "grade", None)  # nothing is graded again
        assert index_of(records) == first
    whole = kept.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"[]", b'{"schema": "fflm-findings/1"}', b"\xff"):
        kept.write_bytes(damage)
        assert index_of(records) == first
        assert kept.read_bytes() == whole


@pytest.mark.slow("leaderboard/site")
def test_findings_with_several_processes(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        make_answers_record(records, f"org/m{number}", wrong=3 + number)
    alone = index_of(records)
    shutil.rmtree(findings.cache_folder())
    monkeypatch.setattr(findings, "WORTH_PROCESSES", 0)
    assert index_of(records) == alone


@pytest.mark.slow("leaderboard", "harness/scoring", "harness/tasks", "harness/runs", "fflm_data")
def test_site_of_the_accepted_records(tmp_path: Path) -> None:
    """Includes the full runs of the bundled models: no error of the LSTM on all reads of the three splits."""
    build.command(tmp_path / "site", [], None, None)
    rows = json.loads((tmp_path / "site" / "index.json").read_text(encoding="utf-8"))["models"]
    models = {row["id"]: row for row in rows}
    assert list(models)[-1] == "local/SmolLM2-135M-Instruct.Q4_1"  # whole before partial
    cells = {
        name: {
            cell["split"]: (cell["errors"], cell["n"]) for cell in models[name]["cells"] if cell["task"] == "flipflop"
        }
        for name in ("fflm/lstm", "fflm/transformer")
    }
    assert cells["fflm/lstm"] == {"val": (0, 26_711), "val_sparse": (0, 354_289), "val_dense": (0, 345_707)}
    assert cells["fflm/transformer"] == {
        "val": (0, 26_711), "val_sparse": (99_240, 354_289), "val_dense": (4_049, 345_707),
    }  # fmt: skip
    ranked = [row["memory"]["rank"] for row in rows if row["memory"]]
    assert ranked[0]["best"] == 1 and models["local/SmolLM2-135M-Instruct.Q4_1"]["memory"] is None
    assert not any(str(Path.home()) in path.read_text("utf-8") for path in tmp_path.rglob("*.html"))
