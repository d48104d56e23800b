"""Which images an epoch sees, and with which weight in the loss: `SampleRule`.

A rule is a frozen dataclass and a pure function: of its own fields, in which seed and epoch stand, of the images'
numbers, and of scores that are the same on every process. No sampler hides behind it, so every process, every resumed
run and every loop agree on which images epoch 17 has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...draws import seeds_of
from .measures import Measure

__all__ = ["All", "Both", "SampleRule", "Selection", "ranks"]

_TIES = 0x71E5  # sets the draw that breaks ties apart from others of the same key and numbers


@dataclass(frozen=True, eq=False)
class Selection:
    """The images of an epoch, among N.

    Attributes:
        kept: which of them are seen, bool [N].
        weights: what each one's loss is multiplied by, float32 [N]; None for 1 everywhere. A batch's loss is the sum of
            the weighted losses over its number of images.
    """

    kept: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class SampleRule(ABC):
    """Says which images an epoch sees. Subclasses are frozen dataclasses at the top of a module."""

    @abstractmethod
    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Return which images are seen, and with which weights.

        Args:
            numbers: the images' numbers in their set, int64 [N] on the CPU.
            scores: what this run saw of these images before the epoch, float32 [N] on the CPU, higher is harder, NaN
                for an image that was not seen yet; keyed by measure. There are those that the curriculum's stages note
                or look for.
        """

    @property
    def notes(self) -> tuple[Measure, ...]:
        """What is noted of each image as it is trained on; the last sight counts."""
        return ()

    @property
    def looks(self) -> tuple[Measure, ...]:
        """What is measured of all images by a forward pass before the epoch, made to choose; its FLOPs count."""
        return ()

    @property
    def weighs(self) -> bool:
        """Whether images' losses may have weights other than 1."""
        return False

    @property
    def files(self) -> tuple[str, ...]:
        """Files of scores that it reads; see `curriculum_zoo.curricula.samples.score_file`."""
        return ()

    @property
    @abstractmethod
    def share(self) -> float | None:
        """The share of images that it keeps, 0 to 1, in expectation; None where that depends on the scores."""


@dataclass(frozen=True, kw_only=True)
class All(SampleRule):
    """All images, of which something is noted for later epochs.

    Attributes:
        noted: the measures.
    """

    noted: tuple[Measure, ...]

    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Select all images."""
        return Selection(torch.ones(len(numbers), dtype=torch.bool))

    @property
    def notes(self) -> tuple[Measure, ...]:
        """As stated."""
        return self.noted

    @property
    def share(self) -> float:
        """All of them."""
        return 1.0

    def __str__(self) -> str:
        return f"all, noting {' and '.join(self.noted)}"


@dataclass(frozen=True, kw_only=True)
class Both(SampleRule):
    """The images that two rules both keep, with the product of their weights.

    Attributes:
        first: one rule.
        second: the other one; it chooses among all images too.
    """

    first: SampleRule
    second: SampleRule

    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Select what both select."""
        one, two = (rule.select(numbers, scores) for rule in (self.first, self.second))
        weights = one.weights if two.weights is None else two.weights
        if one.weights is not None and two.weights is not None:
            weights = one.weights * two.weights
        return Selection(one.kept & two.kept, weights)

    @property
    def notes(self) -> tuple[Measure, ...]:
        """What either notes."""
        return tuple(dict.fromkeys(self.first.notes + self.second.notes))

    @property
    def looks(self) -> tuple[Measure, ...]:
        """What either looks for."""
        return tuple(dict.fromkeys(self.first.looks + self.second.looks))

    @property
    def weighs(self) -> bool:
        """Whether either weighs."""
        return self.first.weighs or self.second.weighs

    @property
    def files(self) -> tuple[str, ...]:
        """The files of both."""
        return tuple(dict.fromkeys(self.first.files + self.second.files))

    @property
    def share(self) -> float | None:
        """The product of both shares, which holds for choices that have nothing to do with each other."""
        one, two = self.first.share, self.second.share
        return None if one is None or two is None else one * two

    def __str__(self) -> str:
        return f"{self.first}, and {self.second}"


def ranks(values: Tensor, numbers: Tensor, key: tuple[int, ...]) -> Tensor:
    """Return the place of each image in the order of its value, int64 [N] from 0; lots decide among equal values.

    Args:
        values: float32 [N]; NaN comes last.
        numbers: the images' numbers, int64 [N], which the lots are drawn from.
        key: what else the lots depend on.
    """
    lots = torch.argsort(seeds_of(numbers, *key, _TIES), stable=True)
    order = lots[torch.argsort(values[lots], stable=True)]
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order)))
