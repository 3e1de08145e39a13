"""Causal LMs of transformers from scratch, by the name of their architecture."""

import pytest

from harness.training.build import build
from harness.training.recipe_parts import ArchitectureModel
from harness.training.recipes import get_recipe
from tests.harness.training.training import FLIPFLOP

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW = pytest.mark.slow("harness/training")
# Small settings of architectures whose defaults are large in more than the usual sizes.
SETTINGS = {
    "gpt_neo": {"hidden_size": 16, "attention_types": ((("global",), 2),)},
    "mamba": {"hidden_size": 16, "state_size": 4},
    "mamba2": {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "n_groups": 1, "state_size": 4},
    "rwkv": {"hidden_size": 16, "attention_hidden_size": 16},
    "recurrent_gemma": {"hidden_size": 16, "lru_width": 16, "num_attention_heads": 2, "num_hidden_layers": 3},
}
NAMES = ["llama", "gpt2", "mamba"]
MORE = ["bloom", "rwkv", "gpt_neox", "recurrent_gemma", "mamba2", "qwen3", "gemma3_text", "opt", "phi", "gpt_neo"]


def recipe_of(name: str):
    recipe = get_recipe("flipflop-small").with_model(ArchitectureModel(name), ("model.architecture", name))
    settings = {f"model.{key}": value for key, value in SETTINGS.get(name, {"hidden_size": 16}).items()}
    return recipe.changed(FLIPFLOP | {"schedule.steps": 3, "schedule.warmup_steps": 1} | settings)


@pytest.mark.parametrize("name", NAMES + [pytest.param(name, marks=SLOW) for name in MORE])
def test_trains_and_evaluates(name, cli, tmp_path):
    recipe = recipe_of(name)
    trained = cli("harness", "train", *recipe.options, "--output", "out")
    assert trained.returncode == 0, trained.stderr
    command = trained.stdout.splitlines()[-1].partition("harness eval ")[2].split()
    result = cli("harness", "eval", *command, "--limit", "3", "--output", "runs")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [64, 4096])
def test_defaults(name, length):
    """Five tokens, none of them special; small; the context holds the strings."""
    recipe = get_recipe("flipflop-small").with_model(ArchitectureModel(name), ("model.architecture", name))
    model = build(recipe.changed({"data.length": length})).model
    config = model.config
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (5, 64, 2)
    assert config.pad_token_id is config.bos_token_id is config.eos_token_id is None
    embedding = model.get_input_embeddings()
    assert embedding.num_embeddings == 5 and embedding.padding_idx is None and embedding.weight.abs().min() > 0
    assert getattr(config, "max_position_embeddings", length) >= length
    assert sum(parameter.numel() for parameter in model.parameters()) < 600_000
    assert model.training


def test_weight_seed():
    first, same, other = (
        build(recipe_of("llama").changed({"model.seed": seed})).model.lm_head.weight for seed in (1, 1, 2)
    )
    assert first.equal(same) and not first.equal(other)
