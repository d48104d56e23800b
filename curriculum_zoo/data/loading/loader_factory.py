"""`LoaderFactory`: makes the loaders of a data set for one run, of images in memory or of files that workers read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import torch

from ...draws import seeds_of
from ...errors import RecipeError
from ...recipes.augmentation import Augmentation
from ...recipes.photo_options import PhotoOptions
from ..decoding.image_source import ImageSource
from ..decoding.transforms import eval_transform, train_transform
from ..normalize import mean_std
from .loader import Batching, Loader
from .photo_loader import PhotoLoader
from .resident import Render, ResidentLoader
from .worker_pool import WorkerPool

__all__ = ["LoaderFactory", "LoaderSettings", "PhotoLoaderFactory", "ResidentLoaderFactory"]

Labels = npt.NDArray[np.int64]
Which = Literal["train", "test"]

_SAMPLE = 2048  # photographs that mean and deviation are taken from
_STATISTICS = 0x57A7  # sets the draw of that sample apart from others of the same seed and numbers


class LabelledImages(Protocol):
    """What a factory asks of the set that it makes loaders of; `curriculum_zoo.data.DataSet` has all of it."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def train_labels(self) -> Labels: ...
    @property
    def test_labels(self) -> Labels: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    def split(self, validation: float, seed: int) -> tuple[Labels, Labels]: ...


class ImagesInMemory(LabelledImages, Protocol):
    """The same of images in memory."""

    @property
    def render(self) -> Render | None: ...
    @property
    def skipped(self) -> Mapping[str, str]: ...
    def mean_std(self, indices: npt.ArrayLike | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]: ...


class ImagesInFiles(LabelledImages, Protocol):
    """The same of images in files."""

    @property
    def images(self) -> ImageSource: ...
    @property
    def test_indices(self) -> Labels: ...


class LoaderSettings(TypedDict, total=False):
    """Keywords that every factory takes; `LoaderFactory` says what they mean."""

    augmentation: Augmentation | None
    photos: PhotoOptions | None
    interpolation: str | None
    crop_pct: float | None
    crop_mode: str | None
    mean: Sequence[float]
    device: torch.device | str
    channels_last: bool
    workers: int | None
    training: bool
    train_labels: Labels | None


