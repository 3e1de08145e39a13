"""The Python interface, compared with the output of the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness.cli import main
from harness.errors import UserError
from tests.conftest import Run as Cli
from tests.support import models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run of the bundled model on flip-flop strings."""
    output = tmp_path_factory.mktemp("api")
    assert main(["eval", "--task", "flipflop", "--limit", "4", "--output", str(output)]) == 0
    (run_folder,) = output.glob("*/*")
    return run_folder


@pytest.fixture
def answered(cli: Cli, tmp_path: Path) -> Path:
    """Returns the folder of a run of external outputs for letters."""
    assert cli("harness", "prompts", "--task", "letters", "--limit", 6, "--out", "prompts.jsonl").returncode == 0
    ids = [json.loads(line)["id"] for line in (tmp_path / "prompts.jsonl").open(encoding="utf-8")]
    outputs = ["3", "It is 99.", "I cannot count letters.", "???", "0", "1"]
    lines = [json.dumps({"id": name, "output": output}) for name, output in zip(ids, outputs, strict=True)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert cli("harness", "score", "--outputs", "answers.jsonl", "--model", "a/b").returncode == 0
    (run_folder,) = tmp_path.glob("runs/a--b/*")
    return run_folder


def test_scores_match_result_json(folder: Path) -> None:
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


def test_graded_reads(folder: Path) -> None:
    run = harness.load_run(str(folder))
    observed, graded = run.observations("flipflop", "val"), run.graded("flipflop", "val")
    assert observed.num_rows == len(graded) and graded["row"].tolist() == observed["id"].to_pylist()
    assert graded["place"].tolist() == observed["position"].to_pylist()
    assert graded["target"].tolist() == list(map(str, observed["gold"].to_pylist()))
    right = [a == b for a, b in zip(observed["argmax"].to_pylist(), observed["gold_token"].to_pylist(), strict=True)]
    assert graded["right"].tolist() == right
    gaps = observed["gap"].to_pylist()
    assert all(("gap=1" in groups) == (gap == 1) for groups, gap in zip(graded["groups"], gaps, strict=True))


def test_graded_completions(answered: Path) -> None:
    graded = harness.load_run(answered).graded("letters", "test")
    assert graded["predicted"].tolist()[:4] == ["3", "99", "refused", "unparsed"]
    assert graded["right"].tolist() == [
        predicted == target for predicted, target in zip(graded["predicted"], graded["target"], strict=True)
    ]
    assert "answer=3" in graded["groups"][0] and graded["place"].isna().all()


def test_report(folder: Path) -> None:
    page = harness.load_run(folder).report()
    assert page == folder / "report.html" and "flipflop" in page.read_text("utf-8")


def test_missing_table_and_run_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no letters\.test: use one of flipflop\.val, "):
        harness.load_run(folder).observations("letters", "test")
    with pytest.raises(UserError):
        harness.load_run(tmp_path)


def test_public_names() -> None:
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    assert harness.metrics.GlitchRate.__name__ == "GlitchRate" and harness.metrics.ExactCount.__name__ == "ExactCount"
    with pytest.raises(AttributeError):
        _ = harness.nothing


def test_model_in_memory_matches_saved_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observations and scores equal those of the saved model, and the model is unchanged afterwards."""
    folder = tmp_path / "saved"
    models.save_tiny(folder, models.gpt2_like())
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options: dict[str, Any] = {"tasks": ["flipflop", "letters"], "limit": 3, "parameters": {"flipflop": {"length": 64}}}
    saved = harness.evaluate(folder, output=tmp_path / "a", **options)
    model.train()
    monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")  # as in a Trainer on a GPU
    before = model.generation_config
    in_memory = harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **options)
    assert model.training and model.generation_config is before and torch.backends.fp32_precision == "tf32"
    assert in_memory.info["model"]["id"] == "local/mine" and len(in_memory.info["model"]["revision"]) == 40
    assert in_memory.scores().equals(saved.scores())
    for split in ("val", "val_sparse", "val_dense"):
        assert in_memory.observations("flipflop", split).equals(saved.observations("flipflop", split))
    again = harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **options)
    assert again.folder == in_memory.folder
    next(model.parameters()).data.add_(1.0)
    assert harness.evaluate(model, tokenizer, output=tmp_path / "b", name="mine", **options).folder != in_memory.folder


def test_evaluate_options(tmp_path: Path) -> None:
    run = harness.evaluate("fflm/lstm", suite="quick", limit=1, output=tmp_path, strict=True)
    assert run.info["suite"] == {"name": "quick", "version": 1} and run.info["model"]["strict"] is True
    assert run.info["command"] == "harness eval --model fflm/lstm --suite quick --limit 1 --strict"
    with pytest.raises(TypeError, match="no option 'shotz'"):
        harness.evaluate("fflm/lstm", shotz=1)
    with pytest.raises(UserError, match="needs its tokenizer"):
        harness.evaluate(object())


@pytest.mark.parametrize("option", ["limit", "batch_size", "shots", "thinking", "challenges"])
def test_numbers_out_of_range(option: str) -> None:
    """Without the check, a limit of 0 evaluates all rows."""
    with pytest.raises(ValueError, match=f"{option}=-1 is out of range"):
        harness.evaluate("fflm/lstm", tasks=["flipflop"], **{option: -1})


def test_tasks_must_be_a_list() -> None:
    with pytest.raises(UserError, match="tasks must be a list"):
        harness.evaluate("fflm/lstm", tasks="flipflop")


def test_glitch_rates_of_no_rows() -> None:
    with pytest.raises(ValueError, match="limit=0 is out of range"):
        harness.glitch_rates(lambda ids: ids, limit=0)
    with pytest.raises(ValueError, match="every=0 is out of range"):
        harness.GlitchCallback(every=0)
