"""Trainings from start to end: resuming, seeds side by side, gradient accumulation, evaluations, folders."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from harness.errors import UserError
from harness.training.execution import Execution
from harness.training.train import train
from harness.training.trainer import RecipeTrainer
from tests.harness.training.training import (
    TINY,
    assert_close,
    contents,
    curve,
    interrupted_at,
    losses,
    seeds_of,
    tiny,
    weights,
)

pytestmark = pytest.mark.usefixtures("one_thread")
STACKABLE = [name for name in TINY if name != "dropout"]
QUIET = Execution(evaluations=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of a training with 3 evaluations, by the name of the tiny recipe."""
    folder = tmp_path_factory.mktemp("undisturbed")

    @cache
    def trained(name: str) -> Path:
        return train([tiny(name)], folder / name, Execution(evaluations=3))[0]

    return trained


def names(fast: Iterable[str], among: Iterable[str] = TINY) -> list[Any]:
    """Parameters of a test; all but a few are slow."""
    slow = pytest.mark.slow("harness/training", "harness/models/classes")
    return [name if name in fast else pytest.param(name, marks=slow) for name in among]


@pytest.mark.parametrize("name", names({"alibi", "gru", "query-count"}))
def test_folder_of_a_trained_model(name, undisturbed):
    folder = undisturbed(name)
    files = {"config.json", "model.safetensors", "curve.parquet"}
    if tiny(name).data.kind == "flipflop":
        files |= {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer("w0i1r0")["input_ids"] == tokenizer("w 0 i 1 r 0")["input_ids"] == [0, 3, 2, 4, 1, 3]
        assert len(tokenizer) == model.config.vocab_size == (15 if name == "symbols" else 5)
    else:
        AutoModelForSequenceClassification.from_pretrained(folder)
    assert set(contents(folder)) == files and not (folder / "checkpoints").exists()
    rows = curve(folder)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["learning_rate"] for row in rows] == [
        tiny(name).optimizer.learning_rate * tiny(name).schedule.factor(step) for step in range(1, 13)
    ]
    column = "accuracy" if "accuracy" in rows[0] else "val_errors"
    assert [row["step"] for row in rows if row[column] is not None] == [4, 8, 12]
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["schema"] == "fflm-recipe/1" and recipe["environment"]["torch"] == torch.__version__
    assert recipe["command"] in (folder / "README.md").read_text()


def test_tokens_of_many_symbols(undisturbed):
    tokenizer = AutoTokenizer.from_pretrained(undisturbed("symbols"))
    assert tokenizer("w 11 i 1 r 11")["input_ids"] == [0, 14, 2, 4, 1, 14]
    assert tokenizer("w11i1r11")["input_ids"] == [0, 14, 2, 4, 1, 14]


@pytest.mark.parametrize("name", names({"gru"}, ["dropout", "gru", "query-count", "symbols"]))
def test_resumed_training_ends_bit_for_bit_as_undisturbed(name, undisturbed, tmp_path, monkeypatch):
    def run():
        return train([tiny(name)], tmp_path / name, Execution(evaluations=3))

    for step in (1, 6, 6, 12):  # before the first checkpoint, twice at one step, and before the last step
        interrupted_at(step, run, monkeypatch)
    run()
    assert contents(tmp_path / name) == contents(undisturbed(name))
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / name).iterdir() if path.name != ".lock"}
    run()
    assert again == {path: path.stat().st_mtime_ns for path in again}, "a finished model is kept"


@pytest.mark.parametrize("damage", names({"no weights"}, ["no state", "half a state", "no weights", "empty"]))
def test_incomplete_checkpoint_is_not_used(damage, undisturbed, tmp_path, monkeypatch):
    """Killed while a checkpoint is written: the one before it is used."""

    def run():
        return train([tiny("dropout")], tmp_path, Execution(evaluations=3))

    interrupted_at(7, run, monkeypatch)
    latest = tmp_path / "checkpoints" / "checkpoint-6"
    state = latest / "trainer_state.json"
    if damage == "half a state":
        state.write_bytes(state.read_bytes()[:100])
    else:
        state.unlink()
    for path in [latest / "model.safetensors"] if damage == "no weights" else list(latest.iterdir()):
        if damage in {"no weights", "empty"}:
            path.unlink()
    run()
    assert contents(tmp_path) == contents(undisturbed("dropout"))


@pytest.mark.parametrize("killed_at", names({"model.safetensors"}, ["config.json", "README.md", "model.safetensors"]))
def test_killed_while_the_files_are_written(killed_at, undisturbed, tmp_path, monkeypatch):
    replace = Path.replace

    def stop(self, target):
        if self.name == killed_at:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        train([tiny("alibi")], tmp_path, Execution(evaluations=3))
    assert not (tmp_path / "model.safetensors").exists()
    train([tiny("alibi")], tmp_path, Execution(evaluations=3))
    assert contents(tmp_path) == contents(undisturbed("alibi")) and not (tmp_path / ".new").exists()


@pytest.mark.parametrize("name", names({"lstm", "query-count"}, STACKABLE))
def test_seeds_side_by_side_equal_runs_of_their_own(name, undisturbed, tmp_path):
    folders = train(seeds_of(tiny(name), 3), tmp_path / "seeds", Execution(evaluations=3))
    assert [folder.name for folder in folders] == ["seed-0", "seed-1", "seed-2"]
    train([tiny(name, data_seed=2, model_seed=2)], tmp_path / "own", Execution(evaluations=3))
    assert_close(folders[0], undisturbed(name))
    assert_close(folders[2], tmp_path / "own")
    assert set(contents(folders[2])) == set(contents(tmp_path / "own"))
    assert losses(folders[0]) != losses(folders[1])
    recipe = json.loads((folders[2] / "recipe.json").read_text())
    assert (recipe["data"]["seed"], recipe["model"]["seed"]) == (2, 2)
    auto = AutoModelForCausalLM if tiny(name).data.kind == "flipflop" else AutoModelForSequenceClassification
    auto.from_pretrained(folders[1])


