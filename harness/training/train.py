"""Trains the models of a recipe: folders, checkpoints, resuming, and what a finished folder holds.

A folder of a trained model has recipe.json (written first), the files of the model and its tokenizer, curve.parquet,
README.md; model.safetensors is written last. Checkpoints are in `checkpoints` until the training has finished.
"""

import json
import shlex
import shutil
from collections.abc import Sequence, Set
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from harness.errors import LostProcess, UserError
from harness.evaluation.distributed import World
from harness.models.classes import register
from harness.runs.environment import environment
from harness.runs.files import only_writer, require_writable, write_json
from harness.training.allocator import keep_freed_memory
from harness.training.build import build, write_tokenizer
from harness.training.card import card
from harness.training.curve import CURVE_FILE, curve_of
from harness.training.data import Built, StackedRows, TrainingRows
from harness.training.pretrained import pin
from harness.training.recipe import Recipe, read_recipe
from harness.training.recipe_parts import CountingData, PretrainedModel
from harness.training.stack import Stack
from harness.training.trainer import Execution, RecipeTrainer, log_to, training_arguments
from harness.training.validation import Numbers, in_evaluation_mode, validation

RECIPE_FILE, CARD_FILE = "recipe.json", "README.md"
WEIGHTS = "model.safetensors"
CHECKPOINTS = "checkpoints"
MEMBERS_FILE = "members.json"
LOGS = "runs"  # of TensorBoard; the Hub shows them
# What a folder may hold before its training has started.
OWN_FILES = {CHECKPOINTS, LOGS, ".lock"}
VALIDATION_ROWS = 200


def train(recipes: Sequence[Recipe], output: Path, execution: Execution | None = None) -> list[Path]:
    """Trains recipes that differ in their seeds only, side by side if there are several; resumes a stopped training.

    output: folder of the model, or of one folder per seed. Returns the folders of the models; models that are trained
    already are kept. Raises UserError if the output holds anything else, or if the model cannot be built or trained.
    """
    register()
    execution = execution or Execution()
    keep_freed_memory()
    world = World()
    try:
        with _only_writer(output, world):
            if len(recipes) == 1:
                return _train_one(recipes[0], output, execution, world)
            return _train_seeds(recipes, output, execution, world)
    except UserError as error:
        if world.is_first or isinstance(error, LostProcess):
            raise
        raise LostProcess(str(error)) from None  # the first process has the same error and prints it
    finally:
        world.leave()


def _train_one(recipe: Recipe, output: Path, execution: Execution, world: World) -> list[Path]:
    recipe = pin(recipe, output / RECIPE_FILE)
    if world.is_first:
        _require_same(output, recipe, execution)
    world.wait_for_all()
    if not is_trained(output):
        _train({output: recipe}, output / CHECKPOINTS, execution, world)
    return [output]


def _train_seeds(recipes: Sequence[Recipe], output: Path, execution: Execution, world: World) -> list[Path]:
    """Trains the seeds that are not trained yet, after those of a stopped training."""
    _require_stackable(recipes[0], world)
    if (output / RECIPE_FILE).exists():
        raise UserError(f"{output} holds a single model. Use another --output for {len(recipes)} seeds.")
    all_seeds = {output / f"seed-{recipe.model.seed}": recipe for recipe in recipes}
    seeds = {path.name for path in output.glob("seed-*")}
    _require_own_files(output, OWN_FILES | seeds, "holds something else than seeds")
    for folder, recipe in all_seeds.items():
        _require_same(folder, recipe, execution)
    checkpoints = output / CHECKPOINTS
    stopped = _members(checkpoints)
    if not {output / name for name in stopped} <= set(all_seeds):
        raise UserError(f"{output} holds a stopped training of {len(stopped)} seeds. Finish it with the same --seeds.")
    if not all(is_trained(output / name) for name in stopped):  # its checkpoints are of all members together
        _train({output / name: all_seeds[output / name] for name in stopped}, checkpoints, execution, world)
    shutil.rmtree(checkpoints, ignore_errors=True)
    if untrained := {folder: recipe for folder, recipe in all_seeds.items() if not is_trained(folder)}:
        _train(untrained, checkpoints, execution, world)
    return list(all_seeds)


def _members(checkpoints: Path) -> list[str]:
    """The names of the folders of a training of several seeds that was stopped; none if there was no such training."""
    try:
        return list(json.loads((checkpoints / MEMBERS_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a finished model."""
    return (folder / WEIGHTS).is_file() and (folder / RECIPE_FILE).is_file()


@contextmanager
def _only_writer(output: Path, world: World) -> Any:
    if world.is_first:
        require_writable(output)
    with only_writer(output) if world.is_first else nullcontext():
        yield


def _require_same(folder: Path, recipe: Recipe, execution: Execution) -> None:
    """Raises UserError if a folder holds anything but a training of this recipe."""
    path = folder / RECIPE_FILE
    if not path.exists():
        _require_own_files(folder, OWN_FILES, f"is not empty and has no {RECIPE_FILE}")
        return
    other = read_recipe(path)
    if (other.parts(), other.name) != (recipe.parts(), recipe.name):
        raise UserError(f"{folder} holds a model of {_difference(other, recipe)}. Use another --output.")
    command = shlex.split(str(json.loads(path.read_text(encoding="utf-8")).get("command", "")))
    used = [flag for flag in Execution.all_options() if flag in command]
    if used != execution.options:
        words = f"with {' '.join(used)}" if used else f"without {' '.join(execution.options)}"
        raise UserError(f"{folder} holds a model trained {words}. Use another --output.")


def _require_own_files(folder: Path, own: Set[str], problem: str) -> None:
    """Raises UserError if a folder holds other files."""
    if foreign := sorted({each.name for each in folder.iterdir()} - own) if folder.is_dir() else []:
        raise UserError(f"{folder} {problem} ({foreign[0]}). Use another --output.")


def _write_recipe(folder: Path, recipe: Recipe, execution: Execution, device: Any) -> None:
    """Writes recipe.json into a folder without one."""
    path = folder / RECIPE_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
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


def _train(members: dict[Path, Recipe], checkpoints: Path, execution: Execution, world: World) -> None:
    """Trains models of one shape together. members: recipes by the folders of their models."""
    recipes, one = [*members.values()], len(members) == 1
    built, recipe = [build(recipe) for recipe in recipes], recipes[0]
    rows: TrainingRows | StackedRows
    if one:
        model, rows = built[0].model, built[0].rows
    else:
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
        recipe,
        model,
        rows,
        arguments,
        evaluate_model=evaluate_all,
        evaluations=execution.evaluations,
        progress=execution.progress,
    )
    log_to(trainer, checkpoints.parent / LOGS)
    if world.is_first:  # nothing is written before a model can be trained
        for folder, each in members.items():
            _write_recipe(folder, each, execution, world.device)
        if checkpoints.parent not in members:
            checkpoints.mkdir(exist_ok=True)
            write_json(checkpoints / MEMBERS_FILE, [folder.name for folder in members])
    trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
    if not world.is_first:
        return
    history = trainer.state.log_history
    for number, folder in enumerate(members):
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
