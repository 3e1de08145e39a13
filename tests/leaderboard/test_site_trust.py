"""Later records, other contacts and other builds cannot displace a row."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.prompts.prompting import Prompting
from leaderboard.attestations import REPLAY, Attestation
from leaderboard.hub import space
from leaderboard.site import build
from leaderboard.verification_level import RE_RUN, RESCORED, SPOT_CHECKED, level_of
from tests.leaderboard.record_edits import TRAINED
from tests.leaderboard.site_fixtures import GAP, REPLAYED, SCORE, SUBMISSION, attest, index_of, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")
CHAT = Prompting(template="c" * 64)
LATER = {"created": "2026-09-05T10:00:00+00:00"}


def test_later_record_with_lower_level_replaces_nothing(records: Path) -> None:
    checked = make_answers_record(records, "org/m", wrong=50)
    attest(checked, "replay", True, asked=4)
    make_answers_record(records, "org/m", wrong=2, **LATER)
    (row,) = index_of(records)
    assert row["verification"]["level"] == SPOT_CHECKED and row["cells"][0]["errors"] == 20
    assert len(row["records"]) == 1


def test_fresh_gap_stays_with_the_model(records: Path) -> None:
    spoiled = make_answers_record(records, "org/m", wrong=50)
    attest(spoiled, "fresh", None, seed=1, environment={}, gaps=[GAP])
    attest(spoiled, "replay", False, asked=4, differences=["row 3"])
    make_answers_record(records, "org/m", wrong=2, **LATER)
    (row,) = index_of(records)
    assert row["fresh_gap"]["value"] == GAP["gap"]
    page = (records.parent / "site" / row["page"]).read_text(encoding="utf-8")
    assert row["cells"][0]["errors"] == 500 and "disputed" in page


def test_shown_gap_has_the_highest_lower_end(records: Path) -> None:
    """Not the largest gap, which is noise for few rows."""
    record = make_answers_record(records, "org/m", wrong=50, tasks=("letters", "arithmetic"))
    noise = {**GAP, "task": "arithmetic", "public": {**SCORE, "value": 0.4}, "fresh": {**SCORE, "value": 0.6}}
    noise |= {"gap": -0.2, "low": -0.45, "high": 0.05}
    attest(record, "fresh", None, seed=1, environment={}, gaps=[GAP, noise])
    assert index_of(records)[0]["fresh_gap"]["task"] == "letters"


def test_each_division_is_a_row(records: Path) -> None:
    make_answers_record(records, "org/m", wrong=50, submission=replace(SUBMISSION, division=TRAINED))
    make_answers_record(records, "org/m", wrong=2, rows=5, tasks=("arithmetic",), **LATER)
    rows = {row["division"]: [cell["task"] for cell in row["cells"]] for row in index_of(records)}
    assert rows == {TRAINED: ["letters"], "pretrained": ["arithmetic"]}


def test_partial_task_does_not_affect_ranks(records: Path) -> None:
    make_answers_record(records, "org/top", wrong=50)
    make_answers_record(records, "org/top", wrong=2, rows=5, tasks=("arithmetic",), **LATER)
    make_answers_record(records, "org/weak", wrong=2)
    rows = index_of(records)
    assert [row["id"] for row in rows] == ["org/top", "org/weak"]
    page = (records.parent / "site" / "index.html").read_text(encoding="utf-8")
    assert "first rows only" not in page


def test_chat_and_plain_prompts_are_separate_rows(records: Path) -> None:
    """Tasks without prompting join the plainest row."""
    make_answers_record(records, "org/m", wrong=50, prompting=CHAT)
    make_answers_record(records, "org/m", wrong=2, **LATER)
    rows = index_of(records)
    assert {row["prompting"]["chat"]: row["cells"][0]["errors"] for row in rows} == {True: 20, False: 500}
    labels = [(records.parent / "site" / row["page"]).read_text(encoding="utf-8").split("<title>")[1] for row in rows]
    assert sorted("chat template" in label.split("</title>")[0] for label in labels) == [False, True]


def test_disputed_rows_are_marked_and_unranked(records: Path) -> None:
    record = make_answers_record(records, "org/m", wrong=50)
    attest(record, "replay", False, asked=4, differences=["row 3"])
    make_answers_record(records, "org/other", wrong=2)
    rows = {row["id"]: row for row in index_of(records)}
    assert rows["org/m"]["cells"][0]["rank"] is None and rows["org/other"]["cells"][0]["rank"]["models"] == 1
    site = records.parent / "site"
    files = ["index.html", rows["org/m"]["page"], "tasks/letters.html", "scores.csv", "feed.xml"]
    files.append(f"badges/{rows['org/m']['slug']}.svg")
    assert [name for name in files if "disputed" not in (site / name).read_text(encoding="utf-8")] == []


def level_after(*replays: tuple[bool, int]) -> tuple[str, bool]:
    """Returns the level and dispute after replays. replays: whether each agrees, and its sequences of 100."""
    attestations = [
        Attestation("0" * 64, REPLAY, f"2026-09-{day:02}T08:00:00Z", "a maintainer", "n", agrees,
                    {**REPLAYED, "asked": asked, "of": 100})
        for day, (agrees, asked) in enumerate(replays, start=1)
    ]  # fmt: skip
    found = level_of(attestations, "fflm")
    return found.level, bool(found.disputed)


def test_dispute_ends_with_a_replay_of_as_many_sequences() -> None:
    assert level_after() == (RESCORED, False)
    assert level_after((True, 32)) == (SPOT_CHECKED, False)
    assert level_after((True, 100), (True, 5)) == (RE_RUN, False)
    assert level_after((False, 100), (True, 1)) == (SPOT_CHECKED, True)
    assert level_after((False, 32), (True, 32)) == (SPOT_CHECKED, False)
    assert level_after((True, 100), (False, 32), (True, 32)) == (RE_RUN, False)


def test_site_with_other_files_is_not_replaced(records: Path) -> None:
    """Files that the build did not write, such as a CNAME or .git, are not deleted."""
    make_answers_record(records, "org/m", wrong=3)
    index_of(records)
    site = records.parent / "site"
    for name in ("CNAME", ".git"):
        (site / name).write_text("board.example", encoding="utf-8")
        with pytest.raises(UserError, match=name):
            index_of(records)
        assert (site / name).read_text(encoding="utf-8") == "board.example"
        (site / name).unlink()
    index_of(records)


def test_site_files_are_copies(records: Path) -> None:
    record = make_answers_record(records, "org/m", wrong=3)
    (row,) = index_of(records)
    copy = records.parent / "site" / row["records"][0]["folder"] / "run.json"
    copy.write_text("edited", encoding="utf-8")
    assert "edited" not in (record / "run.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [".env", "notes.txt", "models/link.html"])
def test_only_a_site_is_published(records: Path, name: str) -> None:
    make_answers_record(records, "org/m", wrong=3)
    index_of(records)
    path = records.parent / "site" / name
    if name.endswith("link.html"):
        path.symlink_to("/etc/hostname")
    else:
        path.write_text("TOKEN=1", encoding="utf-8")
    with pytest.raises(UserError, match=name):
        space.command("org/board", records.parent / "site")


def test_record_given_as_a_run_is_one_row(records: Path) -> None:
    record = make_answers_record(records, "org/m", wrong=3)
    assert [row["local_run"] for row in index_of(records, (record,))] == [False]


@pytest.mark.parametrize("url", ["https://x y/", "https://x/)](evil", "ftp://x/", "javascript:alert(1)"])
def test_invalid_site_addresses(records: Path, tmp_path: Path, url: str) -> None:
    make_answers_record(records, "org/m", wrong=3)
    with pytest.raises(UserError, match="not a web address"):
        build.command(tmp_path / "out", [], records, url)


def test_edited_cache_file_is_ignored(records: Path) -> None:
    make_answers_record(records, "org/m", wrong=3)
    (row,) = index_of(records)
    for path in Path(os.environ["FFLM_CACHE"]).glob("*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        for score in kept["result"]["scores"]:
            score["errors"] = 0
        path.write_text(json.dumps(kept), encoding="utf-8")
    assert index_of(records) == [row]
