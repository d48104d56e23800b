"""`Supply`: batches from any set, whether its images lie in memory or are read as they are needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..errors import RecipeError
from ..seeding import derive_seed
from .augmentation import Augmentation
from .image_set import ImageSet
from .loader import Batching, Loader
from .normalize import mean_std
from .photo_loader import Crew, PhotoLoader
from .photo_options import PhotoOptions
from .photos import Labels, PhotoSet
from .resident import ResidentLoader
from .transforms import eval_transform, train_transform

__all__ = ["Supply"]

_SAMPLE = 2048  # photographs that mean and deviation are taken from


class Supply:
    """Makes loaders of parts of a set; those of photographs share their worker processes.

    Args:
        images: the set.
        augmentation: what is done to training images that lie in memory.
        photos: what is done to images that are read as they are needed.
        interpolation: how the network's configuration has images resized.
        crop_pct: the part of the short side that it has evaluated.
        device: where batches go.
        channels_last: whether batches are laid out channels last in memory.
        workers: processes that read photographs; one for each processor where None.
        training: whether there are to be loaders for training.

    Raises:
        RecipeError: the recipe says how images are changed in a way that these images are not.
    """

    def __init__(
        self,
        images: ImageSet | PhotoSet,
        *,
        augmentation: Augmentation | None = None,
        photos: PhotoOptions | None = None,
        interpolation: str | None = None,
        crop_pct: float | None = None,
        device: torch.device | str = "cpu",
        channels_last: bool = True,
        workers: int | None = None,
        training: bool = True,
    ) -> None:
        self.images = images
        self.device = torch.device(device)
        self._augmentation = augmentation or Augmentation()
        self._photos = (photos or PhotoOptions()).filled(interpolation, crop_pct)
        self._channels_last = channels_last
        self._loaders: list[PhotoLoader] = []
        self._crew: Crew | None = None
        if isinstance(images, ImageSet):
            _refuse(images, photos.stated() if photos else [])
            return
        if self._augmentation.any:
            raise RecipeError(
                f"recipe: augmentation is for images kept in memory, and those of {images.name} are read as they are "
                "needed. Say it in photos (area, flip, jitter), or keep them in memory: photos.resident=true."
            )
        side = images.image_size[0]
        evaluation = eval_transform(self._photos, side)
        self._crew = Crew(
            images.images,
            train=train_transform(self._photos, side) if training else evaluation,
            evaluation=evaluation,
            channels=images.channels,
            workers=workers,
            pin_memory=self.device.type == "cuda",
        )

    @property
    def interpolation(self) -> str:
        """How images are resized for evaluation, for the configuration of the weights."""
        return "bilinear" if isinstance(self.images, ImageSet) else self._photos.interpolation or "bilinear"

    @property
    def crop_pct(self) -> float:
        """Which part of the short side is evaluated, for the configuration of the weights."""
        return 1.0 if isinstance(self.images, ImageSet) else self._photos.crop_pct or 1.0

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that decide what images look like."""
        decode = ("pillow", "opencv-python-headless", "opencv-python", "albumentations")
        return decode[:1] if isinstance(self.images, ImageSet) else decode

    @property
    def pipelines(self) -> dict[str, str]:
        """SHA-256 of the recipe's own pipelines, by their files."""
        files = [] if isinstance(self.images, ImageSet) else [self._photos.train_pipeline, self._photos.eval_pipeline]
        return {file: hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest() for file in files if file}

    @property
    def skipped(self) -> dict[str, str]:
        """Names of the images left out so far because they cannot be read, with the reason."""
        if isinstance(self.images, ImageSet):
            return dict(self.images.skipped)
        return {name: reason for loader in self._loaders for name, reason in loader.skipped.items()}

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
    ) -> Loader:
        """A loader of some of the images, at full size.

        Args:
            part: which of the training images, or ``"test"``.
            training: whether images are shuffled, and changed at random.
            batch_size: images per update, over all processes.
            seed: decides all that is random.
            drop_last: whether to leave out the last batch where it is not full.
            rank: number of this process.
            world_size: number of processes.

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
        }
        if isinstance(self.images, ImageSet):
            whole = self.images
            if isinstance(part, str):
                images, labels = whole.test_images, whole.test_labels
            else:
                images, labels = whole.train_images[part], whole.train_labels[part]
            augmentation = self._augmentation if training else None
            return ResidentLoader(images, labels, augmentation=augmentation, render=whole.render, **batching)
        assert self._crew is not None
        loader = PhotoLoader(
            self.images,
            self.images.test_indices if isinstance(part, str) else part,
            self._crew,
            role="train" if training else "eval",
            on_bad_image=self._photos.on_bad_image,
            **batching,
        )
        self._loaders.append(loader)
        return loader

    def close(self) -> None:
        """Stop the processes that read photographs."""
        if self._crew is not None:
            self._crew.close()

    def mean_std(self, indices: Labels, seed: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over training images, for pixels in [0, 1].

        Of photographs, over 2,048 of them at most, drawn by seed, as evaluation sees them.

        Args:
            indices: which training images.
            seed: says which photographs.
        """
        if isinstance(self.images, ImageSet):
            return self.images.mean_std(indices)
        keys = np.random.PCG64(derive_seed(seed)).random_raw(len(indices))
        sample = indices[np.sort(np.argsort(keys, kind="stable")[:_SAMPLE])]
        loader = self.loader(sample, training=False, batch_size=min(64, len(sample)))
        assert isinstance(loader, PhotoLoader)
        return mean_std(
            pixels.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy() for pixels, _ in loader.batches(0)
        )


def _refuse(images: ImageSet, stated: list[str]) -> None:
    if stated:
        raise RecipeError(
            f"recipe: photos.{stated[0]} is for images that are read as they are needed, and those of {images.name} "
            "are kept in memory. Leave it out and say it in augmentation; or, of a folder, set photos.resident=false."
        )
