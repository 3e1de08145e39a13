"""Trains the models of a recipe: folders, checkpoints, resuming, and what a finished folder holds.

A folder of a trained model has recipe.json (written first), the files of the model and its tokenizer, curve.parquet,
README.md; model.safetensors is written last. Checkpoints are in `checkpoints` until the training has finished.
"""

import json
import shlex
import shutil
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.evaluation.distributed import World
from harness.models.classes import register
from harness.runs.environment import environment
from harness.runs.files import only_writer, require_writable, write_json
from harness.training.allocator import keep_freed_memory
from harness.training.build import build, write_tokenizer
from harness.training.card import card
from harness.training.curve import CURVE_FILE, curve_of
from harness.training.data import Built, StackedRows, TrainingRows
from harness.training.recipe import Recipe, recipe_from_json
from harness.training.recipe_parts import CountingData, PretrainedModel
from harness.training.stack import Stack
from harness.training.trainer import Execution, RecipeTrainer, training_arguments
from harness.training.validation import Numbers, in_evaluation_mode, validation

RECIPE_FILE, CARD_FILE = "recipe.json", "README.md"
WEIGHTS = "model.safetensors"
CHECKPOINTS = "checkpoints"
# What a folder may hold before its training has started.
OWN_FILES = {RECIPE_FILE, CHECKPOINTS, ".lock"}
VALIDATION_ROWS = 200


def train(recipes: Sequence[Recipe], output: Path, execution: Execution | None = None) -> list[Path]:
    """Trains recipes that differ in their seeds only, side by side if there are several; resumes a stopped training.

    output: folder of the model, or of one folder per seed. Returns the folders of the models. Raises UserError if the
    output holds anything else.
    """
    register()
    execution = execution or Execution()
    keep_freed_memory()
    world = World()
    folders = [output] if len(recipes) == 1 else [output / f"seed-{recipe.model.seed}" for recipe in recipes]
    try:
        with _only_writer(output, world):
            if world.is_first:
                for folder, recipe in zip(folders, recipes, strict=True):
                    _prepare(folder, recipe, execution, world.device)
            world.wait_for_all()
            if not all(is_trained(folder) for folder in folders):
                _train(recipes, folders, output / CHECKPOINTS, execution, world)
    finally:
        world.leave()
    return folders


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a finished model."""
    return (folder / WEIGHTS).is_file() and (folder / RECIPE_FILE).is_file()


def read_recipe(path: Path) -> Recipe:
    """The recipe of a recipe.json. Raises UserError if it is none."""
    try:
        return recipe_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is not a recipe ({reason})") from None


@contextmanager
def _only_writer(output: Path, world: World) -> Any:
    if world.is_first:
        require_writable(output)
    with only_writer(output) if world.is_first else nullcontext():
        yield


def _prepare(folder: Path, recipe: Recipe, execution: Execution, device: Any) -> None:
    """Writes recipe.json into a new folder, or checks that of a training that is resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECIPE_FILE
    if path.exists():
        other = read_recipe(path)
        if (other.parts(), other.name) != (recipe.parts(), recipe.name):
            raise UserError(f"{folder} holds a model of {_difference(other, recipe)}. Use another --output.")
        return
    foreign = sorted(each.name for each in folder.iterdir() if each.name not in OWN_FILES)
    if foreign:
        raise UserError(f"{folder} is not empty and has no {RECIPE_FILE} ({foreign[0]}). Use another --output.")
    words = ["harness", "train", *recipe.options, *execution.options, "--output", folder.name]
    write_json(path, recipe.to_json() | {"command": shlex.join(words), "environment": environment(device)})


def _difference(other: Recipe, recipe: Recipe) -> str:
    """How the recipe of a folder differs, in words."""
    if other.name != recipe.name:
        return f"recipe {other.name}"
    for part, values in other.parts().items():
        for key, value in values.items():
            if recipe.parts()[part].get(key) != value:
                return f"another recipe ({part}.{key}={value})"
    return "another recipe"


def _train(
    recipes: Sequence[Recipe], folders: Sequence[Path], checkpoints: Path, execution: Execution, world: World
) -> None:
    built = [build(recipe) for recipe in recipes]
    recipe, one = recipes[0], len(recipes) == 1
    rows: TrainingRows | StackedRows
    if one:
        model, rows = built[0].model, built[0].rows
    else:
        _require_stackable(recipe, world)

        model, rows = Stack([each.model for each in built]), StackedRows([each.rows for each in built])
    arguments = training_arguments(recipe, checkpoints, execution, world.size, world.device.type == "cpu")
    evaluate = validation(recipe, built[0].rows, VALIDATION_ROWS)

    def evaluate_all() -> Numbers:
        if one:
            return in_evaluation_mode(evaluate, model)
        numbers: Numbers = {}
        for number, each in enumerate(built):
            member = model.member(number, each.model.to(trainer.args.device))
            numbers |= {f"{number}/{name}": value for name, value in in_evaluation_mode(evaluate, member).items()}
        return numbers

    trainer = RecipeTrainer(
        recipe, model, rows, arguments, evaluate_model=evaluate_all, evaluations=execution.evaluations,
        progress=execution.progress,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
    if not world.is_first:
        return
    history = trainer.state.log_history
    for number, folder in enumerate(folders):
        trained = trainer.accelerator.unwrap_model(model) if one else model.member(number, built[number].model)
        member = None if one else number
        _write(trained, built[number], recipes[number], folder, curve_of(history, member))
    shutil.rmtree(checkpoints, ignore_errors=True)


def _require_stackable(recipe: Recipe, world: World) -> None:
    """Raises UserError if models of this recipe cannot be trained side by side."""
    reason = None
    if recipe.has_dropout:
        reason = "with dropout, the random numbers of a model would depend on the others"
    elif isinstance(recipe.model, PretrainedModel):
        reason = "pretrained models are fine-tuned one at a time"
    elif world.size > 1:
        reason = "several processes train one model"
    if reason:
        raise UserError(f"{reason}: train one seed at a time, or use a sweep with side_by_side = false")


def _last_checkpoint(checkpoints: Path) -> str | None:
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


def _write(model: Any, built: Built, recipe: Recipe, folder: Path, curve: Any) -> None:
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
