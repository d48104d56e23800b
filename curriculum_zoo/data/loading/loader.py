"""`Loader`: what all loaders share: the order of an epoch, its batches, each process's share of them, and partners."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Required, Self, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...draws import seeds_of
from ...errors import DataError
from .batch import Batch

__all__ = ["CHANGES", "DRAWING", "ORDER", "Batching", "Loader"]

ORDER, CHANGES, DRAWING = range(3)
"""What an image draws in an epoch: its place in the order, how it is augmented, and how `Render` draws it."""

_LOADING = 0xDA7A  # sets loaders' draws apart from those that others make of the same seed, epoch and numbers


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
    partners: bool


class Loader(ABC):
    """Batches of images in an order, and with random changes, that depend on no state.

    Everything drawn for an image is a pure function of `seed`, the epoch and the image's number: which other images
    the loader has, the batch size, the number of processes and the batch to begin with do not matter. `batch_size`
    counts the images of all processes together; each takes its share of the same batches.

    With `partners`, the images at places 2k and 2k + 1 of an epoch's order are each other's partners, as the images
    that mixup and CutMix mix stand in one batch too; of an odd number of images, the last is its own. So the partner of
    an image is, in each epoch, its value under a permutation of the loader's images drawn from seed and epoch alone.

    Args:
        labels: class numbers, int64 [N].
        numbers: the images' numbers in their set, int64 [N], each at least 0; 0 to N - 1 where None.
        batch_size: images per update, over all processes.
        seed: decides order and changes.
        shuffle: whether each epoch has an order of its own, as in training. Evaluation, without it, draws from other
            random streams, so that nothing is evaluated on the very noise that it was trained on.
        drop_last: whether to leave out the last batch where it is not full.
        device: where batches go.
        rank: number of this process.
        world_size: number of processes.
        channels_last: whether batches are laid out channels last in memory (their shape is [n, C, H, W] either way).
        partners: whether batches come with a second one, of the images to mix theirs with.

    Attributes:
        count: number of images per epoch.
        numbers: the numbers of all its images, int64 [N] on the CPU; an epoch may have fewer (`choosing`).

    Raises:
        DataError: not a single batch, or a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64] | Tensor,
        numbers: npt.NDArray[np.int64] | Tensor | None = None,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        channels_last: bool = True,
        partners: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.device = torch.device(device)
        self.rank = rank
        self.world_size = world_size
        self.channels_last = channels_last
        self.partners = partners
        self.count = len(labels)
        self._kept: Tensor | None = None
        self._weights: Tensor | None = None
        self._plan: Callable[[int], tuple[int, int]] | None = None
        self._cuts: list[tuple[slice, int]] = []
        self._check_batches()
        self._labels = torch.as_tensor(labels).to("cpu", torch.int64)
        numbers = torch.arange(self.count) if numbers is None else numbers
        self.numbers = torch.as_tensor(numbers).to("cpu", torch.int64)
        if self.numbers.shape != self._labels.shape:
            raise DataError(f"There are {len(self.numbers)} numbers for {self.count} images. Give one per image.")

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        if self._plan is not None:
            return len(self._cuts)
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, this process's share of each.

        Args:
            epoch: number of the epoch, from 0.
            start: number of the batch to begin with; it and those after it are what they would have been.

        Yields:
            A batch on the device; its n is the batch size over the number of processes, and less, down to 0, in a last
            batch that is not full.
        """
        order = self._order(epoch)
        # Labels go to the device at an epoch's beginning, and numbers stay on the CPU, where draws are made from them,
        # so that no batch waits for the device.
        labels, numbers = self._labels[order].to(self.device), self.numbers[order]
        weights = None if self._weights is None else self._weights[order].to(self.device)
        shares = [self._share(step) for step in range(start, self.steps)]
        for share, (pixels, read) in zip(shares, self._pixels(epoch, order, shares), strict=True):
            yield self._batch(share, pixels, read, labels, numbers, weights)

    def with_batch_size(self, batch_size: int) -> Self:
        """Return a loader like this one with batches of another size, on the same images.

        Order and changes of an epoch belong to the images, not to the batches, and stay the same.

        Raises:
            DataError: not a single batch, or one that the processes cannot share evenly.
        """
        other = copy.copy(self)
        other.batch_size = batch_size
        other._check_batches()
        return other

    def with_plan(self, plan: Callable[[int], tuple[int, int]]) -> Self:
        """Return a loader like this one whose batches have sizes of their own, equal on all processes.

        Args:
            plan: from the number of a batch to its number of images, and the side in pixels that they are read at,
                where images are read at any.

        Raises:
            DataError: not a single batch.
        """
        other = copy.copy(self)
        other._plan = plan
        other._cut()
        return other

    @property
    def sizes(self) -> list[int]:
        """Images of each batch of an epoch, over all processes."""
        if self._plan is not None:
            return [places.stop - places.start for places, _ in self._cuts]
        return [min(self.batch_size, self.count - step * self.batch_size) for step in range(self.steps)]

    def choosing(self, kept: Tensor, weights: Tensor | None = None) -> Self:
        """Return a loader like this one of some of the images, which keep their order and their changes.

        Args:
            kept: which of the images, bool [N] in the order of `numbers`.
            weights: what the batches say of each image's weight in the loss, float32 [N]; None for none.

        Raises:
            DataError: the images do not make one batch.
        """
        other = copy.copy(self)
        other.count, other._kept, other._weights = int(kept.sum()), kept, weights
        other._check_batches()
        other._cut()
        return other

    def whole(self) -> Self:
        """Return a loader like this one that leaves out no image, not even those of a last batch that is not full."""
        other = copy.copy(self)
        other.count, other.drop_last = len(self.numbers), False
        other._kept = other._weights = other._plan = None
        return other

    def with_pixels(self, pixels: int) -> Self:
        """Return a loader like this one for square images of another side, where they are read at any.

        Images that are stored at one size come at that size: the loader itself is returned.

        Args:
            pixels: side of the images in a batch.
        """
        return self

    @abstractmethod
    def _pixels(self, epoch: int, order: Tensor, shares: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the pixels of each share of an epoch, with those of its partners.

        Args:
            epoch: number of the epoch.
            order: the images of the epoch by their place in the loader, int64 [count] on the CPU.
            shares: places in the order.

        Yields:
            Bytes [m, H, W, C] on the device of the images at the places `_span(share)`; and which of these could be
            read, int64 [m] on the CPU, counted from the first of them; None for all of them.
        """

    def _check_batches(self) -> None:
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

    def _cut(self) -> None:
        """Cut an epoch into batches by the plan, where there is one."""
        if self._plan is None:
            return
        self._cuts, first = [], 0
        while first < self.count:
            size, side = self._plan(len(self._cuts))
            if first + size > self.count and self.drop_last:
                break
            self._cuts.append((slice(first, min(self.count, first + size)), side))
            first += size
        if not self._cuts:
            raise DataError(
                f"{self.count} training image(s) do not make one batch of {size}. Take a smaller batch size."
            )

    def _seeds(self, epoch: int, purpose: int) -> Tensor:
        """Seeds of what each image draws in an epoch for one purpose, int64 [N] on the CPU, in the loader's order."""
        return seeds_of(self.numbers, self.seed, epoch, _LOADING, purpose, self.shuffle)

    def _order(self, epoch: int) -> Tensor:
        """The images in the order of an epoch, by their place in the loader: int64 [count] on the CPU."""
        if self.shuffle:
            order = torch.argsort(self._seeds(epoch, ORDER), stable=True)
        else:
            order = torch.arange(len(self.numbers))
        return order if self._kept is None else order[self._kept[order]]

    def _share(self, step: int) -> slice:
        """The places in the order of an epoch that are this process's in a batch."""
        first = self._cuts[step][0].start if self._plan is not None else step * self.batch_size
        end = self._cuts[step][0].stop if self._plan is not None else first + self.batch_size
        size = min(end, self.count) - first
        return slice(first + size * self.rank // self.world_size, first + size * (self.rank + 1) // self.world_size)

    def _span(self, share: slice) -> slice:
        """The places whose images a share needs: its own and those of its partners, which stand next to them."""
        if not self.partners or share.start == share.stop:
            return share
        return slice(share.start - share.start % 2, min(self.count, share.stop + share.stop % 2))

    def _batch(
        self,
        share: slice,
        pixels: Tensor,
        read: Tensor | None,
        labels: Tensor,
        numbers: Tensor,
        weights: Tensor | None,
    ) -> Batch:
        """The batch of a share, from the pixels of its span; all else, [count], is in the order of the epoch."""
        if read is None and not self.partners:
            weighed = None if weights is None else weights[share]
            return Batch(self._to_float(pixels), labels[share], numbers[share], weights=weighed)
        span = self._span(share)
        rows = torch.arange(span.stop - span.start)  # of the pixels, by place in the span
        places = torch.arange(share.start, share.stop)
        if read is not None:
            rows = torch.full((len(rows),), -1).index_copy(0, read, torch.arange(len(read)))
            places = places[rows[places - span.start] >= 0]

        def at(places: Tensor) -> Batch:
            picked, placed = (some.to(self.device, non_blocking=True) for some in (rows[places - span.start], places))
            weighed = None if weights is None else weights[placed]
            return Batch(self._to_float(pixels[picked]), labels[placed], numbers[places], weights=weighed)

        if not self.partners:
            return at(places)
        partners = (places ^ 1).clamp_(max=self.count - 1)
        # Left alone rather than mixed: whether another image can be read does not decide whether this one is seen.
        partners = torch.where(rows[partners - span.start] < 0, places, partners)
        return at(places)._replace(partners=at(partners))

    def _to_float(self, pixels: Tensor) -> Tensor:
        """Bytes [n, H, W, C] to float32 [n, C, H, W] in [0, 1], on the device."""
        batch = pixels.float().div_(255).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()
