"""Submitting: a record is verified first, written atomically, and has no private data."""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path, PurePosixPath

import pytest
from huggingface_hub import HfApi

from harness.cli import main
from harness.errors import UserError
from harness.runs.run import read_run
from leaderboard import create_record
from leaderboard.commands.submit import add_arguments
from leaderboard.records import find_records, read_record
from leaderboard.submission_file import submission_from_options
from leaderboard.verification.pull_request_diff import added_records, contents
from leaderboard.verification.refusal import Refused
from leaderboard.verification.verify_record import verify_record
from tests.conftest import Run, refused
from tests.hub import Hub
from tests.leaderboard.record_edits import SUBMISSION, TERMS, edit, make_record, resign, with_id


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, for edits."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "checkout" / "leaderboard" / "records").mkdir(parents=True)
    return tmp_path / "checkout"


def records(checkout: Path) -> Path:
    return checkout / "leaderboard" / "records"


def test_record_is_written_once(cli: Run, run_folder: Path, checkout: Path) -> None:
    result = cli("harness", "submit", run_folder, "--to", checkout, *TERMS)
    assert result.returncode == 0, result.stderr
    assert "trained on fflm" in result.stdout and "git add" in result.stdout and "flipflop" in result.stdout
    (record,) = find_records(records(checkout))
    assert record.submission.contact == "a tester" and record.submission.licence == "CC0-1.0"
    assert verify_record(record.folder, records(checkout)).accepted
    assert not list(checkout.rglob("*.partial"))
    assert "already exists" in refused(cli("harness", "submit", run_folder, "--to", checkout, *TERMS))
    edit(record.folder / "run.json", lambda facts: facts | {"left_out": {"letters": "changed"}})
    with pytest.raises(Exception, match="changed after submission"):
        list(find_records(records(checkout)))


def test_dry_run_writes_nothing(cli: Run, run_folder: Path, checkout: Path) -> None:
    before = contents(checkout), contents(run_folder)
    result = cli("harness", "submit", run_folder, "--to", checkout, *TERMS, "--dry-run")
    assert result.returncode == 0 and "would be accepted" in result.stdout
    assert (contents(checkout), contents(run_folder)) == before


def test_dry_run_without_target(cli: Run, run_folder: Path, checkout: Path) -> None:
    before = contents(run_folder)
    result = cli("harness", "submit", run_folder, *TERMS, "--dry-run")
    assert result.returncode == 0 and "would be accepted" in result.stdout and "add --to" in result.stdout
    assert contents(run_folder) == before and contents(checkout) == {}
    edit(run_folder / "run.json", lambda facts: facts | {"command": "harness eval <script>"})
    assert "markup" in refused(cli("harness", "submit", run_folder, *TERMS, "--dry-run"))
    assert "contact is missing" in refused(cli("harness", "submit", run_folder, "--dry-run"))


