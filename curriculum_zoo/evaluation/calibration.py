"""Whether a network's confidence can be relied on: reliability bins, and accuracy against coverage.

Sources: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 2, for reliability diagrams and the
expected calibration error; Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks" (NeurIPS 2017) for
abstention: a network that answers only where it is confident enough covers fewer images and errs less on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["BINS", "Calibration", "Coverage", "ReliabilityBin", "calibration_of", "coverage_of", "expected_error",
           "reliability_bins"]  # fmt: skip

BINS = 15
"""Bins of equal width, as Guo et al. have them."""

POINTS = 100
"""Points that a curve of accuracy against coverage is kept with; its area is taken over all images."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence lies in (low, high]; the first bin holds confidence 0 too.

    Attributes:
        low: lower end of confidence, 0 to 1.
        high: upper end.
        images: how many predictions fall into the bin.
        confidence: their mean confidence; None of an empty bin.
        accuracy: share of them that is right, 0 to 1; None of an empty bin.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Coverage:
    """Accuracy on the images that a network is most confident about, as more and more of them are covered.

    Attributes:
        coverage: shares of the images that are answered, rising to 1.
        accuracy: accuracy on those, 0 to 1.
        area: under the whole curve: the mean of the accuracies on the 1, 2, …, n most confident images. One less it is
            the area under the risk-coverage curve (AURC). Where confidences are equal it is the mean over all orders.
    """

    coverage: tuple[float, ...]
    accuracy: tuple[float, ...]
    area: float


@dataclass(frozen=True)
class Calibration:
    """How far a network's confidence, the probability of its most probable class, can be relied on.

    Attributes:
        bins: reliability bins of equal width.
        expected_calibration_error: mean gap between confidence and accuracy over the bins, each weighted by its share
            of the predictions, 0 to 1 (Guo et al. 2017, eq. 3).
        coverage: accuracy against coverage.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_calibration_error: float
    coverage: Coverage

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def calibration_of(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> Calibration:
    """Return reliability bins, expected calibration error, and accuracy against coverage.

    Args:
        confidence: of each prediction [N], 0 to 1, on the CPU.
        right: whether it is right, bool [N].
        bins: how many bins of equal width.

    Raises:
        DataError: there is no prediction, or no bin.
    """
    found = reliability_bins(confidence, right, bins=bins)
    return Calibration(found, expected_error(found), coverage_of(confidence, right))


def reliability_bins(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the bins (0, 1/bins], …, (1 - 1/bins, 1] of confidence, empty ones too.

    Args:
        confidence: of each prediction [N], 0 to 1, on the CPU.
        right: whether it is right, bool [N].
        bins: how many.

    Raises:
        DataError: there is no prediction, or no bin.
    """
    _check(confidence, right)
    if bins < 1:
        raise DataError(f"Confidence must be put into one bin at least, got bins={bins}.")
    confidence = confidence.double()
    places = (confidence * bins).ceil().long().clamp(1, bins) - 1
    counts = torch.bincount(places, minlength=bins).tolist()
    confidences = torch.bincount(places, weights=confidence, minlength=bins).tolist()
    rights = torch.bincount(places, weights=right.double(), minlength=bins).tolist()
    return tuple(
        ReliabilityBin(
            low=place / bins,
            high=(place + 1) / bins,
            images=count,
            confidence=confidences[place] / count if count else None,
            accuracy=rights[place] / count if count else None,
        )
        for place, count in enumerate(counts)
    )


def expected_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error: the bins' gaps of confidence and accuracy, weighted by their images."""
    images = sum(each.images for each in bins)
    gaps = (
        each.images * abs(each.confidence - each.accuracy)
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    )
    return sum(gaps) / images


def coverage_of(confidence: Tensor, right: Tensor, *, points: int = POINTS) -> Coverage:
    """Return accuracy against coverage.

    Args:
        confidence: of each prediction [N], 0 to 1, on the CPU.
        right: whether it is right, bool [N].
        points: of the curve, at most; they are spread evenly over coverage, the whole included.

    Raises:
        DataError: there is no prediction.
    """
    _check(confidence, right)
    ordered, order = confidence.double().sort(descending=True)
    _, ties, sizes = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    # The mean over all orders of equally confident predictions gives each the accuracy of all of them.
    shares = torch.bincount(ties, weights=right.double()[order]) / sizes
    covered = torch.arange(1, len(ordered) + 1, dtype=torch.float64)
    accuracy = shares[ties].cumsum(0) / covered
    kept = (torch.arange(1, min(points, len(ordered)) + 1) * len(ordered)).div(min(points, len(ordered)))
    places = kept.round().long() - 1
    return Coverage(
        coverage=tuple((covered[places] / len(ordered)).tolist()),
        accuracy=tuple(accuracy[places].tolist()),
        area=accuracy.mean().item(),
    )


def _check(confidence: Tensor, right: Tensor) -> None:
    if not len(confidence) or confidence.shape != right.shape or confidence.ndim != 1:
        raise DataError(
            "Calibration needs a confidence and a verdict for each prediction, of one at least; got "
            f"{list(confidence.shape)} and {list(right.shape)}."
        )
