"""Cut-outs at random places: smaller images at their full resolution, where `Resize` makes whole ones coarser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..draws import uniform
from ..errors import CurriculumError
from .image_batches import check_batch
from .resizing import reduced_sides
from .view import pixels, view_seeds

__all__ = ["RandomCrop"]


@dataclass(frozen=True)
class RandomCrop:
    """A cut-out of each image, at a place drawn for it.

    Attributes:
        size: the short side: in pixels where an integer, as a share of the image's own where a float. The long side
            keeps its proportion to it. Images that are no larger are returned as they are.
        multiple: see `pixels`.
        key: what the draws depend on beside the image: the curriculum's seed and the epoch.
    """

    size: int | float
    multiple: int = 1
    key: tuple[int, ...] = field(default=(0,), compare=False)
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size <= 0 or (isinstance(self.size, float) and self.size > 1):
            raise CurriculumError(f"RandomCrop: size must be pixels from 1 on or a share up to 1.0, got {self.size}")

    def __call__(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Cut a batch [N, C, H, W] with seeds [N]."""
        check_batch(images)
        height, width = reduced_sides(images, self.size, self.multiple)
        if (height, width) == images.shape[2:]:
            return images
        # Two numbers an image, drawn on the CPU, so that a copy to the device is all that happens there.
        lots = uniform(view_seeds(images, seeds, *self.key), 2)
        room = torch.tensor([images.shape[2] - height + 1, images.shape[3] - width + 1])
        top, left = (lots * room).long().to(images.device, non_blocking=True).unbind(1)
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        which = torch.arange(len(images), device=images.device)
        cut = images.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
        cut = cut.permute(0, 3, 1, 2)
        return cut if images.is_contiguous(memory_format=torch.channels_last) else cut.contiguous()

    def at_full_size(self, full: int) -> RandomCrop:
        """Return the same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full, self.multiple))
