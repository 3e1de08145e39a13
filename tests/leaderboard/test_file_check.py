"""Before a stranger's model is asked again, its files are read within bounds: one line for what goes beyond them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.models.revision import folder_revision
from harness.runs.files import CHECKSUMS
from leaderboard.replay import file_check
from leaderboard.replay.file_check import Questions, examine
from leaderboard.submit import public_facts
from tests.conftest import Run
from tests.leaderboard.making import consistent, edit, resign
from tests.leaderboard.recorded import copied, record_of
from tests.support import models

Facts = dict[str, Any]
ALL = Questions("n", None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("tiny") / "tiny", models.gpt2_like())


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    words = ("--task", "letters", "--task", "flipflop", "--limit", 4)
    return record_of(tmp_path_factory.mktemp("runs"), "--model", tiny, *words)


def hostile(honest: Path, tiny: Path, folder: Path, file: str, change: Callable[[Facts], object]) -> tuple[Path, Path]:
    """A record of a model with one changed file, as somebody who knows all the rules sends it, and the model."""
    model = folder / "tiny"
    shutil.copytree(tiny, model)
    facts = json.loads((model / file).read_text(encoding="utf-8"))
    change(facts)
    (model / file).write_text(json.dumps(facts), encoding="utf-8")
    record = copied(honest, folder)
    for beside in (".lock", CHECKSUMS):
        (record / beside).unlink(missing_ok=True)
    edit(record / "run.json", public_facts)
    edit(record / "run.json", lambda run: run["model"].update(revision=folder_revision(model, None)))
    return record, model


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_honest_models_pass(honest: Path, tiny: Path) -> None:
    for questions in (ALL, Questions("n", 3), Questions("n", 0, fresh=True, rows=4)):
        examine(honest, questions, str(tiny))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", lambda facts: facts.update(n_layer=10**7), "config.json: n_layer is 10,000,000"),
        ("config.json", lambda facts: facts.update(n_embd="abc"), "cannot be loaded"),
        ("tokenizer.json", lambda facts: facts["model"]["vocab"].update({"zz": 2**32 - 2}), "cannot be read"),
        ("tokenizer.json", lambda facts: facts.update(model=[[[]]]), "cannot be read"),
    ],
)
def test_hostile_files_end_in_one_line(
    honest: Path, tiny: Path, tmp_path: Path, file: str, change: Callable[[Facts], object], said: str
) -> None:
    record, model = hostile(honest, tiny, tmp_path, file, change)
    with pytest.raises(UserError, match=said) as refused:
        examine(record, ALL, str(model))
    assert "\n" not in str(refused.value)


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_a_word_of_one_row_that_takes_all_memory(honest: Path, tiny: Path, tmp_path: Path) -> None:
    """No sample of a tokenizer's texts would have it."""
    growing = {"type": "Replace", "pattern": {"String": "strawberry"}, "content": "a" * 10**8}
    record, model = hostile(honest, tiny, tmp_path, "tokenizer.json", lambda facts: facts.update(normalizer=growing))
    with pytest.raises(UserError, match="its normalizer produces 10,000,000 characters from one"):
        examine(record, ALL, str(model))


def test_memory_is_bounded(honest: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_check, "MOST_MEMORY", 2**27)
    with pytest.raises(UserError, match=r"memory, or too much time: it is not asked again|cannot be asked"):
        examine(honest, ALL, str(tiny))


def test_time_is_bounded(honest: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is ended says nothing: that is one line, too."""
    monkeypatch.setattr(file_check.sandbox, "command", lambda *_: ["sleep", "0"])
    with pytest.raises(UserError, match="it is not asked again"):
        examine(honest, ALL, str(tiny))


@pytest.mark.slow("leaderboard/replay", "harness/models")
def test_from_the_command_line(cli: Run, honest: Path, tiny: Path, tmp_path: Path) -> None:
    record, model = hostile(
        honest, tiny, tmp_path, "tokenizer.json", lambda facts: facts["model"]["vocab"].update({"zz": 2**32 - 2})
    )
    consistent(record)
    record = resign(record, tmp_path / "records")
    result = cli("harness", "verify", record, "--replay", 4, "--model", model)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "it has the id 4,294,967,294" in result.stderr.strip().splitlines()[-1]
