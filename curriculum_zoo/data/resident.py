"""`ResidentLoader`: batches from images that live on the device as bytes, augmented a whole batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DataError
from ..seeding import derive_seed
from .augmentation import Augmentation
from .draws import image_seeds
from .image_set import Render
from .memory import require_memory

__all__ = ["ResidentLoader"]

_ORDER, _DRAWS, _SHUFFLED, _IN_ORDER = range(4)  # which of an epoch's random streams


class ResidentLoader:
    """Batches of images kept on the device as uint8, in an order and with augmentations that depend on no state.

    The order of an epoch and what is done to each of its images are pure functions of `seed` and the epoch, so any
    epoch can be walked at any time, from any batch on. `batch_size` counts the images of all processes together: each
    takes its share of the same batches, augmented the same way, so that one process and many see the same images.

    Args:
        images: uint8 [N, H, W, C], NumPy array or tensor. Kept as they are, without a copy, where they are on the
            device already and are neither padded nor cut into.
        labels: int64 [N].
        batch_size: images per update, over all processes.
        augmentation: what is done to each image at random; nothing where None.
        seed: decides order and augmentation.
        shuffle: whether each epoch has an order of its own.
        drop_last: whether to leave out the last batch where it is not full.
        device: where the images live and the batches are made.
        rank: number of this process.
        world_size: number of processes.
        channels_last: whether batches are laid out channels last in memory (their shape is [n, C, H, W] either way).
        render: draws each image anew, after the augmentation; see `ImageSet`. Drawings are pure functions of `seed`,
            the epoch and the place in its order, whatever the batch size; without `shuffle`, of `seed`, the epoch and
            the image: fixed for evaluation, with other drawings to be had as other epochs. The two never coincide.

    Raises:
        DataError: not a single batch, a batch that the processes cannot share evenly, too little memory.
        RecipeError: the augmentation does not fit the size of the images.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8] | Tensor,
        labels: npt.NDArray[np.int64] | Tensor,
        *,
        batch_size: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        channels_last: bool = True,
        render: Render | None = None,
    ) -> None:
        self.augmentation = augmentation or Augmentation()
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.device = torch.device(device)
        self.rank = rank
        self.world_size = world_size
        self.channels_last = channels_last
        self.render = render
        images, labels = torch.as_tensor(images), torch.as_tensor(labels)
        if images.dtype != torch.uint8:
            raise DataError(f"Images must be uint8, from 0 to 255; got {images.dtype}.")
        self._check(tuple(images.shape), tuple(labels.shape))
        self.count, self.height, self.width, self.channels = (int(side) for side in images.shape)
        self.augmentation.check_fits((self.height, self.width))
        try:
            self._labels = labels.to(self.device, torch.int64)
            self._images = self._resident(images)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"{self.count:,} images of {self.height} × {self.width} × {self.channels} bytes do not fit the memory "
                f"of {self.device}. Take smaller or fewer images, or another device."
            ) from error

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, this process's share of each.

        Args:
            epoch: number of the epoch, from 0.
            start: number of the batch to begin with; it and those after it are what they would have been.

        Yields:
            Images float32 [n, C, H, W] in [0, 1] and labels int64 [n], both on the device; n is the batch size over
            the number of processes, and less in a last batch that is not full.
        """
        order = self._order(epoch)
        draws = self._draws(epoch)
        seeds = self._seeds(epoch)
        for step in range(start, self.steps):
            first = step * self.batch_size
            size = min(self.batch_size, self.count - first)
            mine = slice(first + size * self.rank // self.world_size, first + size * (self.rank + 1) // self.world_size)
            chosen = mine if order is None else order[mine]
            images = self._pick(chosen, None if draws is None else draws[mine])
            drawn = self._drawn(images, None if seeds is None else seeds[mine])
            yield self._to_float(drawn), self._labels[chosen]

    def with_batch_size(self, batch_size: int) -> ResidentLoader:
        """A loader like this one with batches of another size, on the same images in the same memory.

        Order and draws of an epoch belong to the images, not to the batches, and stay the same.

        Raises:
            DataError: not a single batch, or one that the processes cannot share evenly.
        """
        other = copy.copy(self)
        other.batch_size = batch_size
        other._check((self.count, self.height, self.width, self.channels), (self.count,))
        return other

    def _check(self, images: tuple[int, ...], labels: tuple[int, ...]) -> None:
        if len(images) != 4 or labels != images[:1]:
            raise DataError(f"Images must be [N, H, W, C] and labels [N]; got {images} and {labels}.")
        if self.batch_size < 1 or self.batch_size % self.world_size:
            even = max(1, round(self.batch_size / self.world_size)) * self.world_size
            raise DataError(
                f"batch_size is {self.batch_size}, which {self.world_size} process(es) cannot share evenly. "
                f"Take {even}, or another multiple of {self.world_size}."
            )
        if not images[0] or (self.drop_last and images[0] < self.batch_size):
            raise DataError(
                f"{images[0]} training image(s) do not make one batch of {self.batch_size}. Take a batch size of at "
                f"most {images[0]}, or more images."
            )

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

    def _order(self, epoch: int) -> Tensor | None:
        """The images' numbers in the order of the epoch; None for as they are stored."""
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, _ORDER))
            return torch.randperm(self.count, generator=generator).to(self.device)
        return torch.arange(self.count, device=self.device) if self.augmentation.any else None

    def _draws(self, epoch: int) -> Tensor | None:
        """Five uniform numbers for each place in the epoch's order, [N, 5]: flip, crop y and x, hole y and x.

        Drawn on the CPU, where the numbers do not depend on the kind of device, and moved at once, so that no batch
        waits for a transfer. All five are drawn whatever the augmentation, so that a hole more leaves the crops alone.
        """
        if not self.augmentation.any:
            return None
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, _DRAWS))
        return torch.rand(self.count, 5, generator=generator).to(self.device)

    def _seeds(self, epoch: int) -> Tensor | None:
        """Seeds of the drawings, one for each place in the epoch's order."""
        if self.render is None:
            return None
        # Streams of their own, so that nothing is evaluated on the very noise that it was trained on.
        return image_seeds(self.count, self.seed, epoch, _SHUFFLED if self.shuffle else _IN_ORDER).to(self.device)

    def _pick(self, chosen: Tensor | slice, draws: Tensor | None) -> Tensor:
        """Images by number, augmented as the draws say: uint8 [n, H, W, C]."""
        if draws is None or isinstance(chosen, slice):
            return self._images[chosen]
        # Mirror, crop and hole only say where each pixel comes from, so one gather of single pixels does all three.
        # Measured with 128 images of 32 x 32 x 3 on one core, conversion to float included: 0.5 ms, with holes 0.8 ms.
        # Gathering rows and mirroring afterwards: 0.65 ms; holes cut into the float batch: 1.1 ms; pixels kept as four
        # bytes, one 32-bit word: 0.65 ms and a third more memory; images not padded beforehand: 0.85 ms.
        pad, hole = self.augmentation.crop_padding, self.augmentation.cutout
        flips, shifts, centres = draws[:, :1] < 0.5, draws[:, 1:3], draws[:, 3:]
        ys, xs = torch.arange(self.height, device=self.device), torch.arange(self.width, device=self.device)
        offsets = (shifts * (2 * pad + 1)).long()
        rows = ys + offsets[:, :1]
        columns = (torch.where(flips, self.width - 1 - xs, xs) if self.augmentation.flip else xs) + offsets[:, 1:]
        first = (chosen[:, None] * (self.height + 2 * pad) + rows) * (self.width + 2 * pad)
        source = first[:, :, None] + columns[:, None, :]
        if hole:
            top = (centres[:, :1] * self.height).long() - hole // 2
            left = (centres[:, 1:] * self.width).long() - hole // 2
            inside_y, inside_x = (ys >= top) & (ys < top + hole), (xs >= left) & (xs < left + hole)
            source.masked_fill_(inside_y[:, :, None] & inside_x[:, None, :], len(self._images) - 1)
        picked = self._images.index_select(0, source.view(-1))
        return picked.view(len(draws), self.height, self.width, self.channels)

    def _drawn(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        """Images as `render` draws them, where there is one: uint8 [n, h, w, c]."""
        if self.render is None or seeds is None:
            return images
        if len(images):
            return self.render(images, seeds)
        # A process's share of a last batch may be empty; a black image tells of what shape nothing is.
        return self.render(images.new_zeros(1, *images.shape[1:]), seeds.new_zeros(1))[:0]

    def _to_float(self, images: Tensor) -> Tensor:
        """Bytes [n, H, W, C] to float32 [n, C, H, W] in [0, 1]."""
        batch = images.float().div_(255).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()


def _reflected(side: int, pad: int) -> Tensor:
    """Where each row of an image widened by its own reflection comes from: 2 1 0 1 2 … for a padding of 2."""
    positions = torch.arange(-pad, side + pad).abs()
    return side - 1 - (side - 1 - positions).abs()
