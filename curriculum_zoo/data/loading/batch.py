"""`Batch`: what loaders yield."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """Images on the device, with what belongs to each of them.

    Attributes:
        images: float32 [n, C, H, W] in [0, 1].
        labels: class numbers, int64 [n].
        numbers: the images' numbers in their set (of training or of test images), int64 [n] on the CPU, where
            `curriculum_zoo.draws.seeds_of` makes whatever is drawn for an image without waiting for the device.
        partners: the images that these are mixed with, one for each, from anywhere in the training set, themselves
            augmented as in this epoch; None where nothing is mixed.
        weights: what the images' losses are multiplied by, float32 [n] on the device; None for 1.
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor
    partners: Batch | None = None
    weights: Tensor | None = None
