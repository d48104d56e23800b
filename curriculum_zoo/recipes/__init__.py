"""Recipes: what decides which weights a training run ends with, as frozen dataclasses and JSON; imports no torch."""

from .augmentation import Augmentation
from .load import list_recipes, load_recipe
from .photo_options import PhotoOptions
from .recipe import GlimpseLearning, Mixing, Optimizer, Recipe, Schedule, read_setting

__all__ = [
    "Augmentation",
    "GlimpseLearning",
    "Mixing",
    "Optimizer",
    "PhotoOptions",
    "Recipe",
    "Schedule",
    "list_recipes",
    "load_recipe",
    "read_setting",
]
