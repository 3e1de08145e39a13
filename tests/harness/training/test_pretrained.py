"""Fine-tuning: labels at the tokens of answers for tokenizers of every kind, context, training, evaluation, the Hub."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from fflm_data.flipflop import decode, sample
from harness.errors import UserError
from harness.training.build import build
from harness.training.execution import Execution
from harness.training.recipe import read_recipe
from harness.training.recipe_parts import PretrainedModel
from harness.training.recipes import get_recipe
from harness.training.train import train
from harness.training.validation import in_evaluation_mode, validation
from tests.conftest import refused
from tests.harness.training.training import contents, curve, interrupted_at, losses
from tests.hub import Hub
from tests.hub.client import pointed_at
from tests.support import tokenizers
from tests.support.models import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENIZERS = {
    "gpt2": tokenizers.gpt2, "llama3": tokenizers.llama3, "sentencepiece": lambda: tokenizers.metaspace("always"),
    "unigram": tokenizers.unigram, "llama2": tokenizers.llama2, "wordpiece": tokenizers.wordpiece,
    "bytes": tokenizers.single_bytes,
}  # fmt: skip
CHANGES = {
    "data.length": 64, "data.batch_size": 4, "schedule.steps": 12, "schedule.warmup_steps": 3,
    "optimizer.learning_rate": 0.003,
}  # fmt: skip


def saved(folder: Path, name: str, context: int = 512, kind: str = "gpt2") -> Path:
    tokenizer = TOKENIZERS[name]()
    save_tiny(folder, tokenizer.backend_tokenizer, context, kind)
    tokenizer.save_pretrained(folder)
    return folder


def fine_tuning(folder: Path | str, **changes):
    recipe = get_recipe("flipflop-small").with_model(PretrainedModel(str(folder)), ("model.source", str(folder)))
    return recipe.changed(CHANGES | {key.replace("_", ".", 1): value for key, value in changes.items()})


@pytest.mark.parametrize("name", TOKENIZERS)
def test_labels_are_at_the_answers(name, tmp_path):
    """By character offsets of the text with spaces, one read after another."""
    recipe = fine_tuning(saved(tmp_path, name))
    built = build(recipe)
    strings = decode(sample(recipe.data.distribution, 6, seed=0)).to_pylist()
    tokenizer = TOKENIZERS[name]()
    for index, string in enumerate(strings):
        row = built.rows[index]
        text = " ".join(string)
        encoding = tokenizer(text, return_offsets_mapping=True)
        length = int(row["attention_mask"].sum())
        ids = row["input_ids"][:length].tolist()
        # Tokens after the last answer, such as [SEP], are left out.
        assert ids == encoding["input_ids"][:length]
        expected = set()
        for place, (instruction, answer) in enumerate(zip(string[::2], string[1::2], strict=True)):
            if instruction == "r":
                at = 4 * place + 2
                assert text[at] == answer
                (token,) = [n for n, (a, b) in enumerate(encoding["offset_mapping"]) if a <= at < b]
                expected.add(token)
        found = {place for place, label in enumerate(row["labels"].tolist()) if label != -100}
        assert found == expected and all(row["labels"][place] == ids[place] for place in found)
        assert not row["attention_mask"][length:].any() and (row["labels"][length:] == -100).all()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("gpt2", "gpt2"), pytest.param("llama2", "llama", marks=pytest.mark.slow("harness/training"))],
)
def test_fine_tuning_lowers_the_loss_and_evaluates(name, kind, cli, tmp_path):
    folder = saved(tmp_path / "pretrained", name, kind=kind)
    recipe = fine_tuning(folder, data_length=32, schedule_steps=40)
    start = in_evaluation_mode(validation(recipe, build(recipe).rows, 200), build(recipe).model)
    trained = cli("harness", "train", *recipe.options, "--output", "tuned")
    assert trained.returncode == 0, trained.stderr
    tuned = losses(tmp_path / "tuned")
    assert sum(tuned[-5:]) < 0.8 * sum(tuned[:5])
    row = curve(tmp_path / "tuned")[-1]
    assert row["val_errors"] < start["val/errors"] and row["val_reads"] == start["val/reads"]
    assert read_recipe(tmp_path / "tuned" / "recipe.json").model == PretrainedModel(str(folder))
    command = trained.stdout.splitlines()[-1].partition("harness eval ")[2].split()
    result = cli("harness", "eval", *command, "--limit", "200", "--output", "runs")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("runs/**/result.json")
    for score in json.loads(path.read_text())["scores"]:
        if score["metric"] == "accuracy" and score["group"] is None:
            split = score["split"]
            assert (score["errors"], score["n"]) == (row[f"{split}_errors"], row[f"{split}_reads"])


@pytest.mark.slow("harness/training")
def test_resumed_fine_tuning_with_dropout(tmp_path, monkeypatch):
    """GPT-2 has dropout of its own."""
    folder = saved(tmp_path / "pretrained", "gpt2")
    recipe = fine_tuning(folder, schedule_steps=6)
    assert AutoModelForCausalLM.from_pretrained(folder).config.resid_pdrop > 0
    train([recipe], tmp_path / "undisturbed", Execution(evaluations=0))
    interrupted_at(4, lambda: train([recipe], tmp_path / "killed", Execution(evaluations=0)), monkeypatch)
    train([recipe], tmp_path / "killed", Execution(evaluations=0))
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["gpt2", "bytes"])
def test_strings_longer_than_the_context(name, tmp_path):
    folder = saved(tmp_path, name, context=100)
    with pytest.raises(UserError, match=r"do not fit the context .*\(100 tokens\)") as error:
        build(fine_tuning(folder, data_length=256))
    fitting = int(str(error.value).rpartition("=")[2])
    built = build(fine_tuning(folder, data_length=fitting))
    assert built.rows[0]["input_ids"].size <= 100
    with pytest.raises(UserError):
        build(fine_tuning(folder, data_length=fitting + 4))


@pytest.mark.parametrize("name", ["pairs", "spaces_after"])
def test_tokenizers_without_a_token_for_each_answer(name, cli, tmp_path):
    tokenizer = getattr(tokenizers, name)()
    save_tiny(tmp_path / "model", tokenizer.backend_tokenizer)
    line = refused(cli("harness", "train", *fine_tuning("model").options, "--output", "out"))
    assert "token" in line and not (tmp_path / "out" / "recipe.json").exists()


def test_seeds_are_refused(tmp_path):
    recipe = fine_tuning(saved(tmp_path / "model", "gpt2"))
    with pytest.raises(UserError, match="pretrained models are fine-tuned one at a time"):
        train([recipe, recipe.with_next_seeds(1)], tmp_path / "out")


def test_from_and_push(cli, tmp_path, monkeypatch):
    """A model fetched from the Hub at a pinned revision, pushed in one commit, and evaluated by its name."""
    hub = Hub(tmp_path / "hub")
    with pointed_at(hub, monkeypatch, tmp_path):
        from huggingface_hub import HfApi

        api = HfApi()
        saved(tmp_path / "pretrained", "gpt2")
        api.create_repo("org/base")
        info = api.upload_folder(repo_id="org/base", folder_path=tmp_path / "pretrained")
        words = ["flipflop-small", "--from", "org/base", "--output", "tuned"]
        words += [
            word for key, value in (CHANGES | {"schedule.steps": 4}).items() for word in ("--set", f"{key}={value}")
        ]
        result = cli("harness", "train", *words, "--push", "org/tuned")
        assert result.returncode == 0, result.stderr
        recipe = read_recipe(tmp_path / "tuned" / "recipe.json")
        assert recipe.model == PretrainedModel("org/base", info.oid)
        assert f"--revision {info.oid}" in (tmp_path / "tuned" / "README.md").read_text()
        commits = api.list_repo_commits("org/tuned")
        assert commits[0].title == "Model trained with fflm"
        assert len(commits) - len([each for each in commits if each.title == "initial commit"]) == 1
        files = set(api.list_repo_files("org/tuned"))
        assert {"README.md", "recipe.json", "curve.parquet", "model.safetensors", "tokenizer.json"} <= files
        assert not any(file.startswith(("checkpoints", ".lock")) for file in files)
        # The base model moves on; the same command keeps its revision and trains nothing again.
        api.upload_file(repo_id="org/base", path_in_repo="note.txt", path_or_fileobj=b"new")
        again = cli("harness", "train", *words)
        assert again.returncode == 0 and "step/s" not in again.stderr, again.stderr
        task = ["--task", "flipflop", "--set", "flipflop.length=64", "--limit", "5", "--output", "runs"]
        evaluated = cli("harness", "eval", "--model", "org/tuned", *task)
        assert evaluated.returncode == 0, evaluated.stderr
        line = refused(cli("harness", "train", *words, "--push", "no/such/name"))
        assert "is not a repository name" in line


def test_change_of_the_revision_is_another_recipe(tmp_path):
    model = PretrainedModel("org/base", "1" * 40)
    recipe = replace(fine_tuning("org/base"), model=model)
    assert recipe.digest() != replace(recipe, model=replace(model, revision="2" * 40)).digest()
    assert torch.get_num_threads() == 1
