"""What a trained network sees in image files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.decoding.geometry import convert_channels
from ..data.decoding.image_file import ImageReader, Pixels, read_bytes, read_image
from ..data.decoding.transforms import eval_transform
from ..data.sets.folder import image_files
from ..errors import DataError, ModelError
from ..models.adaptive import AdaptiveNetwork
from ..seeding import derive_seed
from .metrics import seeded
from .trained_network import TrainedNetwork, load_trained_network

__all__ = ["Prediction", "find_files", "predict", "predict_files", "read_pixels"]

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
    seed: int = 0,
    device: str | None = None,
) -> list[Prediction]:
    """Classify image files.

    A network that draws at random where to look draws the same for an image whatever other images there are.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        images: files, and folders whose image files are taken in order of their names, subfolders too.
        top: how many classes to name.
        which: which of a run's weights.
        seed: decides what is drawn at random.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One prediction per image, in the given order.

    Raises:
        DataError: a file or folder is missing, or an image cannot be read.
    """
    if top < 1:
        raise ModelError(f"At least one class must be named, got top={top}.")
    files = list(find_files(images))
    return predict_files(load_trained_network(target, which=which, device=device), files, top=top, seed=seed)


def predict_files(trained: TrainedNetwork, files: Sequence[Path], *, top: int = 5, seed: int = 0) -> list[Prediction]:
    """Compute what `predict` does for a network that is loaded already.

    Args:
        trained: the network with what belongs to it.
        files: image files.
        top: see `predict`; 1 at least.
        seed: see `predict`.

    Raises:
        DataError: an image cannot be read.
    """
    names = trained.class_names
    predictions = []
    step = 1 if isinstance(trained.model, AdaptiveNetwork) else BATCH
    for start in range(0, len(files), step):
        some = files[start : start + step]
        batch = trained.normalize(read_pixels(some, trained))
        with torch.inference_mode(), seeded(trained.device, derive_seed(seed)):
            probabilities = trained.model(batch).float().softmax(1).cpu()
        best = probabilities.topk(min(top, len(names)), dim=1)
        for file, values, indices in zip(some, best.values.tolist(), best.indices.tolist(), strict=True):
            ranked = tuple((names[index], value) for index, value in zip(indices, values, strict=True))
            predictions.append(Prediction(file, ranked))
    return predictions


def read_pixels(files: Sequence[Path], trained: TrainedNetwork) -> Tensor:
    """Image files as a batch [N, C, H, W] in [0, 1], at the network's own size and on its device.

    Raises:
        DataError: a file cannot be read.
    """
    pixels = np.stack([_read(file, trained) for file in files])
    return torch.from_numpy(pixels).to(trained.device).permute(0, 3, 1, 2).float().div(255)


def _read(file: Path, trained: TrainedNetwork) -> Pixels:
    """An image as the network's evaluation sees it, uint8 [H, W, C]."""
    channels, size, width = trained.input_size
    if size != width:
        return _read_oblong(file, trained)
    if trained.sees_squares:
        return read_image(file, image_size=size, channels=channels)
    options = trained.photos.filled(trained.interpolation, trained.crop_pct)
    transform = eval_transform(options, size, trained.crop_mode, trained.normalize.mean)
    pixels = transform(ImageReader(read_bytes(file), str(file)), size, 0)
    return convert_channels(pixels[None], channels)[0]


def _read_oblong(file: Path, trained: TrainedNetwork) -> Pixels:
    """An image for a network that takes no squares, uint8 [H, W, C]."""
    try:
        with Image.open(io.BytesIO(read_bytes(file))) as image:
            seen = trained.preprocess.pixels(image)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, DataError):
            raise DataError(f"{file}: {error}") from error
        raise DataError(f"{file} is not an image, or damaged: {error}. Replace or delete it.") from error
    return np.asarray(seen.mul(255).round().byte().permute(1, 2, 0))


def find_files(images: Sequence[str | Path]) -> Iterator[Path]:
    """Files as they are given, and the image files of folders in order of their names, subfolders too.

    Raises:
        DataError: a file or folder is missing, cannot be read, or holds no images.
    """
    for given in map(Path, images):
        if given.is_dir():
            try:
                found, passed = image_files(given)
            except OSError as error:
                raise DataError(f"{given} cannot be read: {error.strerror}. Check whether you may read it.") from error
            if not found:
                beside = f", only {passed}" if passed else ""
                raise DataError(f"{given} holds no image files{beside}. Name a folder that does.")
            yield from found
        elif given.is_file():
            yield given
        else:
            raise DataError(f"{given}: there is no such file or folder. Check the path.")