class LoaderFactory(ABC):
    """Makes loaders of parts of one data set; they share what is costly: stored pixels, or worker processes.

    Args:
        images: the set.
        augmentation: what is done to training images that lie in memory.
        photos: what is done to images that are read as they are needed.
        interpolation: how the network's configuration has images resized.
        crop_pct: the part of the short side that it has evaluated.
        crop_mode: how it has images cut that are not square, as timm names it.
        mean: the mean of images that it states, by channel, in [0, 1]: what borders are filled with.
        device: where batches go.
        channels_last: whether batches are laid out channels last in memory.
        workers: processes that read photographs; one for each processor where None.
        training: whether there are to be loaders for training.
        train_labels: labels of the training images in place of the set's own, int64 [N].

    Attributes:
        images: the set.
        device: where batches go.
    """

    def __init__(
        self,
        images: LabelledImages,
        *,
        augmentation: Augmentation | None = None,
        photos: PhotoOptions | None = None,
        interpolation: str | None = None,
        crop_pct: float | None = None,
        crop_mode: str | None = None,
        mean: Sequence[float] = (),
        device: torch.device | str = "cpu",
        channels_last: bool = True,
        workers: int | None = None,
        training: bool = True,
        train_labels: Labels | None = None,
    ) -> None:
        self.images = images
        self._labels = {
            "train": images.train_labels if train_labels is None else train_labels,
            "test": images.test_labels,
        }
        self.device = torch.device(device)
        self._augmentation = augmentation or Augmentation()
        self._photos = photos or PhotoOptions()
        self._configured = self._photos.filled(interpolation, crop_pct)
        self._cut = (crop_mode or "center", mean)
        self._channels_last = channels_last
        self._workers = workers
        self._training = training

    @property
    def interpolation(self) -> str:
        """How images are resized for evaluation, for the configuration of the weights."""
        return "bilinear"

    @property
    def crop_pct(self) -> float:
        """Which part of the short side is evaluated, for the configuration of the weights."""
        return 1.0

    @property
    def crop_mode(self) -> str:
        """How images that are not square are cut, for the configuration of the weights."""
        return "center"

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that decide what images look like."""
        return ("pillow",)

    @property
    def pipelines(self) -> dict[str, str]:
        """SHA-256 of the recipe's own pipelines, keyed by their files."""
        return {}

    @property
    @abstractmethod
    def skipped(self) -> dict[str, str]:
        """Reasons why images were left out so far because they cannot be read, keyed by the images' names."""

    def loader(
        self,
        part: Labels | Literal["test"],
        *,
        training: bool,
        batch_size: int,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        partners: bool = False,
    ) -> Loader:
        """Return a loader of some of the images, at full size.

        Args:
            part: numbers of training images, int64 [n], or ``"test"`` for all test images.
            training: whether images are shuffled, and changed at random.
            batch_size: images per update, over all processes.
            seed: decides all that is random.
            drop_last: whether to leave out the last batch where it is not full.
            rank: number of this process.
            world_size: number of processes.
            partners: whether each batch comes with the images to mix its own with.

        Raises:
            DataError: not a single batch, a batch that the processes cannot share evenly, too little memory.
            RecipeError: the augmentation does not fit the size of the images.
        """
        batching: Batching = {
            "batch_size": batch_size,
            "seed": seed,
            "shuffle": training,
            "drop_last": drop_last,
            "device": self.device,
            "rank": rank,
            "world_size": world_size,
            "channels_last": self._channels_last,
            "partners": partners,
        }
        if isinstance(part, str):
            return self._make("test", np.arange(len(self.images.test_labels)), training, batching)
        return self._make("train", np.asarray(part, dtype=np.int64), training, batching)

    @abstractmethod
    def mean_std(self, indices: Labels, seed: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel over training images, for pixels in [0, 1].

        Args:
            indices: numbers of the training images.
            seed: decides which of them are looked at, where there are too many to look at all.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back memory and processes."""

    @abstractmethod
    def _make(self, which: Which, numbers: Labels, training: bool, batching: Batching) -> Loader:
        """The loader of training or test images of these numbers."""


class ResidentLoaderFactory(LoaderFactory):
    """Makes loaders of images in memory; their pixels are stored once on the device for all loaders of the same part.

    Args:
        images: the set.
        **settings: as for `LoaderFactory`.

    Raises:
        RecipeError: `photos` says how images that are read as they are needed are changed.
    """

    images: ImagesInMemory

    def __init__(self, images: ImagesInMemory, **settings: Unpack[LoaderSettings]) -> None:
        super().__init__(images, **settings)
        for field in self._photos.stated():
            raise RecipeError(
                f"recipe: photos.{field} is for images that are read as they are needed, and those of {images.name} "
                "are kept in memory. Leave it out and say it in augmentation; or, of a folder, set "
                "photos.resident=false."
            )
        self._loaders: dict[tuple[Which, bytes, Augmentation], ResidentLoader] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """As for `LoaderFactory`: what was left out when the images were decoded."""
        return dict(self.images.skipped)

    def mean_std(self, indices: Labels, seed: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As for `LoaderFactory`, over all of the images."""
        return self.images.mean_std(indices)

    def close(self) -> None:
        """Give back the memory."""
        self._loaders.clear()

    def _make(self, which: Which, numbers: Labels, training: bool, batching: Batching) -> Loader:
        augmentation = self._augmentation if training else Augmentation()
        key = which, numbers.tobytes(), augmentation
        if key in self._loaders:
            return self._loaders[key].sharing(**batching)
        images, labels = getattr(self.images, f"{which}_images"), self._labels[which]
        if not np.array_equal(numbers, np.arange(len(labels))):  # indexing would copy all images
            images, labels = images[numbers], labels[numbers]
        self._loaders[key] = ResidentLoader(
            images, labels, numbers=numbers, augmentation=augmentation, render=self.images.render, **batching
        )
        return self._loaders[key]


class PhotoLoaderFactory(LoaderFactory):
    """Makes loaders of images that are read as they are needed, all of them by the same worker processes.

    Args:
        images: the set.
        **settings: as for `LoaderFactory`.

    Raises:
        RecipeError: there is an augmentation, which is for images in memory; or a pipeline that cannot be loaded.
    """

    images: ImagesInFiles

    def __init__(self, images: ImagesInFiles, **settings: Unpack[LoaderSettings]) -> None:
        super().__init__(images, **settings)
        if self._augmentation.any:
            raise RecipeError(
                f"recipe: augmentation is for images kept in memory, and those of {images.name} are read as they are "
                "needed. Say it in photos (area, flip, jitter), or keep them in memory: photos.resident=true."
            )
        side = images.image_size[0]
        evaluation = eval_transform(self._configured, side, *self._cut)
        self._loaders: list[PhotoLoader] = []
        self._pool = WorkerPool(
            images.images,
            training=train_transform(self._configured, side, *self._cut) if self._training else evaluation,
            evaluation=evaluation,
            channels=images.channels,
            workers=self._workers,
            pin_memory=self.device.type == "cuda",
        )

    @property
    def interpolation(self) -> str:
        """As for `LoaderFactory`."""
        return self._configured.interpolation or "bilinear"

    @property
    def crop_pct(self) -> float:
        """As for `LoaderFactory`."""
        return self._configured.crop_pct or 1.0

    @property
    def crop_mode(self) -> str:
        """As for `LoaderFactory`."""
        return self._cut[0]

    @property
    def packages(self) -> tuple[str, ...]:
        """As for `LoaderFactory`."""
        return ("pillow", "opencv-python-headless", "opencv-python", "albumentations")

    @property
    def pipelines(self) -> dict[str, str]:
        """As for `LoaderFactory`."""
        files = [file for file in (self._photos.train_pipeline, self._photos.eval_pipeline) if file]
        return {file: hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest() for file in files}

    @property
    def skipped(self) -> dict[str, str]:
        """As for `LoaderFactory`."""
        return {name: reason for loader in self._loaders for name, reason in loader.skipped.items()}

    def mean_std(self, indices: Labels, seed: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As for `LoaderFactory`: over 2,048 images at most, drawn by seed, as evaluation sees them."""
        indices = np.asarray(indices, dtype=np.int64)
        keys = seeds_of(torch.from_numpy(indices), seed, _STATISTICS).numpy()
        sample = indices[np.sort(np.argsort(keys, kind="stable")[:_SAMPLE])]
        loader = self.loader(sample, training=False, batch_size=min(64, len(sample)))
        return mean_std(
            batch.images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            for batch in loader.batches(0)
        )

    def close(self) -> None:
        """Stop the processes that read photographs."""
        self._pool.close()

    def _make(self, which: Which, numbers: Labels, training: bool, batching: Batching) -> Loader:
        labels = self._labels[which][numbers]
        loader = PhotoLoader(
            self._pool,
            numbers if which == "train" else self.images.test_indices[numbers],
            labels,
            numbers=numbers,
            training=training,
            pixels=self.images.image_size[0],
            on_bad_image=self._photos.on_bad_image,
            **batching,
        )
        self._loaders.append(loader)
        return loader
