"""The folder of a trained model: what it holds before, during and after its training.

recipe.json is written first, the weights last. Checkpoints are in `checkpoints` until the training has finished.
"""

import json
import shlex
import shutil
from collections.abc import Set
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.models.training_statement import RECIPE_FILE
from harness.runs.environment import environment
from harness.runs.files import write_json
from harness.training.build import write_tokenizer
from harness.training.card import card
from harness.training.curve import CURVE_FILE
from harness.training.data import Built
from harness.training.execution import Execution
from harness.training.recipe import Recipe, read_recipe
from harness.training.recipe_parts import CountingData

CARD_FILE = "README.md"
WEIGHTS = "model.safetensors"
CHECKPOINTS = "checkpoints"
MEMBERS_FILE = "members.json"
LOGS = "runs"  # of TensorBoard; the Hub shows them
# What a folder may hold before its training has started.
OWN_FILES = {CHECKPOINTS, LOGS, ".lock"}


def members(checkpoints: Path) -> list[str]:
    """The names of the folders of a training of several seeds that was stopped; none if there was no such training."""
    try:
        return list(json.loads((checkpoints / MEMBERS_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a finished model."""
    return (folder / WEIGHTS).is_file() and (folder / RECIPE_FILE).is_file()


def require_same(folder: Path, recipe: Recipe, execution: Execution) -> None:
    """Raises UserError if a folder holds anything but a training of this recipe."""
    path = folder / RECIPE_FILE
    if not path.exists():
        require_own_files(folder, OWN_FILES, f"is not empty and has no {RECIPE_FILE}")
        return
    other = read_recipe(path)
    if not other.is_same(recipe):
        what = f"({recipe.difference_of(other)})" if other.name == recipe.name else other.name
        raise UserError(f"{folder} holds a model of another recipe {what}. Use another --output.")
    command = shlex.split(str(json.loads(path.read_text(encoding="utf-8")).get("command", "")))
    used = [flag for flag in Execution.all_options() if flag in command]
    if used != execution.options:
        words = f"with {' '.join(used)}" if used else f"without {' '.join(execution.options)}"
        raise UserError(f"{folder} holds a model trained {words}. Use another --output.")


def require_own_files(folder: Path, own: Set[str], problem: str) -> None:
    """Raises UserError if a folder holds other files."""
    if foreign := sorted({each.name for each in folder.iterdir()} - own) if folder.is_dir() else []:
        raise UserError(f"{folder} {problem} ({foreign[0]}). Use another --output.")


def write_recipe(folder: Path, recipe: Recipe, execution: Execution, device: Any) -> None:
    """Writes recipe.json into a folder without one."""
    path = folder / RECIPE_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = ["harness", "train", *recipe.options, *execution.options, "--output", folder.name]
        write_json(path, recipe.to_json() | {"command": shlex.join(words), "environment": environment(device)})


def last_checkpoint(checkpoints: Path) -> str | None:
    """The latest complete checkpoint; trainer_state.json is the last file of each."""
    found = {}
    for folder in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # killed while it was written
            shutil.rmtree(folder, ignore_errors=True)
            continue
        found[int(folder.name.rpartition("-")[2])] = str(folder)
    return found[max(found)] if found else None


def write_model(model: Any, built: Built, recipe: Recipe, folder: Path, curve: Any) -> None:
    """Writes the files of a trained model into its folder, the weights last."""
    import pyarrow.parquet as pq

    new = folder / ".new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    model.eval().save_pretrained(new)
    if built.tokenizer is not None:
        built.tokenizer.save_pretrained(new)
    elif not isinstance(recipe.data, CountingData):
        write_tokenizer(new, recipe.data.symbols)
    pq.write_table(curve, new / CURVE_FILE)
    content = json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    (new / CARD_FILE).write_text(card(recipe, content, curve, model), encoding="utf-8", newline="\n")
    for path in sorted(new.iterdir(), key=lambda path: path.name == WEIGHTS):
        path.replace(folder / path.name)
    new.rmdir()
