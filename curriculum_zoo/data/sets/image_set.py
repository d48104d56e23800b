"""`ImageSet`: labelled images in memory, training and test, checked once so that nobody else has to."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...draws import image_seeds
from ...errors import DataError
from ..decoding.geometry import convert_channels, convert_drawn, resize_images
from ..loading.loader_factory import LoaderSettings, ResidentLoaderFactory
from ..loading.resident import Render
from ..normalize import mean_std
from .data_set import DataSet, Labels, checked_names
from .repeats import repeats_in_memory

__all__ = ["ImageSet", "checked_images", "checked_labels"]

Images = npt.NDArray[np.uint8]

_SAMPLE = 64  # images drawn for the fingerprint


@dataclass(frozen=True, eq=False)
class ImageSet(DataSet):
    """Labelled images for training and test, as bytes in memory.

    Attributes:
        name: what to call the set in messages and reports.
        train_images: uint8 [N, H, W, C]; [N, H, W] is taken for one channel.
        train_labels: class numbers [N], any integer type; kept as int64.
        test_images: uint8, of the same size and channels as `train_images`.
        test_labels: class numbers of the test images.
        classes: the classes' names, by number; at least two.
        flip: whether a mirrored image still shows its class: true of most photographs, false of digits.
        source: origin and licence in one line.
        render: draws the images at every load, on the device, after flips and crops; see `Render`. The size and
            channels of the set are those of what it draws. None where images are seen as they are stored.
        skipped: names of images that were left out because they cannot be read, with the reason.
        validation_images: as for `DataSet`.
        layout: as for `DataSet`.
        image_name: returns what to call an image, by its number among all, training images first; None where images
            have no names.

    Raises:
        DataError: arrays of the wrong type or shape, labels that name no class, fewer than two classes to learn.
    """

    in_memory: ClassVar[bool] = True

    name: str
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)
    classes: tuple[str, ...]
    flip: bool = False
    source: str = ""
    render: Render | None = field(default=None, repr=False)
    skipped: Mapping[str, str] = field(default_factory=dict, repr=False)
    validation_images: int = 0
    layout: tuple[str, ...] = field(default=(), repr=False)
    image_name: Callable[[int], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", checked_names(self.classes, self.name))
        for part in ("train", "test"):
            images = checked_images(getattr(self, f"{part}_images"), f"{self.name}: {part}_images")
            labels = checked_labels(getattr(self, f"{part}_labels"), f"{self.name}: {part}_labels", len(images))
            self._check_range(labels, f"{self.name}: {part}_labels")
            object.__setattr__(self, f"{part}_images", images)
            object.__setattr__(self, f"{part}_labels", labels)
        self._check_whole()

    def _check_range(self, labels: Labels, what: str) -> None:
        for wrong in np.flatnonzero(labels >= len(self.classes))[:1]:
            raise DataError(
                f"{what}[{wrong}] is {labels[wrong]}, but there are {len(self.classes)} classes, numbered 0 to "
                f"{len(self.classes) - 1}. Correct the label, or name all classes."
            )

    def _check_whole(self) -> None:
        trained = np.unique(self.train_labels)
        if len(self.classes) < 2 or len(trained) < 2:
            only = f", '{self.classes[trained[0]]}'" if self.classes else ""
            raise DataError(
                f"{self.name}: all training images are of one class{only}. Classification takes at least two: add "
                "images of another class."
            )
        train, test = self.train_images.shape[1:], self.test_images.shape[1:]
        if train != test:
            raise DataError(
                f"{self.name}: training images are {_size(train)} and test images {_size(test)} (height × width × "
                "channels). Bring both to the same size and channels."
            )
        _ = self._seen

    @cached_property
    def _seen(self) -> tuple[int, int, int]:
        """Height, width and channels of the images as they are seen."""
        if self.render is None:
            return self.train_images.shape[1:]
        if not callable(self.render):
            raise DataError(f"{self.name}: render is {_a(self.render)}. It must be a function of images and seeds.")
        images, seeds = self.train_images[:2], image_seeds(2)
        drawn, alone = self._drawn(images, seeds), self._drawn(images[1:], seeds[1:])
        if drawn.dtype != torch.uint8 or drawn.ndim != 4 or len(drawn) != 2:
            raise DataError(
                f"{self.name}: render made {drawn.dtype} {list(drawn.shape)} of two images. It must return uint8 "
                "[n, height, width, channels] for n images."
            )
        if drawn[1:].shape != alone.shape or (drawn[1:].int() - alone.int()).abs().max() > 1:  # 1 may be rounding
            raise DataError(
                f"{self.name}: render draws an image differently in another batch. It must take all that is random "
                "from the image's own seed, as curriculum_zoo.draws does."
            )
        return drawn.shape[1], drawn.shape[2], drawn.shape[3]

    def _drawn(self, images: Images, seeds: Tensor) -> Tensor:
        """Stored images as they are seen under those seeds."""
        stored = torch.from_numpy(images)
        return stored if self.render is None else self.render(stored, seeds)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images as they are seen, in pixels."""
        return self._seen[0], self._seen[1]

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""
        return self._seen[2]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, labels and pixels, in hexadecimal: equal for equal data, wherever it came from.

        Where images are drawn, over some drawings too.
        """
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        if self.render is not None:
            sample = self._drawn(self.train_images[:_SAMPLE], image_seeds(len(self.train_images))[:_SAMPLE]).numpy()
            digest.update(f"{sample.shape}".encode())
            digest.update(sample.tobytes())
        return digest.hexdigest()

    @cached_property
    def repeats(self) -> tuple[str, ...]:
        """As for `DataSet`; of images that are the same to the pixel."""
        count = len(self.train_labels)
        labels = np.concatenate([self.train_labels, self.test_labels])

        def numbered(index: int) -> str:
            return f"training image {index}" if index < count else f"test image {index - count}"

        return repeats_in_memory((self.train_images, self.test_images), labels, count, self.image_name or numbered)

    def mean_std(self, indices: npt.ArrayLike | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over training images, for pixels in [0, 1].

        Where images are drawn, of one drawing of each, which is the same at every call.

        Args:
            indices: which training images; all of them where None.
        """
        chosen = np.arange(len(self.train_images)) if indices is None else np.asarray(indices, dtype=np.int64)
        if not len(chosen):
            raise DataError(f"{self.name}: mean and deviation of no images. Pass at least one index.")
        return mean_std(self._pieces(chosen))

    def _pieces(self, chosen: Labels) -> Iterator[Images]:
        """Training images as they are seen; few at a time, since bincount makes 64-bit integers of its input."""
        seeds = image_seeds(len(self.train_images))
        for start in range(0, len(chosen), 256):
            indices = chosen[start : start + 256]
            yield self._drawn(self.train_images[indices], seeds[indices]).numpy()

    def converted(self, *, image_size: int | None = None, channels: int | None = None) -> ImageSet:
        """The same images at another size or with other channels; the set itself where nothing differs.

        Args:
            image_size: side of square images in pixels: the short side is resized with antialiasing, then the centre
                is cut out.
            channels: 1 (luma) or 3 (gray repeated).

        Raises:
            DataError: a size below 1, or a conversion of channels other than between 1 and 3.
        """
        if image_size is not None and image_size < 1:
            raise DataError(f"{self.name}: image_size must be at least 1 pixel, got {image_size}.")
        if channels not in (None, self.channels) and {channels, self.channels} != {1, 3}:
            raise DataError(
                f"{self.name} has images of {self.channels} channel(s), which cannot be turned into {channels}. "
                "Gray (1) and RGB (3) turn into each other; anything else must be stored as wanted."
            )
        if self.render is not None:
            if self._seen == (*((image_size,) * 2 if image_size else self.image_size), channels or self.channels):
                return self
            convert = functools.partial(_drawn_and_converted, self.render, image_size, channels)
            return dataclasses.replace(self, render=convert)
        train, test = (_converted(images, image_size, channels) for images in (self.train_images, self.test_images))
        if train is self.train_images and test is self.test_images:
            return self
        return dataclasses.replace(self, train_images=train, test_images=test)

    def fits_memory(self) -> bool:
        """Return True: the images lie there already."""
        return True

    def resident(self, *, on_bad_image: str = "raise") -> ImageSet:
        """Return the set itself, whose images lie in memory already."""
        return self

    def loader_factory(self, **settings: Unpack[LoaderSettings]) -> ResidentLoaderFactory:
        """As for `DataSet`."""
        return ResidentLoaderFactory(self, **settings)


