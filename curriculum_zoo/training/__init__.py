"""Training: recipes, the engine that runs them, checkpoints, cost."""

from .engine import Result, train
from .recipe import Mixing, Optimizer, Recipe, Schedule, load_recipe

__all__ = ["Mixing", "Optimizer", "Recipe", "Result", "Schedule", "load_recipe", "train"]