def test_placeholders_are_refused(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    """The example file of the documentation, and the texts of --help."""
    rules = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", rules, re.DOTALL)
    about = tmp_path / "about.toml"
    about.write_text(example, encoding="utf-8")
    submit = ("submit", run_folder, "--dry-run", "--about", about)
    assert "the contact is the placeholder" in refused(cli("harness", *submit))
    assert "the disclosure is the placeholder" in refused(cli("harness", *submit, "--contact", "a tester"))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    helps = {one.dest: one.help for one in parser._actions}
    for option, words in (("contact", helps["contact"]), ("disclosure", helps["disclosure"]), ("contact", "<NAME>")):
        terms = dict(zip([word[2:] for word in TERMS[::2]], TERMS[1::2], strict=True)) | {option: words}
        with pytest.raises(UserError, match=f"the {option} is the placeholder"):
            submission_from_options(terms, None, "2026-11-21")
    for words in ("org", "Ada", "a name"):
        assert submission_from_options(terms | {"contact": words}, None, "2026-11-21").contact == words


def test_refused_run_writes_nothing(cli: Run, run_folder: Path, checkout: Path) -> None:
    edit(run_folder / "run.json", lambda facts: facts | {"command": "harness eval <script>"})
    assert "markup" in refused(cli("harness", "submit", run_folder, "--to", checkout, *TERMS))
    assert contents(checkout) == {}


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (TERMS[2:], "contact is missing"),
        ([*TERMS, "--licence", "mine"], "there is no licence 'mine': --licence takes CC0-1.0, CC-BY-4.0"),
        ([*TERMS, "--licence", "apache2"], "did you mean 'Apache-2.0'?"),
        ([*TERMS, "--division", "pretraind"], "did you mean 'pretrained'?"),
        ([*TERMS, "--division", "trained"], "there is no division 'trained'"),
        ([*TERMS, "--disclosure", "<b>none</b>"], "markup"),
        ([*TERMS, "--supersedes", "0123"], "supersedes"),
        ([*TERMS, "--supersedes", "0" * 12], "no such record"),
    ],
)
def test_invalid_terms(cli: Run, run_folder: Path, checkout: Path, terms: list[str], message: str) -> None:
    make_record(run_folder, records(checkout))
    before = contents(checkout)
    edit(run_folder / "run.json", lambda facts: facts | {"starts": []})
    assert message in refused(cli("harness", "submit", run_folder, "--to", checkout, *terms))
    assert contents(checkout) == before


def test_terms_from_a_file(tmp_path: Path) -> None:
    about = tmp_path / "about.toml"
    about.write_text('contact = "René"\nlicence = "MIT"\ndivision = "pretrained"\ndisclosure = "None."\n', "utf-8")
    options = {"contact": None, "licence": "CC0-1.0", "supersedes": None}
    found = submission_from_options(options, about, "2026-11-21")
    assert (found.contact, found.licence, found.supersedes) == ("René", "CC0-1.0", ())
    about.write_text('hobby = "chess"\n', "utf-8")
    with pytest.raises(Exception, match="'hobby'"):
        submission_from_options(options, about, "2026-11-21")
    about.write_text("contact", "utf-8")
    with pytest.raises(Exception, match="not a TOML file"):
        submission_from_options(options, about, "2026-11-21")
    with pytest.raises(Exception, match=r"none\.toml cannot be read \(No such file or directory\)"):
        submission_from_options(options, tmp_path / "none.toml", "2026-11-21")


@pytest.mark.parametrize("terms", [[], [*TERMS, "--contact", "null"], ["--about", "none.toml"]])
def test_paths_are_checked_before_terms(
    capsys: pytest.CaptureFixture[str], run_folder: Path, tmp_path: Path, terms: list[str]
) -> None:
    """A missing run or checkout is reported first."""
    nowhere = str(tmp_path / "nope")
    for places, message in (
        ([nowhere, "--to", "x"], f"{nowhere} is not a run folder"),
        ([nowhere], f"{nowhere} is not a run folder"),
        ([nowhere, "--dry-run"], f"{nowhere} is not a run folder"),
        ([nowhere, "--hub-results"], f"{nowhere} is not a run folder"),
        ([str(run_folder), "--to", "x"], "x is not a checkout"),
        ([str(run_folder)], "the destination is missing"),
    ):
        assert main(["submit", *places, *terms]) == 2
        assert message in capsys.readouterr().err