def _drawn_and_converted(
    render: Render, image_size: int | None, channels: int | None, images: Tensor, seeds: Tensor
) -> Tensor:
    return convert_drawn(render(images, seeds), image_size, channels)


def checked_images(images: object, what: str) -> Images:
    """Images as uint8 [N, H, W, C] in one piece of memory.

    Args:
        images: what ought to be images.
        what: the file and field they came from, for messages.

    Raises:
        DataError: another type, another shape, no images, or images without pixels.
    """
    if not isinstance(images, np.ndarray):
        raise DataError(f"{what} is {_a(images)}, not a NumPy array. Pass uint8 [N, H, W, C].")
    if images.dtype != np.uint8:
        raise DataError(f"{what} has type {images.dtype}, but images are stored as uint8. {_to_uint8(images)}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"{what} has shape {images.shape}, but images are [N, height, width, channels], or [N, height, width] for "
            "gray ones. Reshape them."
        )
    if not images.size:
        raise DataError(f"{what} has shape {images.shape}: there is nothing in it. Give at least one image.")
    if images.shape[1] in (1, 3, 4) and images.shape[3] > 4:
        raise DataError(
            f"{what} has shape {images.shape}, which looks like channels before height and width. Store channels last: "
            "images.transpose(0, 2, 3, 1)."
        )
    return np.require(images, requirements=["C", "W"])  # torch shares memory only with arrays that may be written to


