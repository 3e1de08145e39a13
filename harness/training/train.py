"""Trains the models of a recipe, one or several side by side, and resumes stopped trainings."""

import shutil
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from harness.errors import LostProcess, UserError
from harness.evaluation.distributed import World
from harness.models.classes import register
from harness.models.float32 import set_tf32
from harness.runs.files import only_writer, require_writable, write_json
from harness.training.allocator import keep_freed_memory
from harness.training.build import build
from harness.training.curve import curve_of
from harness.training.data import StackedRows, TrainingRows
from harness.training.execution import Execution, log_to, training_arguments
from harness.training.model_folder import (
    CHECKPOINTS,
    LOGS,
    MEMBERS_FILE,
    OWN_FILES,
    RECIPE_FILE,
    is_trained,
    last_checkpoint,
    members,
    require_own_files,
    require_same,
    write_model,
    write_recipe,
)
from harness.training.pretrained import pin
from harness.training.recipe import Recipe
from harness.training.recipe_parts import PretrainedModel
from harness.training.stack import Stack
from harness.training.trainer import RecipeTrainer
from harness.training.validation import Numbers, in_evaluation_mode, validation

VALIDATION_ROWS = 200
DROPOUT = "with dropout, the random numbers of a model would depend on the others"


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
        require_same(output, recipe, execution)
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
    require_own_files(output, OWN_FILES | seeds, "holds something else than seeds")
    for folder, recipe in all_seeds.items():
        require_same(folder, recipe, execution)
    checkpoints = output / CHECKPOINTS
    stopped = members(checkpoints)
    if not {output / name for name in stopped} <= set(all_seeds):
        raise UserError(f"{output} holds a stopped training of {len(stopped)} seeds. Finish it with the same --seeds.")
    if not all(is_trained(output / name) for name in stopped):  # its checkpoints are of all members together
        _train({output / name: all_seeds[output / name] for name in stopped}, checkpoints, execution, world)
    shutil.rmtree(checkpoints, ignore_errors=True)
    if untrained := {folder: recipe for folder, recipe in all_seeds.items() if not is_trained(folder)}:
        _train(untrained, checkpoints, execution, world)
    return list(all_seeds)


@contextmanager
def _only_writer(output: Path, world: World) -> Any:
    if world.is_first:
        require_writable(output)
    with only_writer(output) if world.is_first else nullcontext():
        yield


def _train(members: dict[Path, Recipe], checkpoints: Path, execution: Execution, world: World) -> None:
    """Trains models of one shape together. members: recipes by the folders of their models."""
    recipes, one = [*members.values()], len(members) == 1
    built, recipe = [build(recipe) for recipe in recipes], recipes[0]
    rows: TrainingRows | StackedRows
    if one:
        model, rows = built[0].model, built[0].rows
    else:
        _require_no_dropout(built[0].model)
        model, rows = Stack([each.model for each in built]), StackedRows([each.rows for each in built])
    arguments = training_arguments(recipe, checkpoints, execution, world.size, world.device.type == "cpu")
    set_tf32(execution.tf32)  # the arguments do it for the first training of a process only
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
            write_recipe(folder, each, execution, world.device)
        if checkpoints.parent not in members:
            checkpoints.mkdir(exist_ok=True)
            write_json(checkpoints / MEMBERS_FILE, [folder.name for folder in members])
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    if not world.is_first:
        return
    history = trainer.state.log_history
    for number, folder in enumerate(members):
        trained = trainer.accelerator.unwrap_model(model) if one else model.member(number, built[number].model)
        member = None if one else number
        write_model(trained, built[number], recipes[number], folder, curve_of(history, member))
    shutil.rmtree(checkpoints, ignore_errors=True)


def _require_stackable(recipe: Recipe, world: World) -> None:
    """Raises UserError if models of this recipe cannot be trained side by side."""
    reason = None
    if recipe.has_dropout:
        reason = DROPOUT
    elif isinstance(recipe.model, PretrainedModel):
        reason = "pretrained models are fine-tuned one at a time"
    elif world.size > 1:
        reason = "several processes train one model"
    if reason:
        raise _not_stackable(reason)


def _require_no_dropout(model: Any) -> None:
    """The same for a model with dropout, which an architecture of transformers may have by default."""
    config = model.config.to_dict()
    rates = [value for name, value in config.items() if "dropout" in name or name.endswith("pdrop")]
    rates += [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    if any(isinstance(rate, float) and rate > 0 for rate in rates):
        raise _not_stackable(DROPOUT)


def _not_stackable(reason: str) -> UserError:
    return UserError(f"{reason}: train one seed at a time, or use a sweep with side_by_side = false")
