"""How good a trained network is on a data set's test images, at one resolution or several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import ImageSet, ResidentLoader, open_dataset
from ..errors import DataError, ModelError
from .calibrate import calibrate_batchnorm
from .metrics import Scores, collect, forward_flops, score
from .subject import Subject, load_subject

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Scores at one resolution.

    Attributes:
        resolution: side of the images, in pixels.
        flops: FLOPs of one image's forward pass.
        scores: what the network achieved.
        classes: names of the classes.
    """

    resolution: int
    flops: int
    scores: Scores
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        scores = self.scores.to_dict()
        scores["per_class"] = dict(zip(self.classes, scores["per_class"], strict=True))
        return {"resolution": self.resolution, "flops": self.flops, **scores}


def evaluate(
    target: str | Path,
    data: str,
    *,
    data_root: str | Path = "data",
    download: bool = False,
    resolutions: Sequence[int] = (),
    which: Literal["best", "last"] = "best",
    batch_size: int = 256,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    calibrate: int = 0,
    device: str | None = None,
) -> list[Evaluation]:
    """Evaluate a trained network on a data set's test images.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        resolutions: sides in pixels that the images are resized to (bilinear, antialiased), from the size that the
            network was trained for; that size alone where empty.
        which: which of a run's weights.
        batch_size: images at a time.
        precision: of the forward pass.
        calibrate: training batches over which BatchNorm's statistics are taken anew at each resolution, augmented as
            in training; 0 for none.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One evaluation a resolution, in the given order.

    Raises:
        DataError: the data set does not go with the network.
        ModelError: a resolution is below what the network can take.
    """
    subject = load_subject(target, which=which, device=device)
    images = open_dataset(
        data, root=data_root, download=download, image_size=subject.input_size[1], channels=subject.input_size[0]
    )
    _check_classes(subject, images)
    return [
        _at_resolution(subject, images, resolution, batch_size=batch_size, precision=precision, calibrate=calibrate)
        for resolution in resolutions or (subject.input_size[1],)
    ]


def _at_resolution(
    subject: Subject, images: ImageSet, resolution: int, *, batch_size: int, precision: str, calibrate: int
) -> Evaluation:
    def batches(pixels: Any, labels: Any, training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        loader = ResidentLoader(
            pixels,
            labels,
            batch_size=batch_size,
            augmentation=subject.augmentation if training else None,
            shuffle=training,
            device=subject.device,
        )
        for some, targets in loader.batches(0):
            yield subject.normalize(_resized(some, resolution)), targets

    channels = subject.input_size[0]
    try:
        flops = forward_flops(subject.model, torch.zeros(1, channels, resolution, resolution, device=subject.device))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{subject.name} cannot take images of {resolution} px ({str(error).splitlines()[0]}). Leave that "
            "resolution out."
        ) from error
    if calibrate:
        training = (some for some, _ in batches(images.train_images, images.train_labels, True))
        calibrate_batchnorm(subject.model, itertools.islice(training, calibrate))
    test = batches(images.test_images, images.test_labels, False)
    scores = score(*collect(subject.model, test, device=subject.device, precision=precision))
    return Evaluation(resolution, flops, scores, images.classes)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _check_classes(subject: Subject, images: ImageSet) -> None:
    if subject.num_classes != images.num_classes:
        raise DataError(
            f"{subject.name} tells {subject.num_classes} classes apart, {images.name} has {images.num_classes}. "
            "Evaluate on the data set that it was trained for."
        )
    if subject.classes and subject.classes != images.classes:
        first, other = next(pair for pair in zip(subject.classes, images.classes, strict=True) if pair[0] != pair[1])
        raise DataError(
            f"{subject.name} and {images.name} name their classes differently ('{first}' against '{other}'), so their "
            "numbers may not mean the same. Rename the data set's classes where they do."
        )
