"""Vision models trained coarse to fine: networks, training curricula, and the engine that compares them.

This face is lazy: importing it loads neither torch nor timm; the first use of a name loads what that name needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .catalogue import list_curricula as list_curricula
    from .catalogue import list_datasets as list_datasets
    from .catalogue import list_models as list_models
    from .catalogue import list_recipes as list_recipes
    from .comparison import compare as compare
    from .configuration import setting as setting
    from .curricula import Curriculum as Curriculum
    from .curricula import Stage as Stage
    from .curricula import create_curriculum as create_curriculum
    from .data import open_dataset as open_dataset
    from .evaluation import evaluate as evaluate
    from .evaluation import predict as predict
    from .models import create_model as create_model
    from .recipes import Recipe as Recipe
    from .recipes import load_recipe as load_recipe
    from .registry import register_curriculum as register_curriculum
    from .registry import register_dataset as register_dataset
    from .registry import register_model as register_model
    from .training import finetune as finetune
    from .training import train as train
    from .weights.preprocess import load_preprocess as load_preprocess
    from .weights.released import list_weights as list_weights

_HOMES = {
    "create_model": "models",
    "create_curriculum": "curricula",
    "open_dataset": "data",
    "list_models": "catalogue",
    "list_curricula": "catalogue",
    "list_datasets": "catalogue",
    "list_recipes": "catalogue",
    "list_weights": "weights.released",
    "load_preprocess": "weights.preprocess",
    "setting": "configuration",
    "Curriculum": "curricula",
    "Stage": "curricula",
    "Recipe": "recipes",
    "load_recipe": "recipes",
    "train": "training",
    "finetune": "training",
    "evaluate": "evaluation",
    "predict": "evaluation",
    "compare": "comparison",
    "register_model": "registry",
    "register_curriculum": "registry",
    "register_dataset": "registry",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'curriculum_zoo' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
