"""What a trained network sees in image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..data.folder import image_files, read_image
from ..errors import DataError, ModelError
from .subject import load_subject

__all__ = ["Prediction", "predict"]

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image.

    Attributes:
        path: the image file.
        classes: pairs of class name and probability, most probable first.
    """

    path: Path
    classes: tuple[tuple[str, float], ...]


def predict(
    target: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 5,
    which: Literal["best", "last"] = "best",
    device: str | None = None,
) -> list[Prediction]:
    """Classify image files.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        images: files, and folders whose image files are taken in order of their names, subfolders too.
        top: how many classes to tell.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One prediction an image, in the given order.

    Raises:
        DataError: a file or folder is missing, or an image cannot be read.
    """
    if top < 1:
        raise ModelError(f"At least one class must be told, got top={top}.")
    files = list(_files(images))
    subject = load_subject(target, which=which, device=device)
    channels, size, _ = subject.input_size
    names = subject.classes or tuple(f"class {index}" for index in range(subject.num_classes))
    predictions = []
    for start in range(0, len(files), BATCH):
        some = files[start : start + BATCH]
        pixels = np.stack([read_image(file, image_size=size, channels=channels) for file in some])
        batch = torch.from_numpy(pixels).to(subject.device).permute(0, 3, 1, 2).float().div(255)
        with torch.inference_mode():
            probabilities = subject.model(subject.normalize(batch)).float().softmax(1).cpu()
        best = probabilities.topk(min(top, len(names)), dim=1)
        for file, values, indices in zip(some, best.values.tolist(), best.indices.tolist(), strict=True):
            told = tuple((names[index], value) for index, value in zip(indices, values, strict=True))
            predictions.append(Prediction(file, told))
    return predictions


def _files(images: Sequence[str | Path]) -> Iterator[Path]:
    for given in map(Path, images):
        if given.is_dir():
            try:
                found = sorted(image_files(given))
            except OSError as error:
                raise DataError(f"{given} cannot be read: {error.strerror}. Check whether you may read it.") from error
            if not found:
                raise DataError(f"{given} holds no image files. Name a folder that does.")
            yield from found
        elif given.is_file():
            yield given
        else:
            raise DataError(f"{given}: there is no such file or folder. Check the path.")
