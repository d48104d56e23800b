"""What a glimpse pyramid chose to look at, what that costs, and the rules by which it chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError

__all__ = ["ATTEND", "Attend", "GlimpseCosts", "GlimpseLevel", "Glimpses", "choose"]

ATTEND = ("sample", "threshold", "top_k")
Attend = str | Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class GlimpseLevel:
    """One choice of locations: from the regions of one level to those of the next.

    Attributes:
        image: [R] int64, the row (see `Glimpses`) that each region belongs to; ascending.
        regions: [R, 4] int64, x1, y1, x2, y2 of those regions, pixels of the input image (x2 and y2 exclusive).
        log_odds: [R, g], log(p / (1 - p)) of attending each cell; its gradient reaches the location module alone.
        mask: [R, g] bool, what was attended.
        boxes: [A, 4] int64, x1, y1, x2, y2 of the attended cells, in the order of ``mask.nonzero()``: the next
            level's regions.
        parent: [A] int64, the index into `regions` of each attended cell's region.
        cell: [A] int64, its cell, row by row.
    """

    image: Tensor
    regions: Tensor
    log_odds: Tensor
    mask: Tensor
    boxes: Tensor
    parent: Tensor
    cell: Tensor

    @property
    def probabilities(self) -> Tensor:
        """[R, g], the probabilities of attending each cell, 0 to 1; differentiable like `log_odds`."""
        return self.log_odds.sigmoid()


@dataclass(frozen=True)
class Glimpses:
    """What a glimpse pyramid answers, and what it looked at.

    With M samples of a batch of N images there are N·M rows, sample after sample: row s·N + i is sample s of image i.
    The methods speak of the first `levels` processing levels, of all where that is None.

    Attributes:
        logits: [rows, classes] after 1, 2, … processing levels; the last alone where ``every_level=False``.
        levels: the choices between them, one fewer than processing levels.
        rows: N·M.
        cells: g, the candidates in a region.
    """

    logits: tuple[Tensor, ...]
    levels: tuple[GlimpseLevel, ...]
    rows: int
    cells: int

    def _choices(self, levels: int | None) -> tuple[GlimpseLevel, ...]:
        if levels is None:
            return self.levels
        if not 1 <= levels <= len(self.levels) + 1:
            raise ModelError(f"levels={levels!r} must be 1 to {len(self.levels) + 1}, which were processed.")
        return self.levels[: levels - 1]

    def _per_row(self, choices: tuple[GlimpseLevel, ...], values: list[Tensor]) -> Tensor:
        """[rows] sums of a value [R] of each choice's regions: handed up from region to region, so in a fixed order."""
        if not choices:
            return self.logits[-1].new_zeros(self.rows, dtype=torch.float32)
        total = values[-1]
        for choice, value in zip(reversed(choices[:-1]), reversed(values[:-1]), strict=True):
            below = total.new_zeros(choice.mask.numel())
            below = below.index_copy(0, choice.parent * self.cells + choice.cell, total)
            total = value + below.view(-1, self.cells).sum(1)
        return total

    def attended(self, levels: int | None = None) -> Tensor:
        """[rows] int64, how many locations were attended: crops beyond the image itself.

        Raises:
            ModelError: `levels` is not 1 to the number of levels processed; so for every method.
        """
        choices = self._choices(levels)
        return self._per_row(choices, [choice.mask.sum(1) for choice in choices]).long()

    def located(self, levels: int | None = None) -> Tensor:
        """[rows] int64, how many times the location module was applied, N^l of eq. (8a)."""
        choices = self._choices(levels)
        return self._per_row(choices, [torch.ones_like(choice.image) for choice in choices]).long()

    def merged(self, levels: int | None = None) -> Tensor:
        """[rows] int64, how many regions had attended cells to aggregate and to merge."""
        choices = self._choices(levels)
        return self._per_row(choices, [choice.mask.any(1).long() for choice in choices]).long()

    def expected(self, levels: int | None = None) -> Tensor:
        """[rows] the expected number of attended locations, p_t of eq. (14); differentiable."""
        choices = self._choices(levels)
        return self._per_row(choices, [choice.probabilities.sum(1) for choice in choices])

    def log_probability(self, levels: int | None = None) -> Tensor:
        """[rows] the log-probability of the choices, log p(l|x) of eq. (8a); differentiable, finite for any odds."""
        choices = self._choices(levels)
        taken = [torch.where(choice.mask, choice.log_odds, -choice.log_odds) for choice in choices]
        return self._per_row(choices, [F.logsigmoid(log_odds).sum(1) for log_odds in taken])

    def cell_probability(self, levels: int | None = None) -> Tensor:
        """[g] the mean probability of attending each cell, p_k of eq. (15); zeros where none was asked for."""
        choices = self._choices(levels)
        if not choices:
            return self.logits[-1].new_zeros(self.cells, dtype=torch.float32)
        total = torch.stack([choice.probabilities.sum(0) for choice in choices]).sum(0)
        return total / max(1, sum(len(choice.image) for choice in choices))


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
