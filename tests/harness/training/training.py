"""Tiny trainings for tests."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from harness.training.recipe import Recipe
from harness.training.recipes import get_recipe
from harness.training.trainer import RecipeTrainer

FLIPFLOP = {
    "data.length": 64, "data.batch_size": 4, "schedule.steps": 12, "schedule.warmup_steps": 3,
    "optimizer.learning_rate": 0.01,
}  # fmt: skip
TRANSFORMER = FLIPFLOP | {"model.layers": 2, "model.width": 16, "model.heads": 2}
COUNTING = {
    "data.vocabulary": 4, "data.batch_size": 4, "schedule.steps": 12, "schedule.warmup_steps": 3, "model.width": 8,
    "model.max_positions": 64,
}  # fmt: skip
# The shapes of models and losses, by name: recipe and changes.
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        positions: ("flipflop-small", TRANSFORMER | {"model.positions": positions})
        for positions in ("learned", "sinusoidal", "rope", "alibi", "none")
    },
    "lstm": ("flipflop-lstm", FLIPFLOP | {"model.width": 16}),
    "gru": ("flipflop-lstm", FLIPFLOP | {"model.width": 16, "model.cell": "gru", "model.layers": 2}),
    "query-count": ("query-count", COUNTING),
    "most-frequent": ("most-frequent", COUNTING | {"model.layers": 2}),
    "mixture": ("flipflop-mixture", TRANSFORMER),
    "generative": ("flipflop-small", TRANSFORMER | {"data.mode": "generative"}),
    "symbols": ("flipflop-small", TRANSFORMER | {"data.symbols": 12}),
    "sharpness": (
        "flipflop-transformer",
        TRANSFORMER
        | {"intervention.sharpness": "entropy", "intervention.coefficient": 0.3, "intervention.annealing": "linear"},
    ),
    "dropout": (
        "flipflop-small",
        TRANSFORMER
        | {f"intervention.{part}_dropout": 0.2 for part in ("attention", "mlp", "embedding")}
        | {"intervention.sharpness": "linf", "intervention.coefficient": 1.0, "intervention.annealing": "oscillating"},
    ),
}


def tiny(name: str, **changes: Any) -> Recipe:
    """A tiny recipe. changes: with underscores in place of the first dot, such as data_seed=3."""
    recipe, values = TINY[name]
    return get_recipe(recipe).changed(values | {key.replace("_", ".", 1): value for key, value in changes.items()})


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a trained model, except those that name its folder."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {name: data for name, data in files.items() if name not in {".lock", "recipe.json", "README.md"}}


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def curve(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "curve.parquet").to_pylist()


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in curve(folder)]


def assert_close(folder: Path, other: Path) -> None:
    """The weights and curves of two trained models agree within float tolerance."""

    first, second = (_determined(weights(each), rotary=_is_rotary(each)) for each in (folder, other))
    torch.testing.assert_close(first, second, rtol=2e-3, atol=2e-4)
    assert losses(folder) == pytest.approx(losses(other), rel=1e-4)
    for row, same in zip(curve(folder), curve(other), strict=True):
        assert row.keys() == same.keys()
        for name in row:
            if name.endswith("reads") or name in {"step", "learning_rate"}:
                assert row[name] == same[name], name


def _is_rotary(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return bool(config.get("positions") == "rope")


def _determined(tensors: dict[str, Any], rotary: bool) -> dict[str, Any]:
    """The weights without the biases of keys, unless these are rotated: they add the same to all scores of a query, so
    that their gradient is rounding, which Adam enlarges to a step of full length."""
    return {
        name: torch.cat([(parts := tensor.chunk(3))[0], parts[2]])
        if name.endswith("query_key_value.bias") and not rotary
        else tensor
        for name, tensor in tensors.items()
    }


def interrupted_at(step: int, run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a training until its loss is to be computed at a step."""
    compute = RecipeTrainer.compute_loss

    def interrupt(self: RecipeTrainer, *given: Any, **more: Any) -> Any:
        if self.state.global_step + 1 == step:
            raise KeyboardInterrupt
        return compute(self, *given, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RecipeTrainer, "compute_loss", interrupt)
        run()


def seeds_of(recipe: Recipe, number: int) -> Sequence[Recipe]:
    return [recipe.with_next_seeds(seed) for seed in range(number)]
