"""The rows of the site: source of each cell, identity of rows, ranks and verification levels."""

import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UserError
from harness.prompts.prompting import Prompting
from leaderboard.site.entries import Cell, Entry
from leaderboard.site.plots import all_series
from leaderboard.site.ranks import rank
from leaderboard.submission_file import Submission
from tests.leaderboard.external_runs import external_run
from tests.leaderboard.record_edits import PRETRAINED, edit, make_record, resign
from tests.leaderboard.site_fixtures import DAY, GAP, Built, attest, index_of, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")


def test_verification_level_of_every_row(site: Built) -> None:
    words = {
        row["id"]: (row["verification"]["level"], bool(row["verification"]["disputed"])) for row in site.index["models"]
    }
    assert words["org/both"] == ("spot-checked", False) and words["org/model-0"] == ("rescored", False)
    assert words["org/disputed"] == ("rescored", True)
    assert f"on {DAY}" in site.rows[site.slug("org/model-0")]["verification"]["evidence"]


def test_row_has_the_lowest_level_of_its_records(records: Path) -> None:
    checked = make_answers_record(records, "org/m", wrong=3)
    attest(checked, "replay", True)
    assert index_of(records)[0]["verification"]["level"] == "re-run"
    make_answers_record(records, "org/m", wrong=3, rows=50, tasks=("arithmetic",))
    (row,) = index_of(records)
    assert row["verification"]["level"] == "rescored" and len(row["records"]) == 2
    assert {record["verification"] for record in row["records"]} == {"re-run", "rescored"}


def test_external_outputs_are_marked(records: Path, tmp_path: Path) -> None:
    run = external_run(tmp_path)
    make_record(run.folder, records)
    (row,) = index_of(records)
    assert row["external"] and row["cells"][0]["errors"] == 143
    for name in ("index.html", row["page"]):
        assert "external outputs" in (tmp_path / "site" / name).read_text(encoding="utf-8").lower()


def test_fresh_gap(site: Built) -> None:
    gap = site.rows[site.slug("org/both")]["fresh_gap"]
    assert (gap["value"], gap["low"], gap["high"]) == (GAP["gap"], GAP["low"], GAP["high"])
    assert site.rows[site.slug("org/model-0")]["fresh_gap"] is None


def test_history_is_listed_but_not_counted(site: Built) -> None:
    assert "org/gone" not in {row["id"] for row in site.index["models"]}
    (cell,) = site.rows[site.slug("org/new")]["cells"]
    assert cell["errors"] == 125
    page = (site.folder / "models" / f"{site.slug('org/new')}.html").read_text(encoding="utf-8")
    assert "superseded by" in page and "2026-08-01" in page
    assert "it was another model" in (site.folder / "index.html").read_text(encoding="utf-8")


def test_withdrawn_record_supersedes_nothing(records: Path) -> None:
    old = make_answers_record(records, "org/m", wrong=3)
    new = make_answers_record(
        records, "org/m", wrong=4, submission=Submission("a", "MIT", PRETRAINED, "", "2026-09-02", (old.name,))
    )
    assert index_of(records)[0]["cells"][0]["errors"] == 250
    attest(new, "withdrawn", None, reason="wrong")
    assert index_of(records)[0]["cells"][0]["errors"] == 334


