"""From a run to a row: submitted to the Hub, judged, replayed, merged, shown, each by the command that people type."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from harness.errors import UserError
from leaderboard.records import read_record
from tests.conftest import Run
from tests.hub import Hub
from tests.leaderboard.making import TERMS, consistent, make_record, replaced, resign, rewrite


def test_from_a_run_to_a_row(cli: Run, hub: Hub, results: str, finished: Path, tmp_path: Path) -> None:
    assert cli("harness", "submit", finished, "--to", results, *TERMS).returncode == 0
    judged = cli("harness", "verify", results, "--pull-request", 1, "--replay", 9, "--nonce", "n", "--by", "the tests")
    assert judged.returncode == 0, judged.stderr
    assert "accepted" in judged.stdout and "9 of 24 sequences asked again said the same" in judged.stderr
    (attestation,) = (path for path in hub.files("dataset", results, "refs/pr/1") if ".replay-" in path)

    unasked = cli("harness", "verify", results, "--pull-request", 1)  # attested by whom it does not know
    assert unasked.returncode == 1 and "no part of a new record" in unasked.stdout
    known = cli("harness", "verify", results, "--pull-request", 1, "--attested", Path(attestation).name)
    assert known.returncode == 0 and "by the tests: replay" in known.stdout

    HfApi(endpoint=hub.url, token="hf_owner").merge_pull_request(results, 1, repo_type="dataset")
    assert cli("harness", "leaderboard", "build", "--records", results, "--out", "site").returncode == 0
    (row,) = json.loads((tmp_path / "site" / "index.json").read_text("utf-8"))["models"]
    assert (row["id"], row["verification"]["word"]) == ("fflm/lstm", "spot-checked")
    assert "9 of 24 sequences" in row["verification"]["how"] and all(cell["rank"] is None for cell in row["cells"])

    space = cli("harness", "leaderboard", "publish", "--space", "org/board", "--site", "site")
    assert space.returncode == 0, space.stderr
    published = hub.files("space", "org/board")
    assert json.loads(published["index.json"])["models"][0]["id"] == "fflm/lstm"
    assert f"{row['records'][0]['folder']}/run.json" in published


@pytest.mark.slow("harness/engine", "leaderboard/verification", "leaderboard/replay", "leaderboard/site")
def test_a_replay_is_kept_whatever_comes_after_it(
    cli: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of it, maybe."""

    def fail(*_: object) -> None:
        raise UserError("no memory is left: take a larger machine")

    monkeypatch.setattr("leaderboard.replay.fresh.fresh", fail)
    record = make_record(finished, tmp_path / "records")
    assert "no memory" in cli("harness", "verify", record, "--replay", 3, "--fresh").stderr
    (attestation,) = read_record(record).attestations
    assert attestation.agrees and attestation.details["asked"] == 3


@pytest.mark.slow("harness/engine", "leaderboard/verification", "leaderboard/replay", "leaderboard/site")
def test_one_log_probability_is_caught(cli: Run, finished: Path, tmp_path: Path) -> None:
    """The judge cannot know it, whoever asks again does."""
    record = make_record(finished, tmp_path / "records")
    draft = record.rename(tmp_path / "records" / "draft")
    rewrite(
        draft / "observations" / "flipflop.val.parquet",
        lambda table: replaced(table, "logprobs", lambda lists: [[one - 0.05 for one in lists[0]], *lists[1:]]),
    )
    consistent(draft)
    record = resign(draft, tmp_path / "records")
    assert cli("harness", "verify", record).returncode == 0
    result = cli("harness", "verify", record, "--replay", "all")
    assert result.returncode == 1
    assert "flipflop.val row 0" in result.stderr and "recorded" in result.stderr
