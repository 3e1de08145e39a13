"""The recipes of the package, one file each: a new file is a new recipe."""

import importlib
import pkgutil
from pathlib import Path

from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.training.recipe import Recipe


def all_recipes() -> dict[str, Recipe]:
    """All recipes by name, in alphabetical order."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    recipes = [importlib.import_module(f"{__name__}.{name}").RECIPE for name in names]
    return {recipe.name: recipe for recipe in sorted(recipes, key=lambda recipe: recipe.name)}


def get_recipe(name: str) -> Recipe:
    """The recipe with this name. Raises UserError if there is none."""
    recipes = all_recipes()
    if name not in recipes:
        hint = did_you_mean(name, recipes)
        raise UserError(f"there is no recipe {name!r}: choose from {', '.join(recipes)}, or name a recipe.json{hint}")
    return recipes[name]
