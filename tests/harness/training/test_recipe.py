"""Recipes as data: JSON, digest, command-line options, changes, errors."""

import json
import shlex
from dataclasses import replace

import pytest

from fflm_data.config import ParameterError
from harness.cli import parser
from harness.commands import train as command
from harness.models.classes import positions, sharpness
from harness.training import recipe_parts
from harness.training.recipe import Recipe, read_recipe, recipe_from_json
from harness.training.recipe_parts import ArchitectureModel, PretrainedModel
from harness.training.recipe_values import parse_change
from harness.training.recipes import all_recipes, get_recipe

NAMES = list(all_recipes())


def parsed(words: list[str]) -> Recipe:
    """The recipe of command-line arguments."""
    recipe: Recipe = command._recipe(parser().parse_args(["train", *words]))
    return recipe


VARIANTS = {
    **{name: [name] for name in NAMES},
    **{f"{name} seeds": [name, "--set", "data.seed=3", "--set", "model.seed=4"] for name in NAMES},
    "positions": ["flipflop-small", "--set", "model.positions=rope", "--set", "model.layers=3"],
    "mixture": ["flipflop-small", "--set", "data.p_ignore=0.8,0.1", "--set", "optimizer.betas=0.9,0.95"],
    "numbers": ["flipflop-lstm", "--set", "optimizer.learning_rate=.001", "--set", "schedule.zero_at=none"],
    "sharp": [
        "flipflop-transformer", "--set", "intervention.sharpness=entropy", "--set", "intervention.coefficient=0.1",
        "--set", "intervention.annealing=oscillating", "--set", "data.mode=generative", "--set", "data.symbols=12",
    ],
    "gru": ["flipflop-lstm", "--set", "model.cell=gru", "--set", "model.width=32"],
    "counting": ["most-frequent", "--set", "data.vocabulary=64", "--set", "model.width=8"],
    "architecture": ["flipflop-small", "--architecture", "mamba", "--set", "model.hidden_size=64"],
    "settings": [
        "flipflop-small", "--architecture", "llama", "--set", "model.attention_bias=true", "--set",
        "model.hidden_act=relu", "--set", 'model.rope_parameters={"rope_type": "default", "rope_theta": 500.0}',
        "--set", 'model.layer_types=["a,b","c"]', "--set", 'model.text="12"', "--set", "model.missing=null",
        "--set", "model.empty=[]", "--set", "model.seed=2",
    ],
    "pretrained": ["flipflop-small", "--from", "org/model", "--set", "schedule.steps=90"],
    "revision": ["flipflop-small", "--from", "org/model", "--revision", "v1", "--set", "model.seed=1"],
}  # fmt: skip


@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS.keys())
def test_json_and_options_give_the_recipe_back(words, tmp_path):
    recipe = parsed(words)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe.to_json()))
    again = read_recipe(path)
    assert again == recipe and again.digest() == recipe.digest() and again.options == recipe.options
    for same in (parsed(recipe.options), parsed([str(path)]), parsed(shlex.split(shlex.join(recipe.options)))):
        assert (same.parts(), same.changes, same.digest()) == (recipe.parts(), recipe.changes, recipe.digest())
    assert recipe_from_json(recipe.to_json() | {"command": "harness train x", "environment": {}}) == recipe


def fields_of(recipe: Recipe) -> list[tuple[str, object]]:
    return [
        (f"{part}.{key}", value)
        for part, values in recipe.parts().items()
        for key, value in values.items()
        if key not in {"kind", "seed"}
    ]


def test_names_are_those_of_the_model_classes():
    """The recipe lists them without importing torch."""
    assert recipe_parts.POSITIONS == positions.POSITIONS
    assert ("none", *sharpness.SHARPNESS) == recipe_parts.SHARPNESS


