"""The Python interface: what it gives is what the command line writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness.errors import UserError
from tests.conftest import Run as Cli
from tests.support import models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the bundled model on flip-flop strings, and of answers to letters that somebody else gave."""
    here = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-m", "harness", "eval", "--task", "flipflop", "--limit", "4", "--output", str(here)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = here.glob("*/*")
    return found


@pytest.fixture
def answered(cli: Cli, tmp_path: Path) -> Path:
    assert cli("harness", "prompts", "--task", "letters", "--limit", 6, "--out", "prompts.jsonl").returncode == 0
    ids = [json.loads(line)["id"] for line in (tmp_path / "prompts.jsonl").open(encoding="utf-8")]
    outputs = ["3", "It is 99.", "I cannot count letters.", "???", "0", "1"]
    lines = [json.dumps({"id": name, "output": output}) for name, output in zip(ids, outputs, strict=True)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert cli("harness", "score", "--outputs", "answers.jsonl", "--model", "a/b").returncode == 0
    (found,) = tmp_path.glob("runs/a--b/*")
    return found


def test_scores_are_those_of_the_file(folder: Path) -> None:
    run = harness.load_run(folder)
    written = json.loads((folder / "result.json").read_text("utf-8"))
    assert run.result == written and run.info["command"].startswith("harness eval")
    frame = run.scores()
    assert list(frame.columns) == [
        "task", "split", "metric", "value", "low", "high", "n", "errors", "baseline", "group",
    ]  # fmt: skip
    assert frame.to_dict("records")[0]["metric"] == written["scores"][0]["metric"] and len(frame) == len(
        written["scores"]
    )


def test_reads_one_by_one(folder: Path) -> None:
    run = harness.load_run(str(folder))
    observed, graded = run.observations("flipflop", "val"), run.graded("flipflop", "val")
    assert observed.num_rows == len(graded) and graded["row"].tolist() == observed["id"].to_pylist()
    assert graded["place"].tolist() == observed["position"].to_pylist()
    assert graded["target"].tolist() == [str(one) for one in observed["gold"].to_pylist()]
    right = [a == b for a, b in zip(observed["argmax"].to_pylist(), observed["gold_token"].to_pylist(), strict=True)]
    assert graded["right"].tolist() == right
    gaps = observed["gap"].to_pylist()
    assert all(("gap=1" in groups) == (gap == 1) for groups, gap in zip(graded["groups"], gaps, strict=True))


def test_answers_one_by_one(answered: Path) -> None:
    graded = harness.load_run(answered).graded("letters", "test")
    assert graded["predicted"].tolist()[:4] == ["3", "99", "refused", "unparsed"]
    assert graded["right"].tolist() == [
        predicted == target for predicted, target in zip(graded["predicted"], graded["target"], strict=True)
    ]
    assert "answer=3" in graded["groups"][0] and graded["place"].isna().all()


def test_a_report(folder: Path) -> None:
    page = harness.load_run(folder).report()
    assert page == folder / "report.html" and "flipflop" in page.read_text("utf-8")


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no letters\.test: use one of flipflop\.val, "):
        harness.load_run(folder).observations("letters", "test")
    with pytest.raises(UserError):
        harness.load_run(tmp_path)


def test_every_public_name_is_there() -> None:
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    assert harness.metrics.GlitchRate.__name__ == "GlitchRate" and harness.metrics.ExactCount.__name__ == "ExactCount"
    with pytest.raises(AttributeError):
        _ = harness.nothing


def test_a_model_in_memory_gets_the_numbers_of_its_folder(tmp_path: Path) -> None:
    """Observations and scores are those of the saved model; the model is left as it was."""
    folder = tmp_path / "saved"
    models.save_tiny(folder, models.gpt2_like())
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked: dict[str, Any] = {"tasks": ["flipflop", "letters"], "limit": 3, "parameters": {"flipflop": {"length": 64}}}
    saved = harness.evaluate(folder, output=tmp_path / "a", **asked)
    model.train()
    before = model.generation_config
    inside = harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **asked)
    assert model.training and model.generation_config is before
    assert inside.info["model"]["id"] == "local/mine" and len(inside.info["model"]["revision"]) == 40
    assert inside.scores().equals(saved.scores())
    for split in ("val", "val_sparse", "val_dense"):
        assert inside.observations("flipflop", split).equals(saved.observations("flipflop", split))
    again = harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **asked)
    assert again.folder == inside.folder
    next(model.parameters()).data.add_(1.0)
    assert harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **asked).folder != inside.folder


def test_options_of_the_call(tmp_path: Path) -> None:
    run = harness.evaluate("fflm/lstm", suite="quick", limit=1, output=tmp_path, strict=True)
    assert run.info["suite"] == {"name": "quick", "version": 1} and run.info["model"]["strict"] is True
    assert run.info["command"] == "harness eval --model fflm/lstm --suite quick --limit 1 --strict"
    with pytest.raises(TypeError, match="no option 'shotz'"):
        harness.evaluate("fflm/lstm", shotz=1)
    with pytest.raises(UserError, match="needs its tokenizer"):
        harness.evaluate(object())
