"""Superseding: only the sender of a record, as known to the host, may supersede it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from leaderboard.hub.repository import _author_of
from leaderboard.verification.verify_record import verify_record
from tests.conftest import Run
from tests.hub import Hub
from tests.leaderboard.record_edits import SUBMISSION, edit, make_record, resign

TERMS = ["--contact", "a tester", "--licence", "CC0-1.0", "--division", "trained on fflm"]
STRANGE = "was not sent from the same account"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    (tmp_path / "base" / "records").mkdir(parents=True)
    return tmp_path / "base" / "records"


def again(record: Path, records: Path) -> Path:
    """Submits a superseding record with the same contact."""
    draft = records / "draft"
    shutil.copytree(record, draft)
    edit(draft / "submission.json", lambda facts: facts | {"supersedes": [record.name], "disclosure": "Once more."})
    return resign(draft, records)


# ---- Verification


def test_same_contact_does_not_prove_the_sender(finished: Path, records: Path) -> None:
    record = make_record(finished, records)
    folder = again(record, records)
    assert SUBMISSION.contact in (folder / "submission.json").read_text(encoding="utf-8")
    for own in ((), ("0" * 12,), (folder.name,)):
        (reason,) = verify_record(folder, records, own=own).reasons
        assert STRANGE in reason and record.name in reason
    assert verify_record(folder, records, own=(record.name, "0" * 12)).accepted


def test_same_account_may_change_its_contact(finished: Path, records: Path) -> None:
    record = make_record(finished, records)
    draft = records / "draft"
    again(record, records).rename(draft)
    edit(draft / "submission.json", lambda facts: facts | {"contact": "a new address"})
    assert verify_record(resign(draft, records), records, own=[record.name]).accepted


def test_unknown_sender_is_a_remark(finished: Path, records: Path) -> None:
    record = make_record(finished, records)
    verdict = verify_record(again(record, records), records)
    assert verdict.accepted and f"the host decides whether {record.name} has the same sender" in verdict.remarks


# ---- Two checkouts


@pytest.mark.slow("leaderboard/verification", "leaderboard/hub")
def test_own_option_with_base(cli: Run, finished: Path, records: Path, tmp_path: Path) -> None:
    record = make_record(finished, records)
    head = tmp_path / "head"
    shutil.copytree(records.parent, head)
    again(head / "records" / record.relative_to(records), head / "records")
    asked = ("harness", "verify", head, "--base", records.parent)
    for words in ((), ("--own", "0" * 12)):
        result = cli(*asked, *words)
        assert result.returncode == 1 and STRANGE in result.stdout
    assert cli(*asked, "--own", "0" * 12, "--own", record.name).returncode == 0


def test_sender_is_not_checked_for_accepted_records(cli: Run, finished: Path, records: Path) -> None:
    again(make_record(finished, records), records)
    result = cli("harness", "verify", records.parent)
    assert result.returncode == 0 and "2 of 2 records accepted" in result.stdout


# ---- The Hub


def send(cli: Run, monkeypatch: pytest.MonkeyPatch, token: str, *words: Any) -> None:
    with monkeypatch.context() as context:
        context.setenv("HF_TOKEN", token)
        result = cli("harness", "submit", *words)
        assert result.returncode == 0, result.stderr


def verdict(cli: Run, results: str, number: int) -> dict[str, Any]:
    result = cli("harness", "verify", results, "--pull-request", number, "--json")
    (message,) = json.loads(result.stdout)
    assert result.returncode == (0 if message["accepted"] else 1)
    return dict(message)


@pytest.fixture
def sent(cli: Run, hub: Hub, results: str, finished: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of a record that a guest submitted and the owner merged."""
    send(cli, monkeypatch, "hf_guest", finished, "--to", results, *TERMS, "--disclosure", "None.")
    HfApi(endpoint=hub.url, token="hf_owner").merge_pull_request(results, 1, repo_type="dataset")
    (path,) = (path for path in hub.files("dataset", results) if path.endswith("/run.json"))
    return path.split("/")[3]


@pytest.mark.slow("leaderboard/verification", "leaderboard/hub")
@pytest.mark.parametrize(("token", "may"), [("hf_guest", True), ("hf_owner", False)])
def test_author_of_the_pull_request_may_supersede(
    cli: Run, results: str, finished: Path, sent: str, monkeypatch: pytest.MonkeyPatch, token: str, may: bool
) -> None:
    words = (finished, "--to", results, *TERMS, "--disclosure", "Once more.", "--supersedes", sent)
    send(cli, monkeypatch, token, *words)
    message = verdict(cli, results, 2)
    assert message["accepted"] is may
    assert may or STRANGE in message["reasons"][0]


@pytest.mark.slow("leaderboard/verification", "leaderboard/hub")
def test_deleted_accounts_are_not_the_same_sender(
    cli: Run, hub: Hub, results: str, finished: Path, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deleted accounts are different senders."""
    words = (finished, "--to", results, *TERMS, "--disclosure", "Once more.", "--supersedes", sent)
    send(cli, monkeypatch, "hf_guest", *words)
    repository = hub.store.find("datasets", results)
    assert repository is not None
    for gone in ([0], [1], [0, 1]):
        with repository.changing() as state:
            authors = [discussion["author"] for discussion in state["discussions"]]
            for number in gone:
                state["discussions"][number]["author"] = {}
        assert STRANGE in verdict(cli, results, 2)["reasons"][0]
        with repository.changing() as state:
            for discussion, author in zip(state["discussions"], authors, strict=True):
                discussion["author"] = author
    assert verdict(cli, results, 2)["accepted"]


@pytest.mark.slow("leaderboard/verification", "leaderboard/hub")
def test_title_with_another_number_is_ignored(hub: Hub, results: str, sent: str) -> None:
    api = HfApi(endpoint=hub.url, token="hf_owner")
    merged = next(iter(api.list_repo_commits(results, repo_type="dataset")))
    assert _author_of(api, results, merged.commit_id, merged.title) == "guest"
    for commit, title in (
        ("0" * 40, "A record (#1)"),
        (merged.commit_id, "A record"),
        (merged.commit_id, f"{merged.title} by hand"),
    ):
        assert _author_of(api, results, commit, title) is None
