"""Copies of a record inherit its disputes and withdrawals."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from leaderboard.records import read_record
from leaderboard.verification.verify_record import verify_record
from tests.leaderboard.record_edits import SUBMISSION as TERMS
from tests.leaderboard.record_edits import edit, make_consistent, replace_column, resign, rewrite
from tests.leaderboard.site_fixtures import SUBMISSION, attest, index_of, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")
LATER = {"created": "2026-09-05T10:00:00+00:00"}
RESUBMISSION = replace(SUBMISSION, disclosure="sent again")


def page_of(records: Path, row: dict[str, Any]) -> str:
    return (records.parent / "site" / row["page"]).read_text(encoding="utf-8")


# ---- On the site


@pytest.mark.parametrize("named", ["letters.test row 7: '4' recorded, and it was no near tie", "answers changed"])
@pytest.mark.parametrize("supersedes", [True, False])
def test_copy_of_a_disputed_record_is_disputed(records: Path, supersedes: bool, named: str) -> None:
    disputed = make_answers_record(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=[named])
    make_answers_record(records, "org/other", wrong=2)
    again = replace(RESUBMISSION, supersedes=(disputed.name,) if supersedes else ())
    make_answers_record(records, "org/m", wrong=5, submission=again, **LATER)
    row = {row["id"]: row for row in index_of(records)}["org/m"]
    assert row["cells"][0]["rank"] is None and row["verification"]["disputed"]
    if supersedes:
        assert f"record {disputed.name} has the same outputs" in row["verification"]["disputed"]
        assert "has the same outputs" in page_of(records, row)


def test_dispute_is_inherited_under_another_name(records: Path) -> None:
    disputed = make_answers_record(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["answers changed in favour of the record"])
    make_answers_record(records, "org/renamed", wrong=5, tasks=("letters", "arithmetic"), **LATER)
    rows = {row["id"]: row for row in index_of(records)}
    assert rows["org/renamed"]["verification"]["disputed"] and rows["org/renamed"]["cells"][0]["rank"] is None


def test_dispute_is_not_inherited_by_other_outputs(records: Path) -> None:
    """The same model, right where the disputed record was wrong."""
    disputed = make_answers_record(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["letters.test row 5: '4' recorded", "letters.test row 10:"])
    make_answers_record(
        records, "org/m", wrong=7, submission=replace(RESUBMISSION, supersedes=(disputed.name,)), **LATER
    )
    (row,) = index_of(records)
    assert row["verification"]["disputed"] == "" and row["cells"][0]["rank"]["models"] == 1


def test_shared_right_answers_inherit_no_dispute(records: Path) -> None:
    disputed = make_answers_record(records, "org/m", wrong=10**6)
    attest(disputed, "replay", False, asked=4, differences=["letters.test row 5: '4' recorded"])
    make_answers_record(records, "org/other", wrong=10**6, **LATER)
    rows = {row["id"]: row for row in index_of(records)}
    assert rows["org/m"]["verification"]["disputed"] and rows["org/other"]["verification"]["disputed"] == ""


def test_replay_ends_an_inherited_dispute(records: Path) -> None:
    disputed = make_answers_record(records, "org/m", wrong=5)
    attest(disputed, "replay", False, asked=4, differences=["row 3"])
    again = replace(RESUBMISSION, supersedes=(disputed.name,))
    copy = make_answers_record(records, "org/m", wrong=5, submission=again, **LATER)
    attest(copy, "replay", True, asked=3, at="2026-09-11T08:00:00Z")
    assert index_of(records)[0]["verification"]["disputed"]
    attest(copy, "replay", True, asked=4, at="2026-09-12T08:00:00Z")
    (row,) = index_of(records)
    assert row["verification"] == row["verification"] | {"level": "spot-checked", "disputed": ""}


@pytest.mark.parametrize("model", ["org/m", "org/renamed"])
def test_copy_of_a_withdrawn_record_does_not_count(records: Path, model: str) -> None:
    gone = make_answers_record(records, "org/m", wrong=5)
    attest(gone, "withdrawn", None, reason="The weights were another model's.")
    copy = make_answers_record(records, model, wrong=5, submission=RESUBMISSION, **LATER)
    make_answers_record(records, "org/other", wrong=2)
    assert [row["id"] for row in index_of(records)] == ["org/other"]
    attest(copy, "replay", True, asked=4, at="2026-09-11T08:00:00Z")
    assert [row["id"] for row in index_of(records)] == ["org/other"]
    attest(copy, "replay", True, at="2026-09-12T08:00:00Z")
    assert {row["id"] for row in index_of(records)} == {"org/other", model}


def test_other_run_after_a_withdrawal_counts(records: Path) -> None:
    gone = make_answers_record(records, "org/m", wrong=5)
    attest(gone, "withdrawn", None, reason="The weights were another model's.")
    make_answers_record(records, "org/m", wrong=7, submission=RESUBMISSION, **LATER)
    assert [row["id"] for row in index_of(records)] == ["org/m"]


# ---- In verification


def dispute(folder: Path, *differences: str) -> None:
    """Adds a replay of all rows that disagrees, at the time of the run."""
    created = str(read_record(folder).run.facts["created"]).replace("+00:00", "Z")
    attest(folder, "replay", False, at=created, differences=list(differences))


def _resubmit(record: Path, records: Path, move: Callable[[float], float] = float, **terms: Any) -> Path:
    """Submits the record again with other terms and changed log-probabilities."""
    draft = records / "draft"
    shutil.copytree(record, draft)
    edit(draft / "submission.json", lambda facts: facts | replace(TERMS, **terms).to_json())
    for path in (draft / "observations").iterdir():
        rewrite(
            path,
            lambda table: replace_column(
                table, "logprobs", lambda lists: [[move(one) for one in line] for line in lists]
            ),
        )
    make_consistent(draft)
    return resign(draft, records)


@pytest.mark.parametrize(
    "move",
    [float, lambda one: min(one - 2.0**-16, 0.0), lambda one: one - 5e-4 * (one < -1)],
    ids=["same", "bit", "more"],
)
@pytest.mark.parametrize(
    "differences", [["flipflop.val row 3, position 17: log-probability of 0"], ["answers changed"]]
)
def test_verification_notes_inherited_dispute(
    record: Path, records: Path, move: Callable[[float], float], differences: list[str]
) -> None:
    dispute(record, *differences)
    copy = _resubmit(record, records, move, disclosure="Sent again.", supersedes=(record.name,))
    verdict = verify_record(copy, records)
    assert verdict.accepted and any("the record is disputed until" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("move", [float, lambda one: min(one - 2.0**-16, 0.0)], ids=["same", "bit"])
def test_verification_notes_inherited_withdrawal(record: Path, records: Path, move: Callable[[float], float]) -> None:
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    verdict = verify_record(_resubmit(record, records, move, disclosure="Sent again."), records)
    assert verdict.accepted and any("the record does not count until" in remark for remark in verdict.remarks)
    assert any("which was withdrawn" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("by", [0.002, 0.01, 0.3, 0.5])
def test_larger_changes_inherit_a_withdrawal(record: Path, records: Path, by: float) -> None:
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    verdict = verify_record(
        _resubmit(record, records, lambda one: one - by * (one < -1), disclosure="Sent again."), records
    )
    assert verdict.accepted and any("the record does not count until" in remark for remark in verdict.remarks)


def _of_other_weights(one: float) -> float:
    """Lowers a log-probability by an amount that is independent of it."""
    return one - 3 - one % 1 if one < -1 else one * (1.5 + one * 2**12 % 1)


def test_other_weights_inherit_no_withdrawal(record: Path, records: Path) -> None:
    """Other weights have only right answers in common with it."""
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    shutil.copytree(record, records / "draft")
    edit(records / "draft" / "run.json", lambda facts: facts["model"].update(revision="b" * 40))
    make_consistent(records / "draft")
    trained_again = resign(records / "draft", records)
    other = _resubmit(trained_again, records, _of_other_weights, disclosure="Another run.")
    shutil.rmtree(trained_again)
    assert verify_record(other, records).remarks == ()