@pytest.mark.parametrize(
    ("path", "message"),
    [(("tasks", "letters", "version"), "version 0 of task letters"), (("generator",), "version 0 of the data")],
)
def test_outdated_records_are_listed_but_not_counted(records: Path, path: tuple[str, ...], message: str) -> None:
    """The other records are still shown."""
    make_answers_record(records, "org/new", wrong=3)
    old = make_answers_record(records, "org/old", wrong=4)

    def make_old(facts: dict[str, Any]) -> None:
        place = facts["data"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = 0

    edit(old / "run.json", make_old)
    resign(old, records)
    assert [row["id"] for row in index_of(records)] == ["org/new"]
    assert message in (records.parent / "site" / "index.html").read_text(encoding="utf-8")


def test_scores_of_an_older_harness_are_recomputed(records: Path) -> None:
    """Scores of the current version must match."""
    folder = make_answers_record(records, "org/m", wrong=3)
    edit(folder / "result.json", lambda result: result | {"scores": []})
    folder = resign(folder, records)
    with pytest.raises(UserError, match="does not match its observations"):
        index_of(records)
    edit(folder / "run.json", lambda facts: facts | {"environment": {"fflm": "0.1.0", "device": "cpu"}})
    resign(folder, records)
    assert index_of(records)[0]["cells"][0]["errors"] == 334


def test_record_cannot_supersede_another_model(records: Path) -> None:
    theirs = make_answers_record(records, "org/m", wrong=3)
    sneaky = Submission("a", "MIT", PRETRAINED, "", "2026-09-02", (theirs.name,))
    make_answers_record(records, "other/m", wrong=4, submission=sneaky)
    assert {row["id"] for row in index_of(records)} == {"org/m", "other/m"}


def test_cell_priority(records: Path) -> None:
    make_answers_record(records, "org/m", wrong=3, created="2026-09-01T00:00:00+00:00")
    make_answers_record(records, "org/m", wrong=4, created="2026-09-02T00:00:00+00:00")
    make_answers_record(records, "org/m", wrong=5, rows=50, created="2026-09-03T00:00:00+00:00")
    make_answers_record(records, "org/m", wrong=6, rows=70, tasks=("arithmetic",), created="2026-09-04T00:00:00+00:00")
    (row,) = index_of(records)
    assert {cell["task"]: (cell["rows"], cell["errors"]) for cell in row["cells"]} == {
        "letters": (1000, 250),
        "arithmetic": (70, 12),
    }
    assert len(row["records"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "b" * 40},
        {"dtype": "float32"},
        {"quantization": "4bit"},
        {"adapter": {"id": "org/lora", "revision": "c" * 40}},
        {"gguf_file": "m.Q4.gguf"},
        {"prompting": Prompting(shots=5)},
        {"prompting": Prompting(system="Think.")},
        {"prompting": Prompting(thinking=64)},
    ],
    ids=str,
)
def test_each_prompting_is_a_row(records: Path, change: dict[str, Any]) -> None:
    make_answers_record(records, "org/m", wrong=3)
    make_answers_record(records, "org/m", wrong=4, **change)
    rows = index_of(records)
    assert len({row["slug"] for row in rows}) == 2
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", row["slug"]) for row in rows)
    assert all((records.parent / "site" / row["page"]).is_file() for row in rows)


@pytest.mark.parametrize(
    ("change", "called"),
    [
        ({"adapter": {"id": "org/lora", "revision": "c" * 40}}, "org/m (adapter org/lora @ cccccccccccc)"),
        ({"quantization": "8bit"}, "org/m (8bit)"),
        ({}, "org/m"),
    ],
)
def test_row_shows_the_variant(records: Path, change: dict[str, Any], called: str) -> None:
    """Also if the model has no other row."""
    make_answers_record(records, "org/m", wrong=3, **change)
    (row,) = index_of(records)
    page = (records.parent / "site" / row["page"]).read_text(encoding="utf-8")
    assert f'<h1 class="id">{called}</h1>' in page


def test_ids_that_differ_in_case_have_separate_files(records: Path) -> None:
    for name in ("org/Model", "org/model", "org--model", "-.x"):
        make_answers_record(records, name, wrong=3)
    slugs = [row["slug"] for row in index_of(records)]
    assert len({slug.casefold() for slug in slugs}) == 4


def test_local_run_is_shown_unranked(records: Path, tmp_path: Path) -> None:
    make_answers_record(records, "org/m", wrong=3)
    mine = make_answers_record(tmp_path / "mine", "org/m", wrong=2)
    (mine / "submission.json").unlink()
    rows = index_of(records, (mine, mine))
    assert [row["local_run"] for row in rows] == [False, True] or [row["local_run"] for row in rows] == [True, False]
    (yours,) = (row for row in rows if row["local_run"])
    assert yours["division"] == "your run" and yours["records"] == [] and yours["cells"][0]["rank"] is None
    (other,) = (row for row in rows if not row["local_run"])
    assert other["cells"][0]["rank"] == {"best": 1, "worst": 1, "models": 1}
    page = (tmp_path / "site" / yours["page"]).read_text(encoding="utf-8")
    assert "Your run" in page and str(tmp_path) not in page


