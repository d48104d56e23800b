"""The loaders of a run: training images by stage, validation and test images, and the batches of a calibration."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..curricula import Stage
from ..data import Batch, LoaderFactory
from ..data.loading.loader import Loader
from ..recipes import Recipe

__all__ = ["RunLoaders", "batch_grain"]

Indices = npt.NDArray[np.int64]
Which = Literal["train", "calibration", "validation", "test"]

GRAIN = 8  # a scaled batch is a multiple of an eighth of the recipe's


class RunLoaders:
    """Gives out the images of a run, in batches on its device; images in memory are laid there once.

    Args:
        recipe: says batch size, augmentation and seed.
        factory: makes loaders of the data set.
        train_indices: numbers of the images that are trained on.
        validation_indices: numbers of the training images that are held out.
        accelerator: Accelerate's; says which of how many processes this one is.
    """

    def __init__(
        self,
        recipe: Recipe,
        factory: LoaderFactory,
        train_indices: Indices,
        validation_indices: Indices,
        accelerator: Any,
    ) -> None:
        self.factory = factory
        self._recipe = recipe
        self._indices = {"train": train_indices, "calibration": train_indices, "validation": validation_indices}
        self._accelerator = accelerator
        self._full_side = factory.images.image_size[0]
        self._loaders: dict[Which, Loader] = {}

    def training(self, stage: Stage) -> Loader:
        """Return the loader of shuffled, augmented training images at a stage's batch size, and its side where it can.

        Raises:
            DataError: fewer images than a batch, or a batch that the processes cannot share evenly.
        """
        loader = self._loader("train").with_pixels(stage.decoded_pixels(self._full_side))
        batch_size, _ = self.scaled_batch(stage)
        if stage.batch_sizes is not None:
            return loader.with_plan(functools.partial(self._batch, stage))
        return loader if batch_size == loader.batch_size else loader.with_batch_size(batch_size)

    def _batch(self, stage: Stage, step: int) -> tuple[int, int]:
        """Images of one batch of a stage whose batches differ, and the side that they are decoded at."""
        here = stage.at_step(step)
        return self.scaled_batch(here)[0], here.decoded_pixels(self._full_side)

    def scaled_batch(self, stage: Stage) -> tuple[int, float]:
        """Return a stage's batch size over all processes, and what learning rates are multiplied by."""
        return stage.scaled_batch(self._recipe.batch_size, self._full_side, batch_grain(self._recipe))

    def validation(self) -> Iterator[Batch] | None:
        """Return the batches of held-out images; None where the recipe holds out none."""
        return self._loader("validation").batches(0) if len(self._indices["validation"]) else None

    def test(self) -> Iterator[Batch]:
        """Return the batches of test images."""
        return self._loader("test").batches(0)

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield a few batches of training images at full resolution, augmented as in training, the same each time.

        Statistics of images that are not augmented would not fit: without the black borders of random crops a
        ResNet-20 lost three points on CIFAR-10.

        Args:
            count: number of batches, at most.

        Yields:
            Images float32 [n, C, H, W] in [0, 1].
        """
        batches = self._loader("calibration").batches(0)
        for _, batch in zip(range(count), batches, strict=False):
            yield batch.images

    def close(self) -> None:
        """Give back memory and worker processes."""
        self._loaders.clear()
        self.factory.close()

    def _loader(self, which: Which) -> Loader:
        if which not in self._loaders:
            training = which in ("train", "calibration")
            # All processes calibrate on the same images, so that they go on with the same network.
            processes, rank = self._accelerator.num_processes, self._accelerator.process_index
            processes, rank = (1, 0) if which == "calibration" else (processes, rank)
            part: Indices | Literal["test"] = "test" if which == "test" else self._indices[which]
            count = len(self.factory.images.test_labels) if isinstance(part, str) else len(part)
            self._loaders[which] = self.factory.loader(
                part,
                training=training,
                batch_size=self._batch_size(which, count, processes),
                # Images that are drawn at every load are drawn alike in the evaluations of all runs.
                seed=self._recipe.seed if training else 0,
                drop_last=training,
                rank=rank,
                world_size=processes,
                partners=which == "train" and self._recipe.mixing.active,
            )
        return self._loaders[which]

    def _batch_size(self, which: Which, images: int, processes: int) -> int:
        """Images at a time: the recipe's number in training, a larger one where memory needs no gradients."""
        if which == "train":
            return self._recipe.batch_size
        most = min(max(self._recipe.batch_size, 256), images)
        return -(-most // processes) * processes


def batch_grain(recipe: Recipe) -> int:
    """Return what scaled batch sizes are multiples of, so that accumulation and processes can share them.

    That is a multiple of ``accumulation`` and of an eighth of the batch size, where that is whole: processes that share
    the recipe's batches by at least eight images each share the scaled ones too. It does not depend on how many there
    are, so that one process and many see the same batches.
    """
    return math.lcm(recipe.accumulation, recipe.batch_size // math.gcd(recipe.batch_size, GRAIN))
