"""`Loader`: what all loaders share: the order of an epoch, its batches, and each process's part of them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Required, Self, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DataError
from ..seeding import derive_seed

__all__ = ["ORDER", "Batching", "Loader"]

ORDER = 0  # the random stream of an epoch that orders its images; loaders number their own from 1


class Batching(TypedDict, total=False):
    """Keywords that every loader takes; `Loader` says what they mean."""

    batch_size: Required[int]
    seed: int
    shuffle: bool
    drop_last: bool
    device: torch.device | str
    rank: int
    world_size: int
    channels_last: bool


class Loader(ABC):
    """Batches of images in an order, and with random changes, that depend on no state.

    Everything is a pure function of `seed`, the epoch and the image, so any epoch can be walked at any time, from any
    batch on. `batch_size` counts the images of all processes together: each takes its share of the same batches,
    changed the same way, so that one process and many see the same images.

    Args:
        labels: int64 [N].
        batch_size: images per update, over all processes.
        seed: decides order and changes.
        shuffle: whether each epoch has an order of its own.
        drop_last: whether to leave out the last batch where it is not full.
        device: where batches go.
        rank: number of this process.
        world_size: number of processes.
        channels_last: whether batches are laid out channels last in memory (their shape is [n, C, H, W] either way).

    Raises:
        DataError: not a single batch, or a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64] | Tensor,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        channels_last: bool = True,
    ) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.device = torch.device(device)
        self.rank = rank
        self.world_size = world_size
        self.channels_last = channels_last
        self.count = len(labels)
        """Images per epoch."""
        self._check()
        self._labels = torch.as_tensor(labels).to(self.device, torch.int64)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, this process's share of each.

        Args:
            epoch: number of the epoch, from 0.
            start: number of the batch to begin with; it and those after it are what they would have been.

        Yields:
            Images float32 [n, C, H, W] in [0, 1] and labels int64 [n], both on the device; n is the batch size over
            the number of processes, and less in a last batch that is not full.
        """

    def with_batch_size(self, batch_size: int) -> Self:
        """A loader like this one with batches of another size, on the same images.

        Order and changes of an epoch belong to the images, not to the batches, and stay the same.

        Raises:
            DataError: not a single batch, or one that the processes cannot share evenly.
        """
        other = copy.copy(self)
        other.batch_size = batch_size
        other._check()
        return other

    def _check(self) -> None:
        if self.batch_size < 1 or self.batch_size % self.world_size:
            even = max(1, round(self.batch_size / self.world_size)) * self.world_size
            raise DataError(
                f"batch_size is {self.batch_size}, which {self.world_size} process(es) cannot share evenly. "
                f"Take {even}, or another multiple of {self.world_size}."
            )
        if not self.count or (self.drop_last and self.count < self.batch_size):
            raise DataError(
                f"{self.count} training image(s) do not make one batch of {self.batch_size}. Take a batch size of at "
                f"most {self.count}, or more images."
            )

    def _order(self, epoch: int) -> Tensor:
        """The images' numbers in the order of the epoch, int64 [N] on the CPU."""
        if not self.shuffle:
            return torch.arange(self.count)
        return torch.randperm(self.count, generator=self._generator(epoch, ORDER))

    def _generator(self, epoch: int, stream: int) -> torch.Generator:
        """One of the epoch's random streams, on the CPU, where numbers do not depend on the kind of device."""
        return torch.Generator().manual_seed(derive_seed(self.seed, epoch, stream))

    def _share(self, step: int) -> slice:
        """Which part of the order is this process's in a batch."""
        first = step * self.batch_size
        size = min(self.batch_size, self.count - first)
        return slice(first + size * self.rank // self.world_size, first + size * (self.rank + 1) // self.world_size)

    def _to_float(self, pixels: Tensor) -> Tensor:
        """Bytes [n, H, W, C] to float32 [n, C, H, W] in [0, 1], on the device."""
        batch = pixels.to(self.device, non_blocking=True).float().div_(255).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()
