"""Recipes as `harness train` writes them into the folder of a model."""

import json
from pathlib import Path
from typing import Any

RECIPE: dict[str, Any] = {
    "schema": "fflm-recipe/1",
    "name": "flipflop-small",
    "changes": {"model.positions": "rope"},
    "data": {"p_ignore": 0.8, "length": 512, "seed": 3},
    "model": {"layers": 2, "width": 64, "positions": "rope", "seed": 5},
    "optimizer": {"name": "adamw", "learning_rate": 0.001},
    "schedule": {"steps": 2000},
    "intervention": {},
    "command": "harness train flipflop-small --set model.positions=rope --output small",
    "environment": {"fflm": "0.6.0", "device": "cpu"},
}
# What an evaluation records of it.
STATEMENT: dict[str, Any] = {
    "recipe": "flipflop-small",
    "changes": {"model.positions": "rope"},
    "digest": "f5a4fd852bf5",
    "data_seed": 3,
    "weight_seed": 5,
    "command": "harness train flipflop-small --set model.positions=rope --output small",
}


def write_recipe(folder: Path, **changes: Any) -> Path:
    """Writes recipe.json into a folder and returns its path. changes: other top-level fields; None removes one."""
    recipe = {name: value for name, value in (RECIPE | changes).items() if value is not None}
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path
