"""Recipes by name or file: those that ship with the package, and anyone's JSON."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from ..errors import UnknownNameError
from ..registry import closest
from .recipe import Recipe

__all__ = ["RECIPES", "list_recipes", "load_recipe"]

RECIPES = Path(__file__).parent / "shipped"
"""Folder of the recipes that ship with the package."""


def list_recipes(pattern: str = "*") -> list[str]:
    """Names of the training recipes that come with the package.

    Args:
        pattern: shell-style wildcard.
    """
    return sorted(file.stem for file in RECIPES.glob("*.json") if fnmatch.fnmatchcase(file.stem, pattern))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe of the package by its name, or any recipe by its file.

    Raises:
        UnknownNameError: neither a file nor one of the package's recipes.
        RecipeError: the file is no recipe.
    """
    if str(name_or_path) in list_recipes():
        return Recipe.load(RECIPES / f"{name_or_path}.json")
    if Path(name_or_path).is_file() or str(name_or_path).endswith(".json"):
        return Recipe.load(name_or_path)
    raise UnknownNameError(f"No recipe file or name '{name_or_path}'. {closest(str(name_or_path), list_recipes())}")