@pytest.mark.parametrize("name", names({"lstm"}, ["sharpness", "generative", "lstm", "query-count"]))
@pytest.mark.parametrize("seeds", [1, 2])
def test_gradient_accumulation(name, seeds, undisturbed, tmp_path):
    """A batch in parts: the same loss, although parts have different numbers of reads."""
    folders = train(seeds_of(tiny(name), seeds), tmp_path, Execution(evaluations=3, gradient_accumulation=2))
    assert_close(folders[0], undisturbed(name))


@pytest.mark.parametrize("name", names({"lstm"}, ["dropout", "query-count", "lstm"]))
def test_evaluations_do_not_change_the_training(name, undisturbed, tmp_path):
    for evaluations in (0, 12):
        folder = tmp_path / str(evaluations)
        train([tiny(name)], folder, Execution(evaluations=evaluations))
        assert (folder / "model.safetensors").read_bytes() == (undisturbed(name) / "model.safetensors").read_bytes()
        assert losses(folder) == losses(undisturbed(name))


def test_training_changes_every_weight(undisturbed, tmp_path):
    from harness.training.build import build

    for name in ("learned", "gru"):
        start = dict(build(tiny(name)).model.named_parameters())
        trained = weights(undisturbed(name))
        assert set(trained) == set(start)
        for parameter, value in start.items():
            assert not torch.equal(value, trained[parameter]), parameter


def test_seeds_matter_one_by_one(tmp_path, undisturbed):
    """The data seed and the weight seed are apart: each alone changes the model."""
    variants = {"data": tiny("lstm", data_seed=1), "model": tiny("lstm", model_seed=1)}
    for name, recipe in variants.items():
        train([recipe], tmp_path / name, QUIET)
    every = [losses(tmp_path / "data"), losses(tmp_path / "model"), losses(undisturbed("lstm"))]
    assert len({tuple(each) for each in every}) == 3


def test_more_seeds_keep_the_finished_ones(tmp_path, monkeypatch):
    """Three seeds, stopped; two more are asked for: the three are finished, then the others are trained."""
    recipe = tiny("alibi")
    interrupted_at(5, lambda: train(seeds_of(recipe, 2), tmp_path, QUIET), monkeypatch)
    with pytest.raises(UserError, match="holds a stopped training of 2 seeds"):
        train(seeds_of(recipe.with_next_seeds(1), 2), tmp_path, QUIET)
    train(seeds_of(recipe, 2), tmp_path, QUIET)
    before = {seed: contents(tmp_path / f"seed-{seed}") for seed in range(2)}
    train(seeds_of(recipe, 4), tmp_path, QUIET)
    assert before == {seed: contents(tmp_path / f"seed-{seed}") for seed in range(2)}
    assert (tmp_path / "seed-3" / "model.safetensors").exists() and not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("name", names({"lstm"}, ["alibi", "lstm", "most-frequent"]))
def test_resumed_seeds_end_bit_for_bit_as_undisturbed(name, tmp_path, monkeypatch):
    recipes = seeds_of(tiny(name), 2)
    train(recipes, tmp_path / "undisturbed", QUIET)

    def run():
        return train(recipes, tmp_path / "killed", QUIET)

    interrupted_at(5, run, monkeypatch)
    replace = Path.replace

    def stop(self, target):
        if self.name == "config.json" and "seed-1" in str(self):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)  # one seed is written, the other is not
        run()
    run()
    for seed in ("seed-0", "seed-1"):
        assert contents(tmp_path / "killed" / seed) == contents(tmp_path / "undisturbed" / seed)


def test_loss_that_is_not_finite(tmp_path, monkeypatch):
    """One line that says what to change; a checkpoint does not keep such weights."""

    def broken(self, *given, **more):
        return compute(self, *given, **more) * (float("nan") if self.state.global_step == 4 else 1)

    compute = RecipeTrainer.compute_loss
    monkeypatch.setattr(RecipeTrainer, "compute_loss", broken)
    with pytest.raises(UserError, match=r"not finite at step 6: lower .* --set optimizer.learning_rate=0\.003"):
        train([tiny("alibi")], tmp_path, QUIET)
    assert not (tmp_path / "checkpoints" / "checkpoint-6").exists()


@pytest.mark.parametrize("seeds", [1, 2])
def test_learning_rate_that_is_far_too_high(seeds, tmp_path):
    recipe = tiny("gru", optimizer_learning_rate=1e6, optimizer_weight_decay=10.0)
    with pytest.raises(UserError, match="the loss is not finite"):
        train(seeds_of(recipe, seeds), tmp_path, QUIET)


@pytest.mark.parametrize("steps", [1, 2, 401])
def test_number_of_steps(steps, tmp_path):
    """The curve ends with the last step, also where log lines are further apart."""
    train([tiny("lstm", schedule_steps=steps, schedule_warmup_steps=0, model_width=4)], tmp_path, QUIET)
    rows = curve(tmp_path)
    assert rows[-1]["step"] == steps and rows[-1]["val_reads"] > 0
    assert len([row for row in rows if row["loss"] is not None]) == min(steps, 200)
