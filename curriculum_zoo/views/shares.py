"""Views that each image of a batch gets with some probability, by a draw of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..draws import uniform
from ..errors import CurriculumError
from .image_batches import beside, check_batch
from .resizing import reduced_sides
from .separable import Interpolation, resampled
from .view import View, identity, look, pixels, view_seeds

__all__ = ["Portions", "ReducedShare"]

_PORTIONS, _REDUCED = 0x9013, 0x9014  # what draws are for, so that two views of one image draw independently


@dataclass(frozen=True)
class Portions:
    """Several views, of which each image gets one, drawn for it with the given probabilities.

    Attributes:
        views: the views; none may change the resolution.
        shares: the probability of each; together 1.
        key: see `curriculum_zoo.views.view`; no part of what makes views equal.

    Raises:
        CurriculumError: not as many shares as views, or shares that do not add up to 1.
    """

    views: tuple[View, ...]
    shares: tuple[float, ...]
    key: tuple[int, ...] = field(default=(), compare=False)

    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.views) != len(self.shares) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise CurriculumError(
                f"Portions: needs a share for each of {len(self.views)} views, together 1; got {self.shares}"
            )

    def __call__(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Show each image of a batch [N, C, H, W] through its view, by seeds [N]."""
        check_batch(images)
        seeds = view_seeds(images, seeds, *self.key, _PORTIONS)
        ends = torch.tensor(self.shares).cumsum(0)[:-1]
        chosen = torch.bucketize(uniform(seeds, 1)[:, 0], ends, right=True)
        result = images.clone()
        for number, view in enumerate(self.views):
            if view is not identity:
                _replace(result, images, chosen == number, view, seeds)
        return result


@dataclass(frozen=True)
class ReducedShare:
    """A share of the images at a lower resolution and brought back, so that a batch stays one tensor.

    Each image is reduced with probability `share`, by a draw of its own. With exactly that share of every batch, as
    TRD's batch-wise variant has it, what an image shows would depend on the batch it comes in, and so on the number of
    processes and on the batch size.

    Attributes:
        share: the probability, in [0, 1].
        size: see `Resize`.
        interpolation: see `Resize`; used both ways.
        key: see `curriculum_zoo.views.view`; no part of what makes views equal.
    """

    share: float
    size: int | float
    interpolation: Interpolation = "bilinear"
    key: tuple[int, ...] = field(default=(), compare=False)

    draws: ClassVar[bool] = True

    def __call__(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Reduce and restore some images of a batch [N, C, H, W], by seeds [N]."""
        check_batch(images)
        seeds = view_seeds(images, seeds, *self.key, _REDUCED)
        result = images.clone()
        _replace(result, images, uniform(seeds, 1)[:, 0] < self.share, self._restored, seeds)
        return result

    def at_full_size(self, full: int) -> ReducedShare:
        """Return the same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full))

    def _restored(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        small = resampled(images, reduced_sides(images, self.size), self.interpolation)
        return resampled(small, (height, width), self.interpolation)


def _replace(result: Tensor, images: Tensor, where: Tensor, view: View, seeds: Tensor) -> None:
    """Put what a view shows of some images into their places; `where` is bool [N], on the CPU as the seeds are."""
    chosen = where.nonzero().flatten()
    if len(chosen):
        places = beside(chosen, images)
        result[places] = look(view, images[places], seeds[chosen])
