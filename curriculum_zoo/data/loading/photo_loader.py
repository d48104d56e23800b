"""`PhotoLoader`: batches of images that worker processes read from their files, at the resolution that a stage wants.

A loader turns an epoch into a list of requests, one per batch: which images, their random seeds, and the side in
pixels. A `WorkerPool` carries them out in order and returns the pixels. Since the resolution travels with each request,
the same processes serve all stages of a curriculum, training and evaluation, and never restart.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Literal, Self, Unpack

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...errors import DataError
from .loader import CHANGES, Batching, Loader
from .worker_pool import ReadRequest, ReadResult, WorkerPool

__all__ = ["PhotoLoader"]

Labels = npt.NDArray[np.int64]


class PhotoLoader(Loader):
    """Batches of images that are decoded when they are needed, at any resolution.

    An image's crop and colours in an epoch are the same at every resolution. Loaders that share a pool must be walked
    one after the other: beginning an epoch of one ends that of another.

    Args:
        pool: the processes that read the images.
        indices: where the images stand in the pool's source, int64 [N].
        labels: class numbers, int64 [N].
        numbers: the images' numbers in their set, int64 [N]; 0 to N - 1 where None.
        training: whether images go through the pool's training transform, or through that of evaluation.
        pixels: side of the square images in a batch.
        on_bad_image: ``raise`` for an error, or ``skip`` to leave out images that cannot be read: their batch is
            smaller by as many, and an image whose partner is one of them is its own partner.
        **batching: as for `Loader`: `batch_size`, `seed`, `shuffle`, `drop_last`, `device`, `rank`, `world_size`,
            `channels_last`, `partners`.

    Attributes:
        skipped: reasons why images were left out so far, keyed by the images' names.

    Raises:
        DataError: not a single batch, or a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        pool: WorkerPool,
        indices: Labels,
        labels: Labels,
        *,
        numbers: Labels | None = None,
        training: bool,
        pixels: int,
        on_bad_image: Literal["raise", "skip"] = "raise",
        **batching: Unpack[Batching],
    ) -> None:
        super().__init__(labels, numbers, **batching)
        self.pool = pool
        self.training = training
        self.pixels = pixels
        self.on_bad_image = on_bad_image
        self.skipped: dict[str, str] = {}
        self._indices = np.ascontiguousarray(indices, dtype=np.int64)

    def with_pixels(self, pixels: int) -> Self:
        """Return a loader like this one for square images of another side, read by the same processes."""
        other = copy.copy(self)
        other.pixels = pixels
        return other

    def _pixels(self, epoch: int, order: Tensor, shares: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """As for `Loader`.

        Raises:
            DataError: an image cannot be read; or none of a batch, where such are left out.
            RecipeError: the recipe's own pipeline fails on an image.
            TrainingError: a worker process died, or what reads an image failed.
        """
        indices = self._indices[order.numpy()]
        seeds = self._seeds(epoch, CHANGES)[order].numpy().view(np.uint64)  # generators take no negative seeds
        spans = [self._span(share) for share in shares]
        # Shares are those of an epoch's last batches: all of them, or from a batch in its middle on.
        sides = [side for _, side in self._cuts][-len(shares) :] if self._plan else [self.pixels] * len(shares)
        requests = (
            ReadRequest(indices[span], seeds[span], self.training, side)
            for span, side in zip(spans, sides, strict=True)
        )
        for share, span, result in zip(shares, spans, self.pool.results(requests), strict=True):
            self._accept(result, share.start - span.start, share.stop - span.start)
            yield result.pixels.to(self.device, non_blocking=True), result.read if result.failures else None

    def _accept(self, result: ReadResult, first: int, end: int) -> None:
        """Raise what is wrong, and note what is left out; the batch's own images stand from `first` to before `end`."""
        if result.fatal is not None:
            raise result.fatal
        if not result.failures:
            return
        why = next(iter(result.failures.values()))
        if self.on_bad_image == "raise":
            raise DataError(f"{why} To leave out what cannot be read: photos.on_bad_image=skip.")
        self.skipped.update(result.failures)
        if not ((result.read >= first) & (result.read < end)).any():
            raise DataError(f"None of the {end - first} images of a batch can be read. The first: {why}")
