"""Training: recipes, the engine that runs them, checkpoints, cost."""

from .engine import Result, train
from .finetuning import finetune
from .recipe import Mixing, Optimizer, Recipe, Schedule, load_recipe

__all__ = ["Mixing", "Optimizer", "Recipe", "Result", "Schedule", "finetune", "load_recipe", "train"]
