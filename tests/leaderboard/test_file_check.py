"""The files of an untrusted model are read within limits, and exceeding them gives a one-line error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.models.revision import folder_revision
from harness.runs.run import CHECKSUMS
from leaderboard.create_record import public_facts
from leaderboard.replay import file_check
from leaderboard.replay.file_check import SelectedRows, check_model_files
from tests.conftest import Run
from tests.leaderboard.model_records import copy_record, make_model_record
from tests.leaderboard.record_edits import edit, make_consistent, resign
from tests.support import models

Facts = dict[str, Any]
ALL = SelectedRows("n", None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("tiny") / "tiny", models.gpt2_like())


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    words = ("--task", "letters", "--task", "flipflop", "--limit", 4)
    return make_model_record(tmp_path_factory.mktemp("runs"), "--model", tiny, *words)


def hostile(honest: Path, tiny: Path, folder: Path, file: str, change: Callable[[Facts], object]) -> tuple[Path, Path]:
    """Returns a consistent record of a model with one changed file, and the model."""
    model = folder / "tiny"
    shutil.copytree(tiny, model)
    facts = json.loads((model / file).read_text(encoding="utf-8"))
    change(facts)
    (model / file).write_text(json.dumps(facts), encoding="utf-8")
    record = copy_record(honest, folder)
    for beside in (".lock", CHECKSUMS):
        (record / beside).unlink(missing_ok=True)
    edit(record / "run.json", public_facts)
    edit(record / "run.json", lambda run: run["model"].update(revision=folder_revision(model, None)))
    return record, model


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_valid_models_pass(honest: Path, tiny: Path) -> None:
    for questions in (ALL, SelectedRows("n", 3), SelectedRows("n", 0, fresh=True, rows=4)):
        check_model_files(honest, questions, str(tiny))


@pytest.mark.slow("leaderboard/replay", "harness/models")
@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda facts: facts.update(n_layer=10**7), "config.json: n_layer is 10,000,000"),
        ("config.json", lambda facts: facts.update(n_embd="abc"), "cannot be loaded"),
        ("tokenizer.json", lambda facts: facts["model"]["vocab"].update({"zz": 2**32 - 2}), "cannot be read"),
        ("tokenizer.json", lambda facts: facts.update(model=[[[]]]), "cannot be read"),
    ],
)
def test_hostile_files_give_one_line_errors(
    honest: Path, tiny: Path, tmp_path: Path, file: str, change: Callable[[Facts], object], message: str
) -> None:
    record, model = hostile(honest, tiny, tmp_path, file, change)
    with pytest.raises(UserError, match=message) as refused:
        check_model_files(record, ALL, str(model))
    assert "\n" not in str(refused.value)


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_token_that_exhausts_memory(honest: Path, tiny: Path, tmp_path: Path) -> None:
    """No sample of texts for the tokenizer would contain it."""
    growing = {"type": "Replace", "pattern": {"String": "strawberry"}, "content": "a" * 10**8}
    record, model = hostile(honest, tiny, tmp_path, "tokenizer.json", lambda facts: facts.update(normalizer=growing))
    with pytest.raises(UserError, match="its normalizer produces 10,000,000 characters from one"):
        check_model_files(record, ALL, str(model))


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_file_check_memory_limit(honest: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_check, "MOST_MEMORY", 2**27)
    with pytest.raises(UserError, match=r"memory, or too much time\. Replay another record|cannot be run"):
        check_model_files(honest, ALL, str(tiny))


def test_file_check_time_limit(honest: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process has no output, which gives a one-line error, too."""
    monkeypatch.setattr(file_check.sandbox, "command", lambda *_: ["sleep", "0"])
    with pytest.raises(UserError, match="Replay another record"):
        check_model_files(honest, ALL, str(tiny))


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_file_check_from_the_command_line(cli: Run, honest: Path, tiny: Path, tmp_path: Path) -> None:
    record, model = hostile(
        honest, tiny, tmp_path, "tokenizer.json", lambda facts: facts["model"]["vocab"].update({"zz": 2**32 - 2})
    )
    make_consistent(record)
    record = resign(record, tmp_path / "records")
    result = cli("harness", "verify", record, "--replay", 4, "--model", model)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "it has the token id 4,294,967,294" in result.stderr.strip().splitlines()[-1]
