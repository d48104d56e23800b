"""What the choices of a glimpse pyramid cost, and the rules by which it chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..adaptive import Attend

__all__ = ["ATTEND", "GlimpseCosts", "choose"]

ATTEND = ("sample", "threshold", "top_k")


@dataclass(frozen=True)
class GlimpseCosts:
    """Multiply-adds of applying each module once, as the paper counts them: convolutions and matrices, no biases.

    Attributes:
        features: the feature extraction module, per crop.
        location: the location module, per region.
        aggregation: the aggregation module, per region with attended cells.
        merging: the merging module, per region with attended cells.
        classification: the classification module, per image.
    """

    features: int
    location: int
    aggregation: int
    merging: int
    classification: int

    def total(self, attended: Any, located: Any, merged: Any) -> Any:
        """Multiply-adds of classifying an image; numbers or tensors.

        Args:
            attended: attended locations; the image itself comes on top.
            located: applications of the location module.
            merged: applications of the aggregation and merging modules.
        """
        crops, merging = self.features * (1 + attended), (self.aggregation + self.merging) * merged
        return crops + self.location * located + merging + self.classification


def choose(
    attend: Attend, probabilities: Tensor, level: int, threshold: float, top_k: int, generator: torch.Generator | None
) -> Tensor:
    """Choose the cells to attend.

    Args:
        attend: ``"sample"`` draws each cell by its probability, ``"threshold"`` takes those of at least `threshold`,
            ``"top_k"`` the `top_k` most probable cells of every region; or a function of the probabilities and the
            level (from 0) that gives the mask.
        probabilities: [R, g].
        level: the level, from 0, of the regions that are chosen from.
        threshold: 0 to 1.
        top_k: 1 to g.
        generator: what to draw with; torch's global one where None.

    Returns:
        [R, g] bool.

    Raises:
        ModelError: an unknown rule, or a function that gives no such mask.
    """
    if callable(attend):
        mask = attend(probabilities, level)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != probabilities.shape:
            got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ModelError(
                f"The function given as attend must return a bool mask of shape {list(probabilities.shape)}, got {got}."
            )
        return mask.to(probabilities.device)
    if attend == "sample":
        where = probabilities.device if generator is None else generator.device
        return (
            torch.rand(probabilities.shape, generator=generator, device=where).to(probabilities.device) < probabilities
        )
    if attend == "threshold":
        return probabilities >= threshold
    if attend == "top_k":
        best = probabilities.topk(top_k, dim=1).indices
        return torch.zeros_like(probabilities, dtype=torch.bool).scatter(1, best, True)
    raise ModelError(f"attend={attend!r} is unknown; choose {', '.join(map(repr, ATTEND))}, or give a function.")
