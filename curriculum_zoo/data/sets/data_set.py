"""`DataSet`: what every set of labelled images answers, whether they lie in memory or in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Self, Unpack, cast

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..loading.loader_factory import LoaderFactory, LoaderSettings
from .split import stratified_split

__all__ = ["DataSet", "Labels", "checked_names"]

Labels = npt.NDArray[np.int64]


def checked_names(names: Iterable[object], what: str) -> tuple[str, ...]:
    """Return names of classes.

    Args:
        names: what ought to be names.
        what: the data set, for messages.

    Raises:
        DataError: one is no text, or one that cannot be written as UTF-8, as files of weights and cards are.
    """
    checked = tuple(names)
    for number, name in enumerate(checked):
        if not isinstance(name, str):
            raise DataError(f"{what}: classes[{number}] is {name!r}. The names of classes are texts.")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{what}: classes[{number}] is {name!r}, which is no Unicode. Rename the class in UTF-8."
            ) from error
    return cast("tuple[str, ...]", checked)


class DataSet(ABC):
    """Labelled images for training and test.

    `ImageSet` keeps them in memory, `PhotoSet` leaves them in their files; whoever uses a set needs not ask which of
    the two it is. An image's number is its place among the training images, or among the test images.

    Attributes:
        in_memory: whether the images lie in memory, decoded.
        name: what to call the set in messages and reports.
        train_labels: class numbers of the training images, int64 [N].
        test_labels: class numbers of the test images, int64 [M].
        classes: the classes' names, by number; at least two.
        flip: whether a mirrored image still shows its class: true of most photographs, false of digits.
        source: origin and licence in one line.
        validation_images: how many of the last training images the set itself has for validation; 0 where those are
            cut off the training images.
        layout: what was taken for what where the set was found, and what was passed over, a sentence each.
    """

    in_memory: ClassVar[bool]
    name: str
    train_labels: Labels
    test_labels: Labels
    classes: tuple[str, ...]
    flip: bool
    source: str
    validation_images: int = 0
    layout: tuple[str, ...] = ()

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what a network sees."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal that is equal for equal data, wherever it lies."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def repeats(self) -> tuple[str, ...]:
        """Sentences on images that are in training and test, or in two classes; none where that is not known."""
        return ()

    def split(self, validation: float, seed: int) -> tuple[Labels, Labels]:
        """Cut a validation part off the training images, class by class; pure in its arguments.

        A set that has validation images of its own gives those, whatever share of the others is asked for, and none
        where that is 0; they are never trained on.

        Args:
            validation: its share of each class, from 0 to below 1, or a whole number of images in all; at least one
                image a class where above 0.
            seed: decides which images: a recipe's ``data_seed``.

        Returns:
            Numbers of the images to train on and of those to validate on, both ascending.

        Raises:
            DataError: a class would be left without an image, or it is neither a share nor a number of images.
        """
        if self.validation_images:
            own = len(self.train_labels) - self.validation_images
            numbers = np.arange(len(self.train_labels), dtype=np.int64)
            return numbers[:own], numbers[own:] if validation else numbers[:0]
        return stratified_split(self.train_labels, validation, seed, self.classes)

    @abstractmethod
    def converted(self, *, image_size: int | None = None, channels: int | None = None) -> Self:
        """Return the same images at another size or with other channels."""

    @abstractmethod
    def fits_memory(self) -> bool:
        """Return whether the decoded images take no more than `curriculum_zoo.recipes.photo_options.RESIDENT_BYTES`."""

    @abstractmethod
    def resident(self, *, on_bad_image: str = "raise") -> DataSet:
        """Return the same images decoded into memory."""

    @abstractmethod
    def loader_factory(self, **settings: Unpack[LoaderSettings]) -> LoaderFactory:
        """Return what makes loaders of parts of this set; close it when they are no longer used.

        Args:
            **settings: as for `LoaderFactory`: `augmentation`, `photos`, `interpolation`, `crop_pct`, `device`,
                `channels_last`, `workers`, `training`, `train_labels`.

        Raises:
            RecipeError: images of this kind are not changed in the way that the settings ask for.
        """
