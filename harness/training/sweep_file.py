"""Sweep files: groups of recipes with their grids and seeds, in TOML.

    title = "Positions"
    evaluation = {tasks = ["flipflop"], limit = 1000}

    [[group]]
    name = "positions"
    recipe = "flipflop-small"
    seeds = 3
    set = {"schedule.steps" = 3000}
    grid = {"model.positions" = ["rope", "none"]}

A member is a recipe with one seed. The members of a cell, one choice of the grid's values, differ in their seeds only.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from fflm_data.config import ParameterError, require, require_integer
from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.training.recipe import SEEDS, Recipe
from harness.training.recipe_parts import MAX_SEED, ArchitectureModel, CountingData
from harness.training.recipe_values import as_tuple
from harness.training.recipes import get_recipe
from harness.training.sweep_units import ROWS, Evaluation, Member, Sweep, Unit, cell_words, slug

TASKS = ("flipflop", "flipflop-piecewise")
FILE_KEYS = ("title", "evaluation", "group")
GROUP_KEYS = ("name", "recipe", "architecture", "seeds", "set", "grid", "side_by_side", "evaluation")
EVALUATION_KEYS = ("tasks", "limit")


def read_sweep(path: Path) -> Sweep:
    """The sweep of a file. Raises UserError, in one line, for anything that is wrong with it."""
    content = _toml(path)
    try:
        _require_keys(content, FILE_KEYS, "the file")
        title = content.get("title", path.stem)
        require(isinstance(title, str) and bool(title.strip()), "title", title, "a text")
        evaluation = _evaluation(content.get("evaluation", {}), Evaluation())
        groups = content.get("group")
        require(isinstance(groups, list) and bool(groups), "group", groups, "at least one table [[group]]")
        units: list[Unit] = []
        for number, group in enumerate(content["group"], 1):
            name = group.get("name") if isinstance(group, dict) else None
            try:
                units += _units(group, evaluation)
            except (UserError, ParameterError) as error:
                where = f"group {name!r}" if isinstance(name, str) else f"group {number}"
                raise UserError(f"{where}: {error}") from None
        _require_distinct([member for unit in units for member in unit.members])
    except (UserError, ParameterError) as error:
        raise UserError(f"{path}: {error}") from None
    return Sweep(title, tuple(units))


def _toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the sweep file {path} ({error.strerror})") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise UserError(f"{path} is not a TOML file ({' '.join(str(error).split())})") from None


def _units(group: Any, evaluation: Evaluation) -> Iterator[Unit]:
    """The units of a group."""
    require(isinstance(group, dict), "group", group, "a table")
    _require_keys(group, GROUP_KEYS, "a group")
    name, side_by_side = group.get("name"), group.get("side_by_side", False)
    require(isinstance(name, str) and bool(name.strip()), "name", name, "a text, the label of the group")
    require(isinstance(side_by_side, bool), "side_by_side", side_by_side, "true or false")
    base, seeds = _recipe(group), _seeds(group.get("seeds", 1))
    if isinstance(base.data, CountingData):
        require("tasks" not in group.get("evaluation", {}), "evaluation.tasks", group.get("evaluation"), "left out")
        evaluation = replace(evaluation, tasks=(), limit=ROWS)
    evaluation = _evaluation(group.get("evaluation", {}), evaluation)
    for cell in _cells(group.get("grid", {})):
        recipe = base.changed(dict(cell))
        require(not (side_by_side and recipe.has_dropout), "side_by_side", True, "false with dropout")
        folder = PurePosixPath(slug(name), *([slug(cell_words(cell))] if cell else []))
        members = [
            Member(name, cell, recipe.changed(dict.fromkeys(SEEDS, seed)), evaluation, folder / f"seed-{seed}")
            for seed in seeds
        ]
        if side_by_side and len(members) > 1:
            yield Unit(tuple(members), True)
        else:
            yield from (Unit((member,), False) for member in members)


def _recipe(group: Mapping[str, Any]) -> Recipe:
    """The recipe of a group with the changes of its table `set`."""
    name, architecture, changes = group.get("recipe"), group.get("architecture"), group.get("set", {})
    require(isinstance(name, str), "recipe", name, "the name of a recipe")
    require(isinstance(changes, dict), "set", changes, "a table of recipe values")
    _require_quoted("set", changes)
    recipe = get_recipe(str(name))
    if architecture is not None:
        require(isinstance(architecture, str), "architecture", architecture, "a name, such as llama")
        recipe = recipe.with_model(ArchitectureModel(architecture), ("model.architecture", architecture))
    return recipe.changed({key: as_tuple(value) for key, value in changes.items()})


def _seeds(value: Any) -> list[int]:
    """The seeds of a number of seeds or of a list."""
    if not isinstance(value, list):
        require_integer("seeds", value, 1, 10_000)
        return [*range(value)]
    require(bool(value), "seeds", value, "a number of seeds or a list of them")
    for seed in value:
        require_integer("seeds", seed, 0, MAX_SEED)
    require(len(set(value)) == len(value), "seeds", value, "free of duplicates")
    return value


def _cells(grid: Any) -> Iterator[tuple[tuple[str, Any], ...]]:
    """All choices of one value for each key of a grid, the last key varying fastest."""
    require(isinstance(grid, dict), "grid", grid, "a table of lists")
    _require_quoted("grid", grid)
    for key, values in grid.items():
        require(isinstance(values, list) and bool(values), f"grid {key}", values, "a list of values")
    for values in itertools.product(*grid.values()):
        yield tuple((key, as_tuple(value)) for key, value in zip(grid, values, strict=True))


def _require_quoted(table: str, content: Mapping[str, Any]) -> None:
    """TOML reads an unquoted model.layers as a table in a table; seeds have a key of their own."""
    for key, value in content.items():
        if isinstance(value, dict):
            inner = next(iter(value), "KEY")
            raise UserError(f'the keys of {table} need quotes: "{key}.{inner}" = ...')
        if key in SEEDS:
            raise UserError(f"{key} is set by seeds: remove it from {table}")


def _evaluation(content: Any, default: Evaluation) -> Evaluation:
    require(isinstance(content, dict), "evaluation", content, "a table with tasks and limit")
    _require_keys(content, EVALUATION_KEYS, "evaluation")
    tasks, limit = content.get("tasks", list(default.tasks)), content.get("limit", default.limit)
    some = isinstance(tasks, list) and (bool(tasks) or "tasks" not in content)
    require(some, "evaluation.tasks", tasks, "a list of names")
    for task in tasks:
        require(task in TASKS, "evaluation.tasks", task, f"a list of {', '.join(TASKS)}", TASKS)
    require(len(set(tasks)) == len(tasks), "evaluation.tasks", tasks, "free of duplicates")
    require_integer("evaluation.limit", limit, 1)
    return Evaluation(tuple(tasks), limit)


def _require_keys(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise UserError(f"{where} has no key {key!r}: use {', '.join(known)}{did_you_mean(key, known)}")


def _require_distinct(members: list[Member]) -> None:
    """Raises UserError for two members with the same recipe and seed, or with the same folder."""
    recipes: dict[tuple[str, int], Member] = {}
    folders: dict[PurePosixPath, Member] = {}
    for member in members:
        key = (member.recipe.digest(), member.seed)
        if key in recipes:
            raise UserError(f"{recipes[key].label} and {member.label} are the same recipe and seed: remove one of them")
        if member.folder in folders:
            raise UserError(
                f"{folders[member.folder].label} and {member.label} share the folder {member.folder}: rename a group"
            )
        recipes[key] = folders[member.folder] = member