def test_invalid_targets(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    assert "the destination" in refused(cli("harness", "submit", run_folder))
    assert "not a checkout" in refused(cli("harness", "submit", run_folder, "--to", tmp_path, *TERMS))
    assert "not a checkout" in refused(cli("harness", "submit", run_folder, "--to", "nowhere", *TERMS))


@pytest.mark.parametrize(
    "kind", ["clone", pytest.param("worktree", marks=pytest.mark.slow("leaderboard/create_record.py"))]
)
def test_first_record_creates_the_records_folder(cli: Run, run_folder: Path, tmp_path: Path, kind: str) -> None:
    """A new results repository, and the pull request with its first record."""
    new, before = tmp_path / "new", tmp_path / "before"
    for folder in (new, before):
        folder.mkdir()
        (folder / "README.md").touch()
        if kind == "clone":
            subprocess.run(["git", "init", "--quiet", folder], check=True)
        else:
            (folder / ".git").write_text("gitdir: elsewhere\n", encoding="utf-8")
    assert cli("harness", "submit", run_folder, "--to", new, *TERMS, "--dry-run").returncode == 0
    assert not (new / "records").exists()
    nothing = cli("harness", "verify", new, "--base", before)
    assert "has no new record" in refused(nothing) and "below records" in nothing.stderr
    assert cli("harness", "submit", run_folder, "--to", new, *TERMS).returncode == 0
    (record,) = find_records(new / "records")
    assert cli("harness", "verify", new, "--base", before).returncode == 0
    assert cli("harness", "verify", new).returncode == 0
    assert "already exists" in refused(cli("harness", "submit", run_folder, "--to", new, *TERMS))
    assert record.submission.contact == "a tester"


@pytest.mark.parametrize(
    ("command", "public"),
    [
        ("harness eval --model /home/alice/secret/my-model --limit 3", "harness eval --model my-model --limit 3"),
        ("harness eval --model '~/my model/'", "harness eval --model 'my model'"),
        (r"harness eval --model 'C:\Users\alice\m'", "harness eval --model m"),
        ("harness eval --model org/name --adapter ./lora", "harness eval --model org/name --adapter ./lora"),
        (r"harness eval --model '\\host\share\m'", "harness eval --model m"),
        ("harness eval --model D:/models/m/", "harness eval --model m"),
        ("harness eval --model D:m", "harness eval --model m"),
        ("harness eval --model ~alice", "harness eval --model alice"),
        ("harness eval --model ../m --adapter a/../../b", "harness eval --model m --adapter b"),
        ("harness eval --model files/m", "harness eval --model files/m"),
        ("harness eval --system 'see (/home/alice/x) now'", "harness eval --system 'see (/home/alice/x) now'"),
        ("harness eval --system 'a  b' --model /m", "harness eval --system 'a  b' --model m"),
        ("harness prompts --task letters --ou=/home/alice/p.jsonl", "harness prompts --task letters --ou=p.jsonl"),
        ("harness prompts --task letters --out out/.p", "harness prompts --task letters --out p"),
        ("harness eval --model", "harness eval --model"),
    ],
)
def test_local_paths_are_removed_from_commands(command: str, public: str) -> None:
    assert create_record.public_command(command) == public


@pytest.mark.parametrize(
    ("command", "model", "public"),
    [
        ("harness eval --model .", {"id": "local/tiny"}, "harness eval --model tiny"),
        ("harness eval --model /home/alice/latest", {"id": "local/step-500"}, "harness eval --model step-500"),
        ("harness eval --model ../..", {"id": "local/x", "gguf_file": "x.gguf"}, "harness eval --model model"),
        (
            "harness eval --model a/b --adapter ./link",
            {"id": "a/b", "adapter": {"id": "local/lora"}},
            "harness eval --model a/b --adapter lora",
        ),
    ],
)
def test_local_folders_use_the_recorded_name(command: str, model: dict[str, str], public: str) -> None:
    facts = {"command": command, "model": model, "left_out": {"letters": "no file /home/alice/x", "capitals": "long"}}
    message = create_record.public_facts(facts)
    assert message["command"] == public
    assert message["left_out"] == {"letters": create_record.REDACTED, "capitals": "long"}


def test_record_has_no_secrets(run_folder: Path, checkout: Path) -> None:
    """The command of a user may contain paths; an unknown field is refused."""
    secret = {"command": "harness eval --model /home/alice/lstm --task flipflop --limit 8"}
    edit(run_folder / "run.json", lambda facts: facts | secret | {"model": facts["model"] | {"id": "local/lstm"}})
    edit(run_folder / "run.json", with_id)
    create_record.command(run_folder, str(checkout), SUBMISSION, dry_run=False)
    text = "".join(path.read_text("utf-8") for path in checkout.rglob("*.json"))
    assert "alice" not in text and '"harness eval --model lstm --task flipflop --limit 8"' in text
    edit(run_folder / "run.json", lambda facts: facts | {"environment": facts["environment"] | {"host": "node17"}})
    with pytest.raises(Exception, match="unknown field"):
        create_record.command(run_folder, str(checkout), SUBMISSION, dry_run=False)


def _add_slowly(record: Path, records: Path, slow: bool) -> None:
    """Adds a record in a separate process; if slow, it stops before the last file."""
    if slow:
        copy = shutil.copyfile

        def wait(source: Path, target: Path) -> None:
            copy(source, target)
            if str(target).endswith(".parquet"):
                (records.parent / "waiting").touch()
                time.sleep(60)

        shutil.copyfile = wait
    create_record.add_record(read_record(record), records)


def test_interrupted_submission(run_folder: Path, checkout: Path, tmp_path: Path) -> None:
    """A process killed while copying leaves no record, and the next call removes its files."""
    record = make_record(run_folder, tmp_path / "staged")
    process = multiprocessing.get_context("fork").Process(target=_add_slowly, args=(record, records(checkout), True))
    process.start()
    while not (records(checkout).parent / "waiting").exists():
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert list(find_records(records(checkout))) == []
    create_record.add_record(read_record(record), records(checkout))
    (found,) = find_records(records(checkout))
    assert verify_record(found.folder, records(checkout)).accepted
    assert not list(checkout.rglob("*.partial"))


def test_concurrent_submissions(run_folder: Path, checkout: Path, tmp_path: Path) -> None:
    """Six submissions of three records give each record once."""
    staged = []
    for number in range(3):
        edit(run_folder / "run.json", lambda facts, number=number: facts | {"starts": facts["starts"] * (number + 1)})
        staged.append(make_record(run_folder, tmp_path / "staged"))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_slowly, args=(one, records(checkout), False)) for one in staged * 2]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(process.exitcode or 0 for process in processes) == [0, 0, 0, 1, 1, 1]
    found = list(find_records(records(checkout)))
    assert sorted(one.folder.name for one in found) == sorted(one.name for one in staged)
    assert all(verify_record(one.folder, None).accepted for one in found)


