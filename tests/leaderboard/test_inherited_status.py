"""What was found out about observations stays with them: no copy of a record is rid of it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from leaderboard.attestations import Attestation, write_attestation
from leaderboard.records import read_record
from leaderboard.replay.row_sampling import draw
from leaderboard.verification.verify_record import verify_record
from tests.leaderboard.record_edits import SUBMISSION as TERMS
from tests.leaderboard.record_edits import consistent, edit, make_record, only_run, replaced, resign, rewrite
from tests.leaderboard.site_fixtures import REPLAYED, SUBMISSION, attest, compared_of, index_of, spoken

LATER = {"created": "2026-09-05T10:00:00+00:00"}
SAID_AGAIN = replace(SUBMISSION, disclosure="sent again")


def page_of(records: Path, row: dict[str, Any]) -> str:
    return (records.parent / "site" / row["page"]).read_text(encoding="utf-8")


# ---- On the page


@pytest.mark.parametrize("named", ["letters.test row 7: '4' recorded, and it was no near tie", "answers turned"])
@pytest.mark.parametrize("supersedes", [True, False])
def test_a_copy_of_a_disputed_record_is_disputed(records: Path, supersedes: bool, named: str) -> None:
    disputed = spoken(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=[named])
    spoken(records, "org/other", wrong=2)
    again = replace(SAID_AGAIN, supersedes=(disputed.name,) if supersedes else ())
    spoken(records, "org/m", wrong=5, submission=again, **LATER)
    row = {row["id"]: row for row in index_of(records)}["org/m"]
    assert row["cells"][0]["rank"] is None and row["verification"]["disputed"]
    if supersedes:
        assert f"of {disputed.name}, which said the same" in row["verification"]["disputed"]
        assert "which said the same" in page_of(records, row)


def test_a_dispute_follows_into_another_name_and_more_tasks(records: Path) -> None:
    disputed = spoken(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["answers turned in favour of the record"])
    spoken(records, "org/renamed", wrong=5, tasks=("letters", "arithmetic"), **LATER)
    rows = {row["id"]: row for row in index_of(records)}
    assert rows["org/renamed"]["verification"]["disputed"] and rows["org/renamed"]["cells"][0]["rank"] is None


def test_a_dispute_does_not_follow_into_what_says_something_else(records: Path) -> None:
    """The same model, right where the disputed record was wrong; and another table."""
    disputed = spoken(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["letters.test row 5: '4' recorded", "letters.test row 10:"])
    spoken(records, "org/m", wrong=7, submission=replace(SAID_AGAIN, supersedes=(disputed.name,)), **LATER)
    (row,) = index_of(records)
    assert row["verification"]["disputed"] == "" and row["cells"][0]["rank"]["of"] == 1


def test_right_answers_of_another_model_are_not_disputed(records: Path) -> None:
    disputed = spoken(records, "org/m", wrong=10**6)
    attest(disputed, "replay", False, asked=4, differences=["letters.test row 5: '4' recorded"])
    spoken(records, "org/other", wrong=10**6, **LATER)
    rows = {row["id"]: row for row in index_of(records)}
    assert rows["org/m"]["verification"]["disputed"] and rows["org/other"]["verification"]["disputed"] == ""


def test_a_replay_of_the_copy_ends_the_dispute(records: Path) -> None:
    disputed = spoken(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["row 3"])
    again = replace(SAID_AGAIN, supersedes=(disputed.name,))
    copy = spoken(records, "org/m", wrong=5, submission=again, **LATER)
    attest(copy, "replay", True, asked=3, at="2026-09-11T08:00:00Z")
    assert index_of(records)[0]["verification"]["disputed"]
    attest(copy, "replay", True, asked=4, at="2026-09-12T08:00:00Z")
    (row,) = index_of(records)
    assert row["verification"] == row["verification"] | {"word": "spot-checked", "disputed": ""}


@pytest.mark.parametrize("model", ["org/m", "org/renamed"])
def test_a_copy_of_a_withdrawn_record_counts_nowhere(records: Path, model: str) -> None:
    gone = spoken(records, "org/m", wrong=5)
    attest(gone, "withdrawn", None, reason="The weights were another model's.")
    copy = spoken(records, model, wrong=5, submission=SAID_AGAIN, **LATER)
    spoken(records, "org/other", wrong=2)
    assert [row["id"] for row in index_of(records)] == ["org/other"]
    attest(copy, "replay", True, asked=4, at="2026-09-11T08:00:00Z")
    assert [row["id"] for row in index_of(records)] == ["org/other"]
    attest(copy, "replay", True, at="2026-09-12T08:00:00Z")
    assert {row["id"] for row in index_of(records)} == {"org/other", model}


def test_another_run_of_a_model_that_was_withdrawn_counts(records: Path) -> None:
    gone = spoken(records, "org/m", wrong=5)
    attest(gone, "withdrawn", None, reason="The weights were another model's.")
    spoken(records, "org/m", wrong=7, submission=SAID_AGAIN, **LATER)
    assert [row["id"] for row in index_of(records)] == ["org/m"]


# ---- Before the judge


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "8", "--output", str(output)]) == 0
    return only_run(output).folder


@pytest.fixture
def record(run: Path, records: Path) -> Path:
    return make_record(run, records)


def doubted(folder: Path, *differences: str) -> None:
    """A replay of all of a record that said something else."""
    record = read_record(folder)
    sizes = {job.name: job.rows for job in record.run.jobs()}
    of = sum(sizes.values())
    details = REPLAYED | {"asked": of, "of": of, "differences": list(differences)}
    details["tasks"] = dict.fromkeys(draw(record.digest, "n", sizes, of), "all")
    details["compared"] = compared_of(record, details["tasks"])
    write_attestation(
        folder, Attestation(record.digest, "replay", _after(record.run.facts), "a maintainer", "n", False, details)
    )


def _after(facts: dict[str, Any]) -> str:
    return str(facts["created"]).replace("+00:00", "Z")


def _again(record: Path, records: Path, move: Callable[[float], float] = float, **terms: Any) -> Path:
    """The record, sent again on other terms, each log-probability moved."""
    draft = records / "draft"
    shutil.copytree(record, draft)
    edit(draft / "submission.json", lambda facts: facts | replace(TERMS, **terms).to_json())
    for path in (draft / "observations").iterdir():
        rewrite(
            path,
            lambda table: replaced(table, "logprobs", lambda lists: [[move(one) for one in line] for line in lists]),
        )
    consistent(draft)
    return resign(draft, records)


@pytest.mark.parametrize(
    "move",
    [float, lambda one: min(one - 2.0**-16, 0.0), lambda one: one - 5e-4 * (one < -1)],
    ids=["same", "bit", "more"],
)
@pytest.mark.parametrize("differences", [["flipflop.val row 3, position 17: log-probability of 0"], ["answers turned"]])
def test_the_judge_says_that_it_was_disputed(
    record: Path, records: Path, move: Callable[[float], float], differences: list[str]
) -> None:
    doubted(record, *differences)
    copy = _again(record, records, move, disclosure="Sent again.", supersedes=(record.name,))
    verdict = verify_record(copy, records)
    assert verdict.accepted and any("it stays disputed until" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("move", [float, lambda one: min(one - 2.0**-16, 0.0)], ids=["same", "bit"])
def test_the_judge_says_that_it_was_withdrawn(record: Path, records: Path, move: Callable[[float], float]) -> None:
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    verdict = verify_record(_again(record, records, move, disclosure="Sent again."), records)
    assert verdict.accepted and any("it counts nowhere until all of it" in remark for remark in verdict.remarks)
    assert any("which was withdrawn" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("by", [0.002, 0.01, 0.3, 0.5])
def test_what_is_moved_further_was_withdrawn(record: Path, records: Path, by: float) -> None:
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    verdict = verify_record(
        _again(record, records, lambda one: one - by * (one < -1), disclosure="Sent again."), records
    )
    assert verdict.accepted and any("it counts nowhere until all of it" in remark for remark in verdict.remarks)


def _of_other_weights(one: float) -> float:
    """Lower by an amount that says nothing of what it was, also where the model is sure."""
    return one - 3 - one % 1 if one < -1 else one * (1.5 + one * 2**12 % 1)


def test_an_honest_record_beside_a_withdrawn_one(record: Path, records: Path) -> None:
    """Other weights, which have only right answers in common with it."""
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    shutil.copytree(record, records / "draft")
    edit(records / "draft" / "run.json", lambda facts: facts["model"].update(revision="b" * 40))
    consistent(records / "draft")
    trained_again = resign(records / "draft", records)
    other = _again(trained_again, records, _of_other_weights, disclosure="Another run.")
    shutil.rmtree(trained_again)
    assert verify_record(other, records).remarks == ()
