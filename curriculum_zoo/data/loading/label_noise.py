"""Wrong labels, put in on purpose: what curricula that choose images are tested under."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ...draws import random_below, seeds_of, uniform

__all__ = ["noisy_labels"]

_NOISE = 0x10153  # sets these draws apart from others of the same seed and numbers


def noisy_labels(
    labels: npt.NDArray[np.int64], which: npt.NDArray[np.int64], share: float, classes: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return labels of which some are wrong: symmetric noise, each other class being as likely.

    Whether an image's label is wrong, and which it then is, depends on the seed and the image's number alone.

    Args:
        labels: class numbers of all training images, int64 [N]; left as they are.
        which: numbers of the images whose labels may be wrong, those that are trained on.
        share: the probability that a label is wrong, 0 to 1.
        classes: number of classes, at least 2.
        seed: the recipe's ``data_seed``.
    """
    seeds = seeds_of(torch.from_numpy(np.ascontiguousarray(which, dtype=np.int64)), seed, _NOISE)
    wrong = (uniform(seeds, 1)[:, 0] < share).numpy()
    steps = 1 + random_below(seeds, classes - 1, 1, stream=1)[:, 0].numpy()
    noisy = labels.copy()
    noisy[which] = np.where(wrong, (labels[which] + steps) % classes, labels[which])
    return noisy
