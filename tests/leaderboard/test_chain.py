"""From a run to a row: submitted to the Hub, verified, replayed, merged and shown, with the real commands."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from harness.errors import UserError
from leaderboard.records import read_record
from tests.conftest import Run
from tests.hub import Hub
from tests.leaderboard.record_edits import TERMS, make_consistent, make_record, replace_column, resign, rewrite


def test_run_to_leaderboard_row(cli: Run, hub: Hub, results: str, finished: Path, tmp_path: Path) -> None:
    assert cli("harness", "submit", finished, "--to", results, *TERMS).returncode == 0
    verified = cli(
        "harness", "verify", results, "--pull-request", 1, "--replay", 9, "--nonce", "n", "--by", "the tests"
    )
    assert verified.returncode == 0, verified.stderr
    assert "accepted" in verified.stdout and "replay of 9 of 24 sequences agrees" in verified.stderr
    (attestation,) = (path for path in hub.files("dataset", results, "refs/pr/1") if ".replay-" in path)

    unasked = cli("harness", "verify", results, "--pull-request", 1)  # attested by whom it does not know
    assert unasked.returncode == 1 and "not part of a new record" in unasked.stdout
    known = cli("harness", "verify", results, "--pull-request", 1, "--attested", Path(attestation).name)
    assert known.returncode == 0 and "by the tests: replay" in known.stdout

    HfApi(endpoint=hub.url, token="hf_owner").merge_pull_request(results, 1, repo_type="dataset")
    assert cli("harness", "leaderboard", "build", "--records", results, "--out", "site").returncode == 0
    (row,) = json.loads((tmp_path / "site" / "index.json").read_text("utf-8"))["models"]
    assert (row["id"], row["verification"]["level"]) == ("fflm/lstm", "spot-checked")
    assert "9 of 24 sequences" in row["verification"]["evidence"] and all(cell["rank"] is None for cell in row["cells"])

    space = cli("harness", "leaderboard", "publish", "--space", "org/board", "--site", "site")
    assert space.returncode == 0, space.stderr
    published = hub.files("space", "org/board")
    assert json.loads(published["index.json"])["models"][0]["id"] == "fflm/lstm"
    assert f"{row['records'][0]['folder']}/run.json" in published


@pytest.mark.slow("harness/engine", "leaderboard/verification", "leaderboard/replay", "leaderboard/site")
def test_replay_is_written_before_later_failures(
    cli: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay may take hours."""

    def fail(*_: object) -> None:
        raise UserError("no memory is left: take a larger machine")

    monkeypatch.setattr("leaderboard.replay.fresh_rows.score_fresh_rows", fail)
    record = make_record(finished, tmp_path / "records")
    assert "no memory" in cli("harness", "verify", record, "--replay", 3, "--fresh").stderr
    (attestation,) = read_record(record).attestations
    assert attestation.agrees and attestation.details["asked"] == 3


@pytest.mark.slow("harness/engine", "leaderboard/verification", "leaderboard/replay", "leaderboard/site")
def test_one_changed_logprob_is_detected(cli: Run, finished: Path, tmp_path: Path) -> None:
    """Verification cannot detect it, a replay does."""
    record = make_record(finished, tmp_path / "records")
    draft = record.rename(tmp_path / "records" / "draft")
    rewrite(
        draft / "observations" / "flipflop.val.parquet",
        lambda table: replace_column(table, "logprobs", lambda lists: [[one - 0.05 for one in lists[0]], *lists[1:]]),
    )
    make_consistent(draft)
    record = resign(draft, tmp_path / "records")
    assert cli("harness", "verify", record).returncode == 0
    result = cli("harness", "verify", record, "--replay", "all")
    assert result.returncode == 1
    assert "flipflop.val row 0" in result.stderr and "recorded" in result.stderr
