"""`ResidentLoader`: batches from images that live on the device as bytes, augmented a whole batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...draws import random_below
from ...errors import DataError
from ...recipes.augmentation import Augmentation
from ..memory import require_memory
from .loader import CHANGES, DRAWING, Batching, Loader

__all__ = ["Render", "ResidentLoader"]

Render = Callable[[Tensor, Tensor], Tensor]
"""Draws images at every load: from stored ones, uint8 [n, H, W, C], and a seed for each, int64 [n], it returns what is
seen, uint8 [n, h, w, c], of one size, on the same device.

An image is drawn from its own pixels and its own seed alone (`curriculum_zoo.draws` makes random numbers from
seeds), so that it does not depend on the batch that it comes in; and without waiting for the device.
"""

_FLIP, _CROP, _HOLE_ROW, _HOLE_COLUMN = range(4)  # which of an image's random numbers


class ResidentLoader(Loader):
    """Batches of images kept on the device as uint8, in an order and with augmentations that depend on no state.

    Args:
        images: uint8 [N, H, W, C], NumPy array or tensor. Kept as they are, without a copy, where they are on the
            device already and are neither padded nor cut into.
        labels: int64 [N].
        numbers: the images' numbers in their set, int64 [N]; 0 to N - 1 where None.
        augmentation: what is done to each image at random; nothing where None.
        render: draws each image after the augmentation; see `ImageSet`. Without `shuffle`, drawings are fixed for
            evaluation, and other epochs have others; they never coincide with those of training, with `shuffle`.
        **batching: as for `Loader`: `batch_size`, `seed`, `shuffle`, `drop_last`, `device` (where the images live),
            `rank`, `world_size`, `channels_last`, `partners`.

    Raises:
        DataError: not a single batch, a batch that the processes cannot share evenly, too little memory.
        RecipeError: the augmentation does not fit the size of the images.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8] | Tensor,
        labels: npt.NDArray[np.int64] | Tensor,
        *,
        numbers: npt.NDArray[np.int64] | Tensor | None = None,
        augmentation: Augmentation | None = None,
        render: Render | None = None,
        **batching: Unpack[Batching],
    ) -> None:
        self.augmentation = augmentation or Augmentation()
        self.render = render
        images = torch.as_tensor(images)
        if images.dtype != torch.uint8:
            raise DataError(f"Images must be uint8, from 0 to 255; got {images.dtype}.")
        shapes = tuple(images.shape), tuple(labels.shape)
        if images.dim() != 4 or shapes[1] != shapes[0][:1]:
            raise DataError(f"Images must be [N, H, W, C] and labels [N]; got {shapes[0]} and {shapes[1]}.")
        self.height, self.width, self.channels = shapes[0][1:]
        self.augmentation.check_fits((self.height, self.width))
        try:
            super().__init__(labels, numbers, **batching)
            self._images = self._resident(images)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"{len(images):,} images of {self.height} × {self.width} × {self.channels} bytes do not fit the memory "
                f"of {self.device}. Take smaller or fewer images, or another device."
            ) from error

    def sharing(self, **batching: Unpack[Batching]) -> ResidentLoader:
        """Return a loader of the same images, stored once for both, in batches of another kind.

        Args:
            **batching: as for `Loader`; the device must be the same.

        Raises:
            DataError: not a single batch, a batch that the processes cannot share evenly, another device.
        """
        other = copy.copy(self)
        Loader.__init__(other, self._labels, self.numbers, **batching)
        if other.device != self.device:
            raise DataError(f"These images lie on {self.device}, not on {other.device}. Make a loader of their own.")
        return other

    def _pixels(self, epoch: int, order: Tensor, shares: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor | None]]:
        changes = self._changes(epoch, order) if self.augmentation.any else None
        seeds = None if self.render is None else self._seeds(epoch, DRAWING)[order].to(self.device)
        # Images in their own order that stay as they are need no gathering.
        own_order = not self.shuffle and self._kept is None and changes is None
        chosen = None if own_order else order.to(self.device)
        for share in shares:
            span = self._span(share)
            picked = self._images[span] if chosen is None else self._pick(chosen[span], changes, span)
            yield self._drawn(picked, None if seeds is None else seeds[span]), None

    def _resident(self, images: Tensor) -> Tensor:
        """The images on the device; as rows of single pixels, widened by the padding, where pixels are picked singly.

        The row after the last pixel is zero: holes are picked from there.
        """
        images = images.to(self.device).contiguous()
        if not self.augmentation.any:
            return images
        pad = self.augmentation.crop_padding
        if not pad and not self.augmentation.cutout:
            return images.view(-1, self.channels)
        height, width = self.height + 2 * pad, self.width + 2 * pad
        pixels = self.count * height * width
        if self.device.type == "cpu":
            require_memory((pixels + 1) * self.channels, f"{self.count:,} training images, padded for augmentation,")
        rows = torch.zeros(pixels + 1, self.channels, dtype=torch.uint8, device=self.device)
        padded = rows[:-1].view(self.count, height, width, self.channels)
        if self.augmentation.padding == "zeros":
            padded[:, pad : pad + self.height, pad : pad + self.width] = images
        else:
            ys, xs = (_reflected(side, pad).to(self.device) for side in (self.height, self.width))
            for piece, source in zip(padded.split(1024), images.split(1024), strict=True):
                piece.copy_(source[:, ys][:, :, xs])
        return rows

    def _changes(self, epoch: int, order: Tensor) -> Tensor:
        """What each image draws in an epoch, int64 [count, 5] on the device, in the order of the epoch.

        1 where it is mirrored; by how many pixels the crop begins below the top and right of the left of the widened
        image; the row and column of the hole's first pixel, which may lie outside the image.
        """
        seeds, hole = self._seeds(epoch, CHANGES)[order], self.augmentation.cutout
        changes = torch.zeros(len(order), 5, dtype=torch.int64)
        if self.augmentation.flip:
            drawn = self._seeds(0, CHANGES)[order] if self.augmentation.flip == "alternating" else seeds
            changes[:, :1] = random_below(drawn, 2, 1, _FLIP)
        if self.augmentation.flip == "alternating":
            changes[:, :1] ^= epoch % 2
        if self.augmentation.crop_padding:
            changes[:, 1:3] = random_below(seeds, 2 * self.augmentation.crop_padding + 1, 2, _CROP)
        if hole:
            changes[:, 3:4] = random_below(seeds, self.height, 1, _HOLE_ROW) - hole // 2
            changes[:, 4:] = random_below(seeds, self.width, 1, _HOLE_COLUMN) - hole // 2
        return changes.to(self.device)

    def _pick(self, chosen: Tensor, changes: Tensor | None, span: slice) -> Tensor:
        """Images by their place in the loader, augmented as the changes of the span say: uint8 [n, H, W, C]."""
        if changes is None:
            return self._images[chosen]
        # Mirror, crop and hole only say where each pixel comes from, so one gather of single pixels does all three.
        # Measured with 128 images of 32 x 32 x 3 on one core, conversion to float included: 0.5 ms, with holes 0.8 ms.
        # Gathering rows and mirroring afterwards: 0.65 ms; holes cut into the float batch: 1.1 ms; pixels kept as four
        # bytes, one 32-bit word: 0.65 ms and a third more memory; images not padded beforehand: 0.85 ms.
        pad, hole = self.augmentation.crop_padding, self.augmentation.cutout
        flip, top, left, hole_row, hole_column = changes[span].split(1, dim=1)
        ys, xs = torch.arange(self.height, device=self.device), torch.arange(self.width, device=self.device)
        rows = ys + top
        columns = (torch.where(flip > 0, self.width - 1 - xs, xs) if self.augmentation.flip else xs) + left
        first = (chosen[:, None] * (self.height + 2 * pad) + rows) * (self.width + 2 * pad)
        source = first[:, :, None] + columns[:, None, :]
        if hole:
            inside_y = (ys >= hole_row) & (ys < hole_row + hole)
            inside_x = (xs >= hole_column) & (xs < hole_column + hole)
            source.masked_fill_(inside_y[:, :, None] & inside_x[:, None, :], len(self._images) - 1)
        picked = self._images.index_select(0, source.view(-1))
        return picked.view(len(chosen), self.height, self.width, self.channels)

    def _drawn(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        """Images as `render` draws them, where there is one: uint8 [n, h, w, c]."""
        if self.render is None or seeds is None:
            return images
        if len(images):
            return self.render(images, seeds)
        # A process's share of a last batch may be empty; a black image shows what shape an empty batch has.
        return self.render(images.new_zeros(1, *images.shape[1:]), seeds.new_zeros(1))[:0]


def _reflected(side: int, pad: int) -> Tensor:
    """Where each row of an image widened by its own reflection comes from: 2 1 0 1 2 … for a padding of 2."""
    positions = torch.arange(-pad, side + pad).abs()
    return side - 1 - (side - 1 - positions).abs()
