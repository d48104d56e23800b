"""What a trained network confuses with what: its confusion matrix, and the mistakes that it is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .calibration import Calibration, calibration_of
from .metrics import Scores, collect, score
from .setup import EvaluationSetup
from .traversal import traversed

__all__ = ["Confusion", "Examination", "Mistake", "confusion_matrix", "examine"]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another one.

    Attributes:
        label: index of the true class.
        predicted: index of the class that they were taken for.
        images: how many.
        share: of the true class's images, 0 to 1.
    """

    label: int
    predicted: int
    images: int
    share: float


@dataclass(frozen=True, eq=False)
class Mistake:
    """An image that was classified wrong.

    Attributes:
        number: of the image within its part of the data set.
        label: index of the true class.
        predicted: index of the class that it was taken for.
        confidence: probability of that class, 0 to 1.
        true_probability: probability of the true class.
        image: [C, H, W] in [0, 1], as it was shown to the network, on the CPU.
    """

    number: int
    label: int
    predicted: int
    confidence: float
    true_probability: float
    image: Tensor


@dataclass(frozen=True, eq=False)
class Examination:
    """What a trained network made of each of a data set's images.

    Attributes:
        classes: names of the classes.
        scores: accuracy and loss.
        matrix: images by true class (row) and predicted class (column), int64 [classes, classes].
        calibration: how far its confidence can be relied on.
        mistakes: those of the highest confidence, surest first.
    """

    classes: tuple[str, ...]
    scores: Scores
    matrix: Tensor
    calibration: Calibration
    mistakes: tuple[Mistake, ...]

    def confusions(self, count: int = 10) -> list[Confusion]:
        """Return the pairs of classes that are confused most often, in images; the most frequent first.

        Args:
            count: how many pairs, at most.
        """
        wrong = self.matrix.clone().fill_diagonal_(0)
        totals = self.matrix.sum(1)
        best = wrong.flatten().topk(min(count, wrong.numel()))
        pairs = (divmod(place, len(wrong)) for place in best.indices.tolist())
        return [
            Confusion(label, predicted, images, images / int(totals[label]))
            for (label, predicted), images in zip(pairs, best.values.tolist(), strict=True)
            if images
        ]


def examine(setup: EvaluationSetup, *, mistakes: int = 12) -> Examination:
    """Examine a network's answers to the images of a setup, at the size that it was trained for.

    Args:
        setup: the network with the images.
        mistakes: how many mistakes to keep the images of.
    """
    network = traversed(setup.trained, None, None)
    logits, labels = collect(network, setup.batches(setup.side), device=setup.trained.device, seed=setup.seed)
    probabilities = logits.double().softmax(1)
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero().flatten()
    surest = wrong[confidence[wrong].sort(descending=True, stable=True).indices[:mistakes]].tolist()
    images = _images_at(setup, surest)
    return Examination(
        classes=setup.supply.images.classes,
        scores=score(logits, labels),
        matrix=confusion_matrix(predicted, labels, logits.shape[1]),
        calibration=calibration_of(confidence, predicted == labels),
        mistakes=tuple(
            Mistake(
                number=images[place][0],
                label=int(labels[place]),
                predicted=int(predicted[place]),
                confidence=float(confidence[place]),
                true_probability=float(probabilities[place, labels[place]]),
                image=images[place][1],
            )
            for place in surest
        ),
    )


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many images of each class (row) were taken for each class (column), int64 [classes, classes].

    Args:
        predicted: class indices [N].
        labels: true class indices [N].
        classes: how many classes there are.
    """
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def _images_at(setup: EvaluationSetup, places: Sequence[int]) -> dict[int, tuple[int, Tensor]]:
    """Number and pixels of the images at some places in the order in which the setup shows them."""
    wanted, found, start = set(places), {}, 0
    for shown in setup.shown(setup.side):
        for place in sorted(place for place in wanted if start <= place < start + len(shown.images)):
            found[place] = (int(shown.numbers[place - start]), shown.images[place - start].float().cpu())
        start += len(shown.images)
        if len(found) == len(wanted):
            break
    return found
