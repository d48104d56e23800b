"""Losses image by image: weighed by what a curriculum chose, and whether an objective gives them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..curricula import SampleRule
from ..errors import RecipeError
from .objectives import LossOutput

__all__ = ["check_objective", "weighed"]


def weighed(output: LossOutput, weights: Tensor | None) -> LossOutput:
    """Return the output with the loss that weights make of it: the sum of weighted losses over the number of images.

    Dividing by the number of images, not by the sum of weights, is what keeps a rescaled subset's gradients unbiased.

    Args:
        output: an objective's, with a loss for each image where there are weights.
        weights: float32 [n]; None for 1.
    """
    if weights is None:
        return output
    assert output.losses is not None
    return replace(output, loss=(output.losses * weights).mean())


def check_objective(rule: SampleRule, output: LossOutput, images: int) -> None:
    """Raise if an objective does not give, image by image, what a rule goes by.

    Args:
        rule: what chooses the images.
        output: the objective's, for a batch of images.
        images: how many those were.

    Raises:
        RecipeError: it does not.
    """
    noted = rule.notes + rule.looks
    if rule.weighs and output.losses is None:
        lacks = "a loss for each image (LossOutput.losses), which the curriculum weighs"
    elif noted and len(output.logits) != images:
        lacks = f"one prediction an image, which the curriculum takes {' and '.join(noted)} from"
    elif "loss" in noted and output.losses is None:
        lacks = "a loss for each image (LossOutput.losses), which the curriculum goes by"
    else:
        return
    raise RecipeError(
        f"recipe: the network's objective does not give {lacks}. Choose images by a file of scores (scores=FILE), or "
        "at random (random_subset)."
    )
