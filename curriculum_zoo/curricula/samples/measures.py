"""How hard an image is for a network: `difficulty`, from its logits. Higher is harder, for every measure.

Sources: Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet" (NeurIPS 2021), section 2, for EL2N; Toneva et al.,
"An Empirical Study of Example Forgetting during Deep Neural Network Learning" (ICLR 2019), section 3, for forgetting.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MEASURES", "Measure", "difficulty", "forgotten"]

Measure = Literal["loss", "margin", "el2n", "forgetting"]
"""``loss``: cross entropy, in nats. ``margin``: the largest probability of a wrong class minus that of the right one,
in [-1, 1]. ``el2n``: the Euclidean norm of probabilities minus the one-hot label, in [0, √2]. ``forgetting``: how often
the image was classified right and at the next sight wrong; infinite for an image that was never right."""

MEASURES: tuple[Measure, ...] = get_args(Measure)


def difficulty(measure: Measure, logits: Tensor, labels: Tensor) -> Tensor:
    """Return how hard each image is for the network, without gradient and without waiting for the device.

    Args:
        measure: which measure. ``forgetting`` counts over several sights, so of one sight it is whether the image was
            classified right, 0 or 1, from which `forgotten` counts.
        logits: [n, classes].
        labels: class numbers, int64 [n].

    Returns:
        float32 [n] on the logits' device.
    """
    logits = logits.detach().float()
    if measure == "loss":
        return F.cross_entropy(logits, labels, reduction="none")
    if measure == "forgetting":
        return (logits.argmax(1) == labels).float()
    probabilities = logits.softmax(1)
    right = F.one_hot(labels, logits.shape[1]).bool()
    if measure == "el2n":
        return (probabilities - right.float()).norm(dim=1)
    own = probabilities.masked_fill(~right, 0).sum(1)
    return probabilities.masked_fill(right, 0).amax(1) - own


def forgotten(count: Tensor, was_right: Tensor, is_right: Tensor) -> Tensor:
    """Return the counts of forgetting events after one more sight of some images.

    Args:
        count: so far, float32 [n]: NaN before the first sight, infinite while an image was never right.
        was_right: 1 where the last sight was right, 0 where it was wrong, NaN before the first, float32 [n].
        is_right: the same of this sight; NaN for images that are not seen.
    """
    unlearnt = count.isnan() | count.isinf()
    first = torch.where(is_right > 0, torch.zeros_like(count), torch.full_like(count, torch.inf))
    later = count + ((was_right > 0) & (is_right == 0)).float()
    return torch.where(is_right.isnan(), count, torch.where(unlearnt, first, later))
