"""`harness train` as a user types it: errors in one line before any training, output, interruption."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.training import trainer
from harness.training.recipes import all_recipes
from tests.conftest import refused
from tests.harness.training.training import TINY, contents, curve, interrupted_at

pytestmark = pytest.mark.usefixtures("one_thread")


def words(name: str, *more: str) -> list[str]:
    """The arguments of `harness train` for a tiny recipe."""
    recipe, changes = TINY[name]
    return [recipe, *(word for key, value in changes.items() for word in ("--set", f"{key}={value}")), *more]


def everything(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("the training has started")

    monkeypatch.setattr(trainer.RecipeTrainer, "train", train)


OUT = ("--output", "out")
WRONG = {
    "no recipe": ([], "name a recipe: harness train --list"),
    "no output": (["flipflop-small"], "--output FOLDER"),
    "unknown recipe": (["flipflop-smal", *OUT], "did you mean 'flipflop-small'"),
    "no recipe.json": (["missing.json", *OUT], "missing.json is not a recipe (No such file"),
    "unknown key": (["flipflop-small", "--set", "model.layer=1", *OUT], "did you mean 'model.layers'"),
    "no value": (["flipflop-small", "--set", "model.layers", *OUT], "KEY=VALUE"),
    "width": (["flipflop-small", "--set", "model.width=66", *OUT], "model.width=66"),
    "heads": (["flipflop-small", "--set", "model.heads=3", *OUT], "model.width=64"),
    "length": (["flipflop-transformer", "--set", "data.length=600", *OUT], "model.max_positions=512"),
    "seed": (["flipflop-small", "--seeds", "2", "--set", f"data.seed={2**63 - 1}", *OUT], "data.seed="),
    "seeds": (["flipflop-small", "--seeds", "0", *OUT], "--seeds"),
    "seeds and dropout of an architecture": (
        ["flipflop-small", "--seeds", "2", "--architecture", "gpt2", *OUT], "with dropout",
    ),
    "seeds and dropout": (
        ["flipflop-small", "--seeds", "2", "--set", "intervention.mlp_dropout=0.1", *OUT], "one seed at a time",
    ),
    "seeds and push": (["flipflop-small", "--seeds", "2", "--push", "a/b", *OUT], "--push takes one model"),
    "push": (["flipflop-small", "--push", "a/b", *OUT], "the Hub needs a token"),
    "batch": (["flipflop-small", "--gradient-accumulation", "3", *OUT], "data.batch_size=16"),
    "wandb": (["flipflop-small", "--report-to", "wandb", *OUT], "pip install wandb"),
    "trackio": (["flipflop-small", "--report-to", "trackio", *OUT], "pip install trackio"),
    "logger": (["flipflop-small", "--report-to", "wandbb", *OUT], "did you mean 'wandb'"),
    "architecture": (["flipflop-small", "--architecture", "lama", *OUT], "did you mean 'llama'"),
    "encoder": (["flipflop-small", "--architecture", "t5", *OUT], "no causal LM architecture 't5'"),
    "setting": (
        ["flipflop-small", "--architecture", "llama", "--set", "model.hidden_sise=8", *OUT], "'hidden_size'",
    ),
    "setting of another": (
        ["flipflop-small", "--architecture", "llama", "--set", "model.layers=3", *OUT], "no 'model.layers' in",
    ),
    "value": (
        ["flipflop-small", "--architecture", "llama", "--set", "model.num_attention_heads=7", *OUT], "cannot be built",
    ),
    "type": (
        ["flipflop-small", "--architecture", "llama", "--set", "model.hidden_size=wide", *OUT], "cannot be built",
    ),
    "counting architecture": (["query-count", "--architecture", "llama", *OUT], "a transformer for counting tasks"),
    "both": (["flipflop-small", "--architecture", "llama", "--from", "x/y", *OUT], "remove one of them"),
    "from nothing": (["flipflop-small", "--from", "./missing", *OUT], "./missing"),
    "from no model": (["flipflop-small", "--from", ".", *OUT], "config.json"),
    "from in generative mode": (
        ["flipflop-small", "--from", ".", "--set", "data.mode=generative", *OUT], "deterministic for --from",
    ),
    "counting from": (["query-count", "--from", ".", *OUT], "a transformer for counting tasks"),
    "revision": (["flipflop-small", "--revision", "v1", *OUT], "--revision is that of --from"),
    "output is a file": (["flipflop-small", "--output", "file"], "file"),
    "foreign files": (["flipflop-small", "--output", "foreign"], "foreign is not empty and has no recipe.json (a.txt)"),
    "foreign files, seeds": (["flipflop-small", "--seeds", "2", "--output", "foreign"], "foreign holds something else"),
}  # fmt: skip


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors_before_any_training(arguments, message, cli, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    (tmp_path / "file").write_text("text")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.txt").write_text("text")
    before = everything(tmp_path)
    line = refused(cli("harness", "train", *arguments))
    assert message in line and line.startswith("harness")
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "model.layers=3"], "out holds a model of another recipe (model.layers=2 instead of 3)"),
        (["--set", "data.seed=1"], "another recipe (data.seed=0 instead of 1)"),
        (["--set", "optimizer.learning_rate=1"], "another recipe (optimizer.learning_rate=0.01 instead of 1.0)"),
        (["--bf16"], "out holds a model trained without --bf16"),
        (["--architecture", "gpt2"], "out holds a model of another recipe (model.architecture=None instead of gpt2)"),
        (["--seeds", "2"], "out holds a single model"),
    ],
)
def test_output_folder_of_another_recipe(more, message, cli, tmp_path, request):
    with pytest.raises(AssertionError, match="the training has started"):
        cli("harness", "train", *words("alibi"), *OUT)
    before = everything(tmp_path)
    assert message in refused(cli("harness", "train", *words("alibi"), *OUT, *more))
    assert everything(tmp_path) == before


def test_another_recipe_after_a_mistake(cli, tmp_path):
    """A recipe that cannot be trained leaves nothing that would be in the way of the next one."""
    refused(cli("harness", "train", *words("alibi"), "--gradient-accumulation", "3", *OUT))
    assert cli("harness", "train", *words("lstm"), *OUT).returncode == 0


def test_list_and_show(cli):
    listed = cli("harness", "train", "--list")
    assert listed.returncode == 0
    for name, recipe in all_recipes().items():
        assert name in listed.stdout and recipe.title in listed.stdout
        shown = cli("harness", "train", name, "--show", "--set", "data.batch_size=8")
        assert shown.returncode == 0 and "data.batch_size = 8" in shown.stdout
        for part, values in recipe.parts().items():
            assert all(f"{part}.{key} = " in shown.stdout for key in values if key != "kind")


@pytest.mark.parametrize(("name", "seeds"), [("alibi", 1), ("lstm", 2), ("query-count", 1)])
def test_output(name, seeds, cli, tmp_path):
    """Results on stdout, the progress bar on stderr; the printed command evaluates the model."""
    result = cli("harness", "train", *words(name, *(["--seeds", str(seeds)] if seeds > 1 else [])), *OUT)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    folders = ["out"] if seeds == 1 else ["out/seed-0", "out/seed-1"]
    for folder, line in zip(folders, lines, strict=False):
        assert line.startswith(f"{folder}: loss ") and ("accuracy" if name == "query-count" else "val_sparse ") in line
    assert "12/12" in result.stderr and "step/s" in result.stderr and "step/s" not in result.stdout
    assert "Warning" not in result.stderr and "Writing" not in result.stderr
    assert len(lines) == seeds + (name != "query-count")
    again = cli("harness", "train", *words(name, *(["--seeds", str(seeds)] if seeds > 1 else [])), *OUT)
    assert again.stdout == result.stdout and "step/s" not in again.stderr


@pytest.mark.slow("harness/training", "harness/engine", "harness/evaluation")
def test_evaluation_during_training_equals_harness_eval(cli, tmp_path):
    """The last validation and `harness eval` count the same errors on the same rows."""
    for name in ("alibi", "symbols", "generative"):
        trained = cli("harness", "train", *words(name), "--output", name)
        command = trained.stdout.splitlines()[-1].partition("harness eval ")[2].split()
        assert command[:2] == ["--model", name]
        result = cli("harness", "eval", *command, "--limit", "200", "--output", f"runs-{name}")
        assert result.returncode == 0, result.stderr
        (path,) = tmp_path.glob(f"runs-{name}/**/result.json")
        row = curve(tmp_path / name)[-1]
        for split in ("val", "val_sparse", "val_dense"):
            assert row[f"{split}_reads"] > 100
            assert counts_of(path, split) == (row[f"{split}_errors"], row[f"{split}_reads"]), (name, split)


def counts_of(path: Path, split: str) -> tuple[int, int]:
    """Errors and reads of a split in a result.json."""
    scores = json.loads(path.read_text())["scores"]
    (score,) = [each for each in scores if (each["split"], each["metric"], each["group"]) == (split, "accuracy", None)]
    return score["errors"], score["n"]


def test_interrupted(cli, tmp_path, monkeypatch):
    """Ctrl-C: status 130, and the same command goes on."""
    interrupted_at(5, lambda: _interrupted(cli("harness", "train", *words("alibi"), *OUT)), monkeypatch)
    assert cli("harness", "train", *words("alibi"), *OUT).returncode == 0
    assert cli("harness", "train", *words("alibi"), "--output", "other").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


def _interrupted(result: Any) -> None:
    assert result.returncode == 130
    assert result.stderr.splitlines()[-1] == "harness: interrupted; the same command resumes this run"
    raise KeyboardInterrupt
