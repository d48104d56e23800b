"""Random streams of training: what is drawn for an image beyond its loading, each apart from all others.

A draw is `curriculum_zoo.draws.seeds_of` of the image's number, the recipe's seed, the epoch, and one of these. Loaders
number theirs for themselves (`curriculum_zoo.data.loading.loader`).
"""

from __future__ import annotations

from torch import Tensor

from ..draws import seeds_of

__all__ = ["AUGMENTATION", "MIXING", "VIEW", "image_seeds"]

_TRAINING = 0x7EA1  # sets these apart from what others draw from the same seed, epoch and numbers

AUGMENTATION, VIEW, MIXING = range(3)
"""Of random augmentation (`Stage.augment_strength`), of a view that draws, and of mixup and CutMix."""


def image_seeds(numbers: Tensor, seed: int, epoch: int, stream: int) -> Tensor:
    """Return a seed per image for one purpose, int64 [n] beside the numbers.

    Args:
        numbers: the images' numbers in their set, int64 [n].
        seed: the recipe's.
        epoch: number of the epoch.
        stream: what is drawn: `AUGMENTATION`, `VIEW` or `MIXING`.
    """
    return seeds_of(numbers, seed, epoch, _TRAINING, stream)
