"""Adaptive networks: those that look at an image level by level and choose where to look closer.

`AdaptiveNetwork` is what evaluation, figures and cards ask of one. Any network that has these methods is one, those of
plugins as well as the glimpse pyramids of this package; it answers with `Glimpses`, which say what it looked at. One
that learns by a loss of its own brings that too: a method ``training_objective(recipe)`` that returns an objective of
`curriculum_zoo.training.objectives`, or None for the usual one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError

__all__ = ["AdaptiveNetwork", "Attend", "EarlyAnswers", "GlimpseLevel", "Glimpses"]

Attend = str | Callable[[Tensor, int], Tensor]
"""How locations are chosen: the name of one of the network's rules, as ``sample``, ``threshold`` and ``top_k``; or a
function of the probabilities [R, g] and the level, from 0, of their regions that returns a bool mask [R, g]."""


@runtime_checkable
class AdaptiveNetwork(Protocol):
    """A network that looks at an image level by level and chooses where to look closer, so that its cost follows.

    Its ``forward`` takes images [N, C, H, W] and gives logits [N, classes], and may draw at random where to look.

    Attributes:
        base: height and width, in pixels, that each region is shrunk to, by area, before it is looked at.
    """

    base: tuple[int, int]

    def levels_for(self, height: int, width: int) -> int:
        """Return how many processing levels an image of that size in pixels allows, 1 or more.

        Raises:
            ModelError: none: the image is too small.
        """

    def glimpse(
        self, images: Tensor, levels: int | None = None, attend: Attend | None = None, *, every_level: bool = True
    ) -> Glimpses:
        """Classify images, and say what was looked at.

        Args:
            images: [N, C, H, W], normalised.
            levels: processing levels to go through; as many as the images allow where None.
            attend: how locations are chosen; the network's own way where None.
            every_level: whether to give the logits after fewer levels too.

        Raises:
            ModelError: the images do not allow so many levels, or the network has no such rule.
        """

    def multiply_adds(self, glimpses: Glimpses, levels: int | None = None) -> Tensor:
        """Return the multiply-adds [rows] int64 that were spent on each row of an answer.

        Args:
            glimpses: what `glimpse` gave.
            levels: as if processing had ended after so many; all where None.
        """


@runtime_checkable
class EarlyAnswers(Protocol):
    """An adaptive network that says what an answer on the way costs, given what it looked at.

    Without it each answer on the way to a deeper one is counted with everything that it would take alone.
    """

    def answer_multiply_adds(self, glimpses: Glimpses, levels: int) -> Tensor:
        """Return the multiply-adds [rows] int64 of an answer that a deeper answer does not need as well.

        Args:
            glimpses: what `glimpse` gave.
            levels: after which the answer is given.
        """


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
    """What a adaptive network answers, and what it looked at.

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