# Another valid value for each field of the recipes.
OTHER = {
    "data.p_ignore": "0.5", "data.length": "64", "data.symbols": "4", "data.mode": "generative", "data.batch_size": "8",
    "data.task": {"query-count": "most-frequent", "most-frequent": "query-count"}, "data.vocabulary": "5",
    "data.expected_count": "3", "model.layers": "3", "model.width": "48", "model.heads": "2", "model.cell": "gru",
    "model.positions": "none", "model.max_positions": "4096", "model.init_std": "0.5", "optimizer.learning_rate": "0.5",
    "optimizer.betas": "0.5,0.6", "optimizer.weight_decay": "0.3", "schedule.steps": "777",
    "schedule.warmup_steps": "7", "schedule.zero_at": "50000", "intervention.attention_dropout": "0.1",
    "intervention.mlp_dropout": "0.1", "intervention.embedding_dropout": "0.1", "intervention.annealing": "linear",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_digest_depends_on_everything_but_the_seeds(name):
    recipe = get_recipe(name)
    assert len(recipe.digest()) == 12 and int(recipe.digest(), 16) >= 0
    assert recipe.with_next_seeds(5).digest() == recipe.digest() == replace(recipe, name="x", title="y").digest()
    seen = {recipe.digest()}
    for key, value in fields_of(recipe):
        if key in {"intervention.sharpness", "intervention.coefficient"}:
            continue  # only together, below
        if key.startswith("intervention.") and name == "flipflop-lstm":
            continue
        other = OTHER[key][value] if isinstance(OTHER[key], dict) else OTHER[key]
        changed = recipe.changed({key: other})
        assert changed.changes and changed.digest() not in seen, key
        seen.add(changed.digest())
    if name != "flipflop-lstm":
        for kind in ("entropy", "l2", "linf"):
            for coefficient in ("0.1", "1"):
                sharp = {"intervention.sharpness": kind, "intervention.coefficient": coefficient}
                digest = recipe.changed(sharp).digest()
                assert digest not in seen
                seen.add(digest)


def test_digests_of_the_recipes_differ():
    assert len({recipe.digest() for recipe in all_recipes().values()}) == len(NAMES)
    lstm = get_recipe("flipflop-lstm")
    models = [
        ArchitectureModel("llama"), ArchitectureModel("gpt2"), ArchitectureModel("llama", (("hidden_size", 8),)),
        PretrainedModel("a"), PretrainedModel("b"), PretrainedModel("a", "1" * 40),
    ]  # fmt: skip
    assert len({replace(lstm, model=model).digest() for model in models}) == len(models)


def test_changes_are_what_differs_from_the_named_recipe():
    small = get_recipe("flipflop-small")
    assert small.changed({"model.layers": "2", "model.seed": "7"}).changes == ()
    changed = small.changed({"model.layers": "3", "data.seed": "1"}).changed({"data.length": "64"})
    assert changed.changes == (("data.length", 64), ("model.layers", 3))
    llama = parsed(["flipflop-small", "--architecture", "llama", "--set", "model.hidden_size=32"])
    assert llama.changes == (("model.architecture", "llama"), ("model.hidden_size", 32))


def test_another_architecture_replaces_changes_of_the_model(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(parsed(VARIANTS["positions"] + ["--set", "data.length=64"]).to_json()))
    recipe = parsed([str(path), "--architecture", "gpt2"])
    assert recipe.changes == (("data.length", 64), ("model.architecture", "gpt2"))
    assert parsed(recipe.options).parts() == recipe.parts()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.01", 0.01), (".01", 0.01), ("1e-2", 0.01), ("+1e-2", 0.01), ("1", 1.0), ("1.e-2", 0.01)],
)
def test_numbers(text, value):
    learning_rate = get_recipe("flipflop-small").changed(dict([parse_change(f"optimizer.learning_rate={text}")]))
    assert learning_rate.optimizer.learning_rate == value and type(learning_rate.optimizer.learning_rate) is float


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("flipflop-small", "model.layer=4", "no 'model.layer' in recipe flipflop-small.*model.layers"),
        ("flipflop-small", "layers=4", "no 'layers'.*model.layers"),
        ("flipflop-small", "optimiser.learning_rate=1", "no 'optimiser.learning_rate'.*optimizer.learning_rate"),
        ("flipflop-small", "model.kind=lstm", "no 'model.kind'"),
        ("flipflop-small", "data.distribution=1", "no 'data.distribution'"),
        ("flipflop-small", "name=x", "no 'name'"),
        ("flipflop-lstm", "model.heads=2", "no 'model.heads'"),
        ("query-count", "data.length=2", "no 'data.length'"),
        ("flipflop-small", "model.width=65", "model.width=65.*multiple of model.heads=4"),
        ("flipflop-small", "model.width=12 model.positions=rope", "model.width=12.*multiple of 8"),
        ("flipflop-small", "model.width=5 model.heads=1 model.positions=sinusoidal", "model.width=5.*multiple of 2"),
        ("flipflop-small", "model.positions=rotary", "model.positions='rotary'"),
        ("flipflop-small", "model.positions=alibbi", "did you mean 'alibi'"),
        ("flipflop-small", "model.layers=0", "model.layers=0"),
        ("flipflop-small", "model.layers=2.5", "model.layers=2.5.*an integer"),
        ("flipflop-small", "model.layers=two", "model.layers='two'.*an integer"),
        ("flipflop-small", "model.layers=true", "model.layers=True.*an integer"),
        ("flipflop-small", "model.layers=", "model.layers=''.*an integer"),
        ("flipflop-small", "model.seed=-1", "model.seed=-1"),
        ("flipflop-lstm", f"model.seed={2**63}", "model.seed="),
        ("flipflop-lstm", "model.cell=ltsm", "did you mean 'lstm'"),
        ("flipflop-small", "data.seed=-1", "data.seed=-1"),
        ("flipflop-transformer", "data.length=514", "data.length=514.*at most model.max_positions=512"),
        ("flipflop-small", "data.length=63", "data.length=63.*even"),
        ("flipflop-small", "data.length=2", "data.length=2"),
        ("flipflop-small", "data.p_ignore=1.5", "data.p_ignore=1.5"),
        ("flipflop-small", "data.p_ignore=0.8,x", "data.p_ignore"),
        ("flipflop-small", "data.p_ignore=", "data.p_ignore"),
        ("flipflop-small", "data.symbols=1", "data.symbols=1"),
        ("flipflop-small", "data.mode=generativ", "did you mean 'generative'"),
        ("flipflop-small", "data.batch_size=0", "data.batch_size=0"),
        ("query-count", "data.vocabulary=1", "data.vocabulary=1"),
        ("query-count", "data.vocabulary=1000", "data.vocabulary=1000.*at most 204"),
        ("query-count", "data.task=most-frequnt", "did you mean 'most-frequent'"),
        ("flipflop-small", "optimizer.learning_rate=0", "optimizer.learning_rate=0"),
        ("flipflop-small", "optimizer.learning_rate=nan", "optimizer.learning_rate"),
        ("flipflop-small", "optimizer.learning_rate=Infinity", "optimizer.learning_rate"),
        ("flipflop-small", "optimizer.weight_decay=-0.1", "optimizer.weight_decay=-0.1"),
        ("flipflop-small", "optimizer.betas=0.9", "optimizer.betas"),
        ("flipflop-small", "optimizer.betas=0.9,1", "optimizer.betas"),
        ("flipflop-small", "schedule.steps=0", "schedule.steps=0"),
        ("flipflop-small", "schedule.steps=20", "schedule.warmup_steps=50.*from 0 to 20"),
        ("flipflop-lstm", "schedule.steps=20000", "schedule.zero_at=10001"),
        ("flipflop-small", "intervention.mlp_dropout=1", "intervention.mlp_dropout=1"),
        ("flipflop-small", "intervention.sharpness=entropy", "intervention.coefficient"),
        ("flipflop-small", "intervention.coefficient=1", "intervention.coefficient"),
        ("flipflop-small", "intervention.sharpness=entrpy", "did you mean 'entropy'"),
        ("flipflop-small", "intervention.annealing=linaer", "did you mean 'linear'"),
        ("flipflop-lstm", "intervention.mlp_dropout=0.1", "intervention=.*mlp_dropout.*except for a transformer"),
    ],
)
def test_bad_changes(recipe, changes, message):
    with pytest.raises(ParameterError, match=message) as error:
        get_recipe(recipe).changed(dict(map(parse_change, changes.split())))
    assert "\n" not in str(error.value)