# Changes of a pull request.

RECORDS = PurePosixPath("records")
BEFORE = {"README.md": "a", "records/a--b/" + "0" * 12 + "/" + "1" * 12 + "/run.json": "b"}
NEW = "records/a--b/" + "0" * 12 + "/" + "2" * 12
ATTESTATION = "records/a--b/" + "0" * 12 + "/" + "1" * 12 + f".replay-{'0' * 64}.json"


def test_pull_request_that_adds_a_record() -> None:
    after = BEFORE | {f"{NEW}/run.json": "c", f"{NEW}/observations/letters.test.parquet": "d"}
    assert [path.as_posix() for path in added_records(BEFORE, after, RECORDS)] == [NEW]
    attested = added_records(BEFORE, after | {ATTESTATION: "e"}, RECORDS, [Path(ATTESTATION).name])
    assert [path.as_posix() for path in attested] == [ATTESTATION.split(".", maxsplit=1)[0], NEW]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ({**BEFORE, "README.md": "x"}, "'README.md' was changed"),
        ({"README.md": "a"}, "deleted"),
        ({**BEFORE, "records/a--b/" + "0" * 12 + "/" + "1" * 12 + "/run.json": "x"}, "changed"),
        ({**BEFORE, "records/a--b/" + "0" * 12 + "/" + "1" * 12 + "/note.json": "x"}, "not part of a new record"),
        ({**BEFORE, ".github/workflows/verify.yml": "x"}, "not part of a new record"),
        ({**BEFORE, "records/a--b/run.json": "x"}, "not part of a new record"),
        ({**BEFORE, f"leaderboard/{NEW}/run.json": "x"}, "not part of a new record"),
        ({**BEFORE, f"{NEW}/run.json": "x", "setup.py": "x"}, "'setup.py' is not part"),
        ({**BEFORE, ATTESTATION: "x"}, "not part of a new record"),
        ({**BEFORE, **{f"records/a--b/c/{number}/run.json": "x" for number in range(21)}}, "the limit is 20"),
    ],
)
def test_pull_request_with_other_changes_is_refused(after: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        added_records(BEFORE, after, RECORDS)


@pytest.mark.slow("leaderboard/create_record.py", "leaderboard/hub", "leaderboard/verification")
def test_verify_with_base(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    base, head = tmp_path / "base", tmp_path / "head"
    (base / "records").mkdir(parents=True)
    (base / "README.md").write_text("Results", "utf-8")
    shutil.copytree(base, head)
    record = make_record(run_folder, head / "records")
    result = cli("harness", "verify", head, "--base", base)
    assert result.returncode == 0 and "accepted" in result.stdout
    (head / "sitecustomize.py").write_text("raise SystemExit('executed')", "utf-8")
    result = cli("harness", "verify", head, "--base", base, "--json")
    (verdict,) = json.loads(result.stdout)
    assert result.returncode == 1 and "'sitecustomize.py' is not part" in verdict["reasons"][0]
    (head / "sitecustomize.py").unlink()
    (head / "records" / "link").symlink_to("/etc")
    assert "'records/link' is not part" in cli("harness", "verify", head, "--base", base).stdout
    (head / "records" / "link").unlink()
    edit(record / "result.json", lambda value: value["scores"][0].update(value=0.5))
    assert cli("harness", "verify", head, "--base", base).returncode == 1


def test_other_files_of_a_checkout(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    """Another records folder, a pipe, the file .git of a worktree, names with control characters."""
    base, head = tmp_path / "base", tmp_path / "head"
    (base / "records").mkdir(parents=True)
    shutil.copytree(base, head)
    assert "is not a folder" in refused(cli("harness", "verify", head, "--base", tmp_path / "bsae"))
    make_record(run_folder, head / "leaderboard" / "records")
    result = cli("harness", "verify", head, "--base", base)
    assert result.returncode == 1 and "not part of a new record" in result.stdout
    assert "Remove one of them" in refused(cli("harness", "leaderboard", "build", "--records", head, "--out", "site"))
    shutil.rmtree(head / "leaderboard")
    make_record(run_folder, head / "records")
    (head / ".git").write_text("gitdir: elsewhere", "utf-8")
    assert cli("harness", "verify", head, "--base", base).returncode == 0
    os.mkfifo(head / "pipe")
    result = cli("harness", "verify", head, "--base", base)
    assert result.returncode == 1 and "'pipe' is not part" in result.stdout
    (head / "pipe").unlink()
    odd = head / "records" / "o--m" / ("0" * 12) / "x\n::error::\x1b[31maccepted"
    odd.mkdir(parents=True)
    (odd / "run.json").write_text("{}", "utf-8")
    result = cli("harness", "verify", head / "records")
    assert result.returncode == 1 and "\x1b" not in result.stdout and "\n::error::" not in result.stdout


def test_single_record_is_verified_alone(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    record = make_record(run_folder, tmp_path / "elsewhere")
    result = cli("harness", "verify", record)
    assert result.returncode == 0 and "not compared with other records" in result.stdout
    shutil.copytree(record, tmp_path / "x")
    assert cli("harness", "verify", tmp_path / "x").returncode == 1


# The Hub.


@pytest.mark.slow("leaderboard/create_record.py", "leaderboard/hub", "leaderboard/verification")
def test_hub_pull_request(cli: Run, hub: Hub, results: str, run_folder: Path) -> None:
    """Submitted by a guest, verified, merged by an owner; other changes are refused."""
    result = cli("harness", "submit", run_folder, "--to", results, *TERMS)
    assert result.returncode == 0, result.stderr
    assert "opened pull request " in result.stdout and "/discussions/1" in result.stdout
    assert not any(path.startswith("records") for path in hub.files("dataset", results))
    result = cli("harness", "verify", results, "--pull-request", 1)
    assert result.returncode == 0 and "accepted: fflm--lstm/" in result.stdout, result.stderr
    HfApi(endpoint=hub.url, token="hf_owner").merge_pull_request(results, 1, repo_type="dataset")
    assert "this run was submitted before" in refused(cli("harness", "submit", run_folder, "--to", results, *TERMS))
    assert cli("harness", "verify", results).returncode == 0


@pytest.mark.slow("leaderboard/create_record.py", "leaderboard/hub", "leaderboard/verification")
def test_hub_pull_request_with_other_changes_is_refused(
    cli: Run, hub: Hub, results: str, run_folder: Path, tmp_path: Path
) -> None:
    record = make_record(run_folder, tmp_path / "staged" / "records")
    api = HfApi(endpoint=hub.url, token="hf_guest")
    (tmp_path / "staged" / "README.md").write_text("Mine", "utf-8")
    api.upload_folder(folder_path=tmp_path / "staged", repo_id=results, repo_type="dataset", create_pr=True)
    result = cli("harness", "verify", results, "--pull-request", 1, "--json")
    (verdict,) = json.loads(result.stdout)
    assert result.returncode == 1 and "'README.md' was changed" in verdict["reasons"][0]
    edit(record / "result.json", lambda value: value["scores"][0].update(value=0.5))
    (tmp_path / "staged" / "README.md").unlink()
    resign(record, tmp_path / "staged" / "records")
    api.upload_folder(folder_path=tmp_path / "staged", repo_id=results, repo_type="dataset", create_pr=True)
    result = cli("harness", "verify", results, "--pull-request", 2)
    assert result.returncode == 1 and "the observations give" in result.stdout


@pytest.mark.slow("leaderboard/create_record.py", "leaderboard/hub", "leaderboard/verification")
def test_hub_errors(cli: Run, hub: Hub, results: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot find or access the dataset org/nothing" in refused(
        cli("harness", "submit", run_folder, "--to", "org/nothing", *TERMS)
    )
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    assert "does not know this token" in refused(cli("harness", "submit", run_folder, "--to", results, *TERMS))
    monkeypatch.setenv("HF_TOKEN", "hf_guest")
    hub.fail_next("POST", "/commit/", 403)
    assert "your token may not" in refused(cli("harness", "submit", run_folder, "--to", results, *TERMS))


def test_withdraw(cli: Run, run_folder: Path, checkout: Path) -> None:
    record = make_record(run_folder, records(checkout))
    assert cli("harness", "leaderboard", "withdraw", record, "--reason", "Wrong weights.").returncode == 0
    (found,) = find_records(records(checkout))
    assert found.withdrawn is not None and found.withdrawn.details == {"reason": "Wrong weights."}
    assert "was already withdrawn" in refused(cli("harness", "leaderboard", "withdraw", record, "--reason", "Again."))
    assert verify_record(read_run(record).folder, records(checkout)).accepted


def test_attestations_of_other_records_are_refused(cli: Run, run_folder: Path, checkout: Path) -> None:
    record = make_record(run_folder, records(checkout))
    assert cli("harness", "leaderboard", "withdraw", record, "--reason", "Wrong weights.").returncode == 0
    (path,) = record.parent.glob("*.withdrawn-*.json")
    edit(path, lambda facts: facts | {"record": "0" * 64})
    with pytest.raises(Exception, match="not a valid attestation of its record"):
        list(find_records(records(checkout)))
