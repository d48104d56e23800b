"""Checks, before training, that recipe, curriculum and network plan the same processing levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from ..curricula import Stage
from ..errors import RecipeError
from ..recipes import Recipe

__all__ = ["check_levels"]


def check_levels(
    recipe: Recipe, network: nn.Module, stages: Sequence[Stage], image_size: int, *, brings_objective: bool = False
) -> None:
    """Check that a network has the processing levels that a curriculum plans, and an objective that teaches them.

    Args:
        recipe: decides by ``glimpses`` whether and how the network learns where to look.
        network: it has processing levels if it has ``levels_for``, and chooses where to look if it has ``glimpse``.
        stages: those of the curriculum.
        image_size: full side of the images, in pixels.
        brings_objective: whether the network learns by an objective of its own, whatever ``glimpses`` says.

    Raises:
        RecipeError: levels are planned that the network has not, at all or at a stage's resolution; ``glimpses`` is set
            for a network that looks at whole images, or missing for one that must learn where to look.
    """
    has_levels, chooses = (callable(getattr(network, name, None)) for name in ("levels_for", "glimpse"))
    levels = [stage.levels for stage in stages if stage.levels is not None]
    if levels and not has_levels:
        raise RecipeError(
            f"recipe: curriculum '{recipe.curriculum}' plans {max(levels)} processing levels, and {recipe.model} has "
            "none. Choose a network that has them, such as glimpse_pyramid_m3, or another curriculum; "
            "gradual_levels(set_levels=false) gives any network the resolutions alone."
        )
    if recipe.glimpses is not None and not chooses:
        raise RecipeError(
            f"recipe: glimpses says how a network learns where to look, and {recipe.model} looks at whole images. "
            "Leave glimpses out, or choose a network that has them, such as glimpse_pyramid_m3."
        )
    for stage in stages if has_levels else ():
        side = stage.pixels(image_size)
        most = cast(Any, network).levels_for(side, side)
        if (stage.levels or most) > most:
            raise RecipeError(
                f"recipe: stage '{stage.name}' plans {stage.levels} processing levels on {side}x{side} px, where "
                f"{recipe.model} has {most}. Use larger images, or a curriculum of fewer levels."
            )
        if chooses and not brings_objective and recipe.glimpses is None and (stage.levels or most) > 1:
            raise RecipeError(
                f"recipe: {recipe.model} has to learn where to look in stage '{stage.name}', which cross entropy alone "
                "cannot teach it. Set glimpses; glimpses={} takes the defaults."
            )