def test_records_that_no_longer_count_are_counted(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Local runs do not change the number."""
    for place, wrong in enumerate((3, 40)):
        attest(make_answers_record(records, f"org/m{place}", wrong=wrong), "withdrawn", None, reason="another model")
        mine = make_answers_record(tmp_path / "mine", "org/mine", wrong=2 + place)
        (mine / "submission.json").unlink()
        index_of(records, (mine,))
        number = ("1 record that no longer counts", "2 records that no longer count")[place]
        assert f"index.html: 1 row, every score recomputed; {number}\n" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2, 12, 60])
def test_ranks_by_brute_force(count: int) -> None:
    numbers = random.Random(count)
    ends = [sorted(round(numbers.random(), 1) for _ in range(2)) for _ in range(count)]
    models = [f"model {numbers.randrange(count)}" for _ in range(count)]
    rows = {name: (model, low, high) for name, (model, (low, high)) in enumerate(zip(models, ends, strict=True))}
    for name, (model, low, high) in rows.items():
        others = {other: [row[1:] for row in rows.values() if row[0] == other] for other in set(models) - {model}}
        above = sum(any(other_low > high for other_low, _ in ends) for ends in others.values())
        below = sum(all(other_high < low for _, other_high in ends) for ends in others.values())
        of = len(others) + 1
        assert rank(rows)[name] == (1 + above, of - below, of)


def test_ranks_need_whole_results_of_a_division(site: Built) -> None:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in site.index["models"]:
        for cell in row["cells"]:
            if cell["rows"] == cell["split_rows"] and not row["verification"]["disputed"]:
                groups.setdefault((row["division"], cell["task"]), []).append(cell)
            else:
                assert cell["rank"] is None
    assert len(groups) == 2 and max(map(len, groups.values())) == 9
    for cells in groups.values():
        for cell in cells:
            above = sum(other["low"] > cell["high"] for other in cells)
            below = sum(other["high"] < cell["low"] for other in cells)
            assert cell["rank"] == {"best": 1 + above, "worst": len(cells) - below, "models": len(cells)}


def entry(slug: str, **cells: tuple[float, int]) -> Entry:
    """Returns a row with flip-flop cells of given accuracy over the first of 100 rows."""
    source: Any = SimpleNamespace(place="x", submission=None, findings=None)
    made = {
        ("flipflop", split): Cell(
            "flipflop", split, value, value - 0.01, value + 0.01, 0, 9, 0.5, "", 0.1, rows, 100, 0, source
        )
        for split, (value, rows) in cells.items()
    }
    return Entry(slug, {"id": slug}, Any, made, (source,), (), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "worst", "whole"),
    [
        ({"val": (0.9, 100), "val_sparse": (0.7, 100), "val_dense": (0.8, 100)}, "val_sparse", True),
        ({"val": (0.9, 100), "val_sparse": (0.7, 6), "val_dense": (0.8, 100)}, "val_dense", False),
        ({"val": (0.9, 100)}, "val", False),
        ({"val": (0.9, 6), "val_dense": (0.8, 6)}, "val_dense", False),
    ],
)
def test_memory_is_the_worst_split(cells: dict[str, Any], worst: str, whole: bool) -> None:
    row = entry("m", **cells)
    assert row.memory is not None and row.memory.split == worst
    assert (row.whole_memory is not None) == whole


def test_groups_make_plots() -> None:
    def score(group: str | None, value: float = 0.5) -> dict[str, Any]:
        numbers = {"value": value, "low": 0.1, "high": 0.9, "n": 4, "errors": 2, "baseline": None}
        return {"task": "t", "split": "s", "metric": "accuracy", "group": group, **numbers}

    names = [None, "gap=1", "gap=2-3", "head", "tail", "v=2", "v=2,control", "v=5", "v=5,control", "o=+,d=4", "o=+,d=8",
             "a=0,l=1", "a=1,l=2", "lone=1"]  # fmt: skip
    found = all_series({"scores": [score(name) for name in names]})["t", "s"]
    assert {one.kind: [point.label for point in one.points] for one in found} == {
        "gap": ["1", "2-3"],
        "part": ["head", "tail"],
        "v": ["2", "5"],
        "v, control": ["2", "5"],
        "d, o=+": ["4", "8"],
    }
