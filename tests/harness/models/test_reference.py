"""The bundled models: files, the LSTM's architecture, and their glitches."""

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fflm_data import get_config
from fflm_data.flipflop import FlipFlop, sample
from harness.errors import UserError
from harness.models import reference
from harness.models.classes import register
from harness.models.classes.recurrent import LSTMForCausalLM
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.training_statement import training_statement
from harness.training.recipe_parts import ArchitectureModel
from harness.training.recipes import get_recipe

register()
FOLDER = reference.MODELS[reference.DEFAULT_MODEL]


def test_loads_through_the_auto_classes() -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    assert isinstance(model, LSTMForCausalLM)
    assert sum(parameter.numel() for parameter in model.parameters()) == 133_381
    assert len(tokenizer) == 5
    assert tokenizer("w 0 i 1 r 0").input_ids == tokenizer("w0i1r0").input_ids == [0, 3, 2, 4, 1, 3]
    assert tokenizer.decode([0, 3]) == "w 0"
    with pytest.raises(Exception, match="UNK"):
        tokenizer("x")


@pytest.mark.parametrize("name", reference.MODELS)
def test_size_and_card(name: str) -> None:
    assert "harness train flipflop-" in (reference.MODELS[name] / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in reference.MODELS[name].glob("*.safetensors")) < 600 * 1024


MAMBA2 = {"model.architecture": "mamba2", "model.chunk_size": 64, "model.head_dim": 16, "model.hidden_size": 64,
          "model.n_groups": 1, "model.num_heads": 8, "model.num_hidden_layers": 2, "model.state_size": 32}  # fmt: skip


# The LSTM is older than the recipes.
@pytest.mark.parametrize(
    ("name", "recipe", "changes"),
    [
        ("fflm/transformer", "flipflop-small", {}),
        ("fflm/transformer-mixture", "flipflop-mixture", {"schedule.steps": 9000}),
        ("fflm/mamba2", "flipflop-small", MAMBA2),
    ],
)
def test_recipe_trains_the_model_again(name: str, recipe: str, changes: dict[str, Any]) -> None:
    folder, changed = reference.MODELS[name], get_recipe(recipe)
    if (architecture := changes.get("model.architecture")) is not None:
        changed = changed.with_model(ArchitectureModel(architecture), ("model.architecture", architecture))
    changed = changed.changed({key: value for key, value in changes.items() if key != "model.architecture"})
    statement = training_statement(folder / "recipe.json")
    assert statement is not None
    assert (statement["recipe"], statement["digest"]) == (recipe, changed.digest())
    assert (statement["data_seed"], statement["weight_seed"], statement["changes"]) == (0, 0, changes)
    steps = pq.read_table(folder / "curve.parquet")["step"].to_pylist()
    assert steps[-1] == changed.schedule.steps
    assert json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["command"] in (
        folder / "README.md"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fflm/transfomer", "; did you mean 'fflm/transformer'?"),
        ("fflm/mixture", "; did you mean 'fflm/transformer-mixture'?"),
        ("lstm", "; did you mean 'fflm/lstm'?"),
        ("gpt3", ""),
        ("somebody/transformer", ""),
    ],
)
def test_misspelled_name(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as failure:
        resolve(ModelRequest(name))
    assert ("did you mean" in str(failure.value)) is bool(hint) and str(failure.value).endswith(hint)


def test_generates_the_bit() -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    for text, bit in [("w 1 i 0 i 0 r", 1), ("w 1 i 0 w 0 i 1 r", 0)]:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert model.generate(ids, max_new_tokens=1, do_sample=False)[0, -1].item() == 3 + bit


def test_left_padding_is_refused() -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    ids = torch.tensor([[0, 3, 1, 3]])
    with pytest.raises(ValueError, match="pad on the right"):
        model(ids, attention_mask=torch.tensor([[0, 1, 1, 1]]))
    padded = model(ids, attention_mask=torch.tensor([[1, 1, 0, 0]])).logits[:, :2]
    assert torch.allclose(padded, model(ids[:, :2]).logits)


@pytest.mark.slow("harness/models/reference", "harness/engine")
@pytest.mark.parametrize(
    ("name", "split", "rows", "low", "high"),
    [
        ("fflm/lstm", "val", 1000, 0, 0),
        ("fflm/lstm", "val_sparse", 2000, 0, 0),
        ("fflm/lstm", "val_dense", 1000, 0, 0),
        ("fflm/transformer", "val", 1000, 0, 0),
        ("fflm/transformer", "val_sparse", 500, 0.25, 0.31),
        ("fflm/transformer", "val_dense", 100, 0.008, 0.016),
        ("fflm/transformer-mixture", "val", 500, 0, 0.0005),
        ("fflm/transformer-mixture", "val_sparse", 500, 0.0005, 0.008),
        ("fflm/transformer-mixture", "val_dense", 100, 0, 0.001),
        ("fflm/mamba2", "val", 200, 0, 0.0005),
        ("fflm/mamba2", "val_sparse", 200, 0.02, 0.07),
        ("fflm/mamba2", "val_dense", 50, 0, 0.0005),
    ],
)
def test_glitch_rates(name: str, split: str, rows: int, low: float, high: float) -> None:
    """Checked on the strings: the symbol after each r, by a plain forward pass."""
    model = AutoModelForCausalLM.from_pretrained(reference.MODELS[name]).eval()
    config = get_config()
    assert isinstance(config, FlipFlop)
    ids = sample(config.distribution(split), rows, split=split).astype(np.int64)
    wrong = count = 0
    for start in range(0, rows, 64):
        batch = torch.from_numpy(ids[start : start + 64])
        with torch.inference_mode():
            predicted = model(batch).logits.argmax(-1)
        read = (batch[:, :-1] == 1) & (torch.arange(511) % 2 == 0)
        wrong += int((predicted[:, :-1] != batch[:, 1:])[read].sum())
        count += int(read.sum())
    assert low <= wrong / count <= high
    assert count > rows
