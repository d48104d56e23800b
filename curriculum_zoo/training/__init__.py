"""Training: the engine that runs a recipe, its objectives, and what it costs."""

from .engine import Result, train
from .finetuning import finetune

__all__ = ["Result", "finetune", "train"]
