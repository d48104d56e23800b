"""A recipe's optimiser, by timm's name for it."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import RecipeError
from ..recipes import Optimizer
from ..registry import closest
from .parameter_groups import LearningRates

__all__ = ["make_optimizer"]


def make_optimizer(model: nn.Module, settings: Optimizer, rates: LearningRates | None = None) -> torch.optim.Optimizer:
    """Return a fresh optimiser over all parameters that learn.

    Args:
        model: the network, with nothing frozen yet.
        settings: which optimiser, and its numbers.
        rates: the peak learning rates of those parameters; where None, those of a run whose stages change none.

    Raises:
        RecipeError: timm knows no such optimiser, or it does not take these options.
    """
    from timm.optim import create_optimizer_v2, list_optimizers

    known = list_optimizers()
    if settings.name not in known:
        raise RecipeError(f"recipe: optimizer.name '{settings.name}' is unknown. {closest(settings.name, known)}")
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model,
            opt=settings.name,
            lr=settings.peak_lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            **settings.options,
        )
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe: optimizer.options do not fit '{settings.name}': {error}") from error
    except (AssertionError, ImportError, RuntimeError) as error:  # some need a GPU, or a package of their own
        raise RecipeError(
            f"recipe: optimizer.name '{settings.name}' cannot be had here: {error}. Use another."
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise RecipeError(f"recipe: optimizer.name '{settings.name}' needs second derivatives, which are not taken.")
    (rates or LearningRates.of(model, settings)).divide(optimizer, model)
    return optimizer
