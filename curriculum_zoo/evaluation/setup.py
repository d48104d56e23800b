"""`EvaluationSetup`: a trained network with a data set's images as it takes them, for all that is measured on them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import ImageSet, LoaderFactory, PhotoSet, open_dataset
from ..data.loading.loader import Loader
from ..data.sets.photos import Labels
from ..draws import seeds_of
from ..errors import DataError, ModelError
from ..weights.folder import Which
from .calibrate import calibrate_batchnorm
from .metrics import forward_flops
from .trained_network import TrainedNetwork, load_trained_network

__all__ = ["Change", "EvaluationSetup", "Part", "Shown", "loader_factory", "open_evaluation", "open_images"]

Part = Literal["test", "validation"]


@dataclass(frozen=True)
class Change:
    """What images go through before a network sees them, at the size that they have.

    Attributes:
        apply: makes a batch [N, C, H, W] of a batch in [0, 1] and seeds, int64 [N].
        stream: what the draws are for, so that they are unrelated to other draws from the same seed.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    stream: int


@dataclass(frozen=True)
class Shown:
    """A batch of images as they are shown to a network.

    Attributes:
        images: [N, C, H, W] in [0, 1].
        labels: class indices, int64 [N].
        numbers: the images' numbers within their part of the data set, int64 [N].
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor


@contextlib.contextmanager
def open_evaluation(
    target: str | Path,
    data: str,
    *,
    data_root: str | Path = "data",
    download: bool = False,
    part: Part = "test",
    which: Which = "best",
    batch_size: int = 256,
    seed: int = 0,
    training: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> Iterator[EvaluationSetup]:
    """Open a trained network with a data set; processes that read images end on leaving.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        part: ``test``, or ``validation`` for the training images that the network's recipe, by its seed, held out.
        which: which of a run's weights.
        batch_size: images at a time.
        seed: decides what is drawn at random.
        training: whether training images will be asked for.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read photographs; one a processor where None.

    Raises:
        DataError: the data set does not go with the network.
    """
    if part not in get_args(Part):
        raise DataError(f"part must be 'test' or 'validation', got {part!r}.")
    trained = load_trained_network(target, which=which, device=device)
    images = open_images(trained, data, data_root, download)
    with contextlib.closing(loader_factory(trained, images, training, workers)) as supply:
        yield EvaluationSetup(trained, supply, part, batch_size, seed)


def open_images(
    trained: TrainedNetwork, data: str, data_root: str | Path = "data", download: bool = False
) -> ImageSet | PhotoSet:
    """Open a data set as a trained network takes its images.

    Raises:
        DataError: the data set does not go with the network.
    """
    images = open_dataset(
        data,
        root=data_root,
        download=download,
        image_size=trained.side(),
        channels=trained.input_size[0],
        seed=trained.data_seed,
        resident=trained.photos.resident if trained.saw_squares else False,
        on_bad_image=trained.photos.on_bad_image,
    )
    _check_classes(trained, images)
    return images


def loader_factory(
    trained: TrainedNetwork, images: ImageSet | PhotoSet, training: bool, workers: int | None
) -> LoaderFactory:
    """Batches of images as the network's training had them, as far as that means anything to these images."""
    return images.loader_factory(
        augmentation=trained.augmentation if images.in_memory else None,
        photos=None if images.in_memory else trained.photos,
        interpolation=trained.interpolation,
        crop_pct=trained.crop_pct,
        crop_mode=trained.crop_mode,
        mean=trained.normalize.mean,
        device=trained.device,
        workers=workers,
        training=training,
    )


@dataclass(frozen=True)
class EvaluationSetup:
    """A trained network with a data set's images.

    Attributes:
        trained: the network.
        supply: the images.
        part: which of them are evaluated.
        batch_size: images at a time.
        seed: decides what is drawn at random.
    """

    trained: TrainedNetwork
    supply: LoaderFactory
    part: Part
    batch_size: int
    seed: int
    _loaders: dict[str, Loader] = field(default_factory=dict, repr=False)

    @property
    def side(self) -> int:
        """Side in pixels of the images that the network was trained for."""
        return self.trained.side()

    def flops(self, resolution: int) -> int:
        """FLOPs of one image; refuses a resolution that the network cannot take."""
        try:
            zeros = torch.zeros(1, self.trained.input_size[0], resolution, resolution, device=self.trained.device)
            return forward_flops(self.trained.model, zeros)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{self.trained.name} cannot take images of {resolution} px ({str(error).splitlines()[0]}). Leave "
                "that resolution out."
            ) from error

    def calibrate(self, resolution: int, count: int) -> None:
        """Take BatchNorm's statistics at a resolution from some training batches."""
        training = (self.trained.normalize(shown.images) for shown in self._shown("train", resolution, 0, None))
        calibrate_batchnorm(self.trained.model, itertools.islice(training, count))

    def batches(
        self, resolution: int, repeat: int = 0, change: Change | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return images as the network takes them, normalised, with labels.

        Args:
            resolution: side that they are resized to, in pixels.
            repeat: number of the evaluation; a data set that draws, and a change, draw otherwise for each.
            change: what the images go through before; nothing where None.
        """
        for shown in self.shown(resolution, repeat, change):
            yield self.trained.normalize(shown.images), shown.labels

    def shown(self, resolution: int, repeat: int = 0, change: Change | None = None) -> Iterator[Shown]:
        """Return images in [0, 1] as they are shown to the network, with labels and numbers; see `batches`."""
        return self._shown(self.part, resolution, repeat, change)

    def _shown(self, part: str, resolution: int, repeat: int, change: Change | None) -> Iterator[Shown]:
        if part not in self._loaders:
            self._loaders[part] = self.supply.loader(
                self._part(part), training=part == "train", batch_size=self.batch_size, seed=self.seed
            )
        for batch in self._loaders[part].with_pixels(resolution).batches(repeat):
            images = batch.images
            if change is not None:
                images = change.apply(images, seeds_of(batch.numbers, self.seed, repeat, change.stream))
            yield Shown(_resized(images, resolution), batch.labels, batch.numbers)

    def _part(self, part: str) -> Labels | Literal["test"]:
        """Which training images, or the test images."""
        images, held_out_part = self.supply.images, self.trained.validation
        if part == "test":
            return "test"
        training, held_out = images.split(held_out_part, seed=self.trained.data_seed)
        if part == "train":
            return training
        if not held_out_part:
            raise DataError(
                f"Nothing is known of images that the training of {self.trained.name} held out for validation. "
                "Evaluate on test images."
            )
        return held_out


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _check_classes(trained: TrainedNetwork, images: ImageSet | PhotoSet) -> None:
    if trained.num_classes != images.num_classes:
        raise DataError(
            f"{trained.name} tells {trained.num_classes} classes apart, {images.name} has {images.num_classes}. "
            "Evaluate on the data set that it was trained for."
        )
    if trained.classes and trained.classes != images.classes:
        first, other = next(pair for pair in zip(trained.classes, images.classes, strict=True) if pair[0] != pair[1])
        if images.classes == tuple(map(str, range(images.num_classes))):
            raise DataError(
                f"{images.name} numbers its classes, and {trained.name} names them ('{first}' is the first that "
                "differs), so their numbers may not mean the same. Where they do, name them: of an npz file by the "
                "array 'classes', np.array(['cat', 'dog']); of folders by the folders' names."
            )
        raise DataError(
            f"{trained.name} and {images.name} name their classes differently ('{first}' against '{other}'), so their "
            "numbers may not mean the same. Rename the data set's classes where they do."
        )