def checked_labels(labels: object, what: str, count: int) -> Labels:
    """Labels as int64 [N], none below zero.

    Args:
        labels: what ought to be labels.
        what: the file and field they came from, for messages.
        count: how many images there are.

    Raises:
        DataError: another type, another shape, a label below zero.
    """
    if not isinstance(labels, np.ndarray):
        raise DataError(f"{what} is {_a(labels)}, not a NumPy array. Pass integers [N].")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{what} has shape {labels.shape}. Labels are class numbers [N]: labels.argmax(axis=1).")
    if labels.ndim != 1:
        raise DataError(f"{what} has shape {labels.shape}. Labels are class numbers [N]: labels.reshape(-1).")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} has type {labels.dtype}. Labels are class numbers from 0: labels.astype('int64').")
    if len(labels) != count:
        raise DataError(f"{what} holds {len(labels)} labels for {count} images. Give one label per image.")
    for wrong in np.flatnonzero((labels < 0) | (labels > np.iinfo(np.int64).max))[:1]:
        raise DataError(f"{what}[{wrong}] is {labels[wrong]}. Labels are class numbers from 0; correct it.")
    return np.ascontiguousarray(labels, dtype=np.int64)


def _converted(images: Images, image_size: int | None, channels: int | None) -> Images:
    if channels is not None:
        images = convert_channels(images, channels)
    return images if image_size is None else resize_images(images, image_size)


def _to_uint8(images: npt.NDArray[np.generic]) -> str:
    if images.dtype.kind == "f" and images.size:
        top = float(np.max(images))
        scale = "images * 255" if top <= 1 else "images"
        return f"Its values reach {top:.4g}; convert with np.rint({scale}).clip(0, 255).astype('uint8')."
    if images.dtype.kind == "O":
        return "Images of different sizes do not make one array; save them as files and use folder:DIR."
    return "Bring the values to 0…255 and convert with .astype('uint8')."


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _a(thing: object) -> str:
    return f"a {type(thing).__name__}"
