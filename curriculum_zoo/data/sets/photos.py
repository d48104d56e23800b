"""`PhotoSet`: labelled images that stay in their files, or wherever they lie, until somebody looks at them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Unpack

import numpy as np

from ...errors import DataError
from ...recipes.photo_options import RESIDENT_BYTES
from ..decoding.image_file import Pixels, decode_image, image_dimensions, read_bytes
from ..decoding.image_source import ImageSource
from ..loading.loader_factory import LoaderSettings, PhotoLoaderFactory
from ..loading.worker_pool import available_processors
from ..memory import available_memory, require_memory
from .data_set import DataSet, Labels, checked_names
from .image_set import ImageSet, checked_labels
from .listing import nfc
from .repeats import repeats_of_files

__all__ = ["DEFAULT_SIZE", "ImageFiles", "PhotoSet"]

DEFAULT_SIZE = 224
"""Side in pixels where none is asked for and the images do not share one."""

_PIECE = 32  # images that a thread decodes before it looks for more
_SAMPLE = 100  # images whose size is looked at, evenly spread; a hundred thousand headers would take minutes


class ImageFiles:
    """Image files, as an `ImageSource`.

    All paths are kept as one array of bytes: a million Python objects would be copied into every worker process, page
    by page, as their reference counts change.

    Args:
        paths: the files, each with the folder's path in front.
        top: the folder that all of them lie in.
    """

    def __init__(self, paths: Sequence[str], top: Path) -> None:
        self.top = str(top)
        skipped = len(os.path.join(self.top, "")) if self.top != os.curdir else 0
        names = [os.fsencode(path[skipped:]) for path in paths]
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        self._names = np.frombuffer(b"".join(names), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, index: int) -> str:
        """Return the file's path."""
        start = self._ends[index - 1] if index else 0
        return os.path.join(self.top, os.fsdecode(self._names[start : self._ends[index]].tobytes()))

    def content(self, index: int) -> bytes:
        """Return what the file holds.

        Raises:
            DataError: it cannot be read.
        """
        return read_bytes(self.name(index))

    def dimensions(self, index: int) -> tuple[int, int] | None:
        """Return width and height in pixels, from the file's header; None where it has none that can be read."""
        return image_dimensions(self.name(index))

    def stamps(self) -> Iterator[bytes]:
        """Yield the path within the folder and the size in bytes of each file; -1 where there is no such file."""
        start = 0
        for index, end in enumerate(self._ends.tolist()):
            path = self.name(index)
            size = os.stat(path).st_size if os.path.exists(path) else -1
            name = nfc(os.fsdecode(self._names[start:end].tobytes()).replace(os.sep, "/"))
            yield os.fsencode(name) + b"\0%d" % size
            start = end


@dataclass(frozen=True, eq=False)
class PhotoSet(DataSet):
    """Labelled images for training and test that are decoded when they are needed.

    Attributes:
        name: what to call the set in messages and reports.
        images: all of them, training images first.
        train_labels: class numbers of the first images.
        test_labels: class numbers of the others.
        classes: the classes' names, by number; at least two.
        flip: whether a mirrored image still shows its class.
        source: origin and licence in one line.
        side: side in pixels of the squares that a network sees; where None, `DEFAULT_SIZE`, or, of images decoded into
            memory, the side that they share.
        channels: 3 for RGB, 1 for gray.
        validation_images: as for `DataSet`.
        layout: as for `DataSet`.

    Raises:
        DataError: labels that name no class or do not number the images, fewer than two classes to learn.
    """

    in_memory: ClassVar[bool] = False

    name: str
    images: ImageSource = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_labels: Labels = field(repr=False)
    classes: tuple[str, ...]
    flip: bool = True
    source: str = ""
    side: int | None = None
    channels: int = 3
    validation_images: int = 0
    layout: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", checked_names(self.classes, self.name))
        for part in ("train", "test"):
            labels = getattr(self, f"{part}_labels")
            checked = checked_labels(labels, f"{self.name}: {part}_labels", len(labels))
            if not len(checked) or checked.max() >= len(self.classes):
                problem = "is empty" if not len(checked) else f"reaches {checked.max()}"
                raise DataError(
                    f"{self.name}: {part}_labels {problem}, and there are {len(self.classes)} classes, numbered from 0."
                )
            object.__setattr__(self, f"{part}_labels", checked)
        if len(self.train_labels) + len(self.test_labels) != len(self.images):
            raise DataError(
                f"{self.name}: {len(self.train_labels)} and {len(self.test_labels)} labels for {len(self.images)} "
                "images. Give one label per image."
            )
        if len(np.unique(self.train_labels)) < 2:
            raise DataError(f"{self.name}: all training images are of one class. Classification takes at least two.")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what a network sees."""
        return (self.side or DEFAULT_SIZE,) * 2

    @property
    def labels(self) -> Labels:
        """Class numbers of all images, as `images` has them."""
        return np.concatenate([self.train_labels, self.test_labels])

    @property
    def test_indices(self) -> Labels:
        """Where in `images` the test images stand."""
        return np.arange(len(self.train_labels), len(self.images))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over paths below the set's folder, sizes in bytes, labels and names of classes.

        A folder that was moved has the same one. The files are not read, which would take as long as an epoch: an image
        that another one of the same name and size takes the place of is not noticed. `resident` sets hash every pixel.
        """
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for labels in (self.train_labels, self.test_labels):
            digest.update(f"{len(labels)}".encode())
            digest.update(labels.data)
        if self.validation_images:
            digest.update(f"validation {self.validation_images}".encode())
        for stamp in self.images.stamps():
            digest.update(stamp + b"\0")
        return digest.hexdigest()

    @cached_property
    def repeats(self) -> tuple[str, ...]:
        """As for `DataSet`; of files that are the same to the byte."""
        if not isinstance(self.images, ImageFiles):
            return ()
        return repeats_of_files(self.images.name, len(self.images), self.labels, len(self.train_labels))

    def loader_factory(self, **settings: Unpack[LoaderSettings]) -> PhotoLoaderFactory:
        """As for `DataSet`."""
        return PhotoLoaderFactory(self, **settings)

    def converted(self, *, image_size: int | None = None, channels: int | None = None) -> PhotoSet:
        """The same images to be seen at another size or with other channels."""
        return dataclasses.replace(self, side=image_size or self.side, channels=channels or self.channels)

    def fits_memory(self) -> bool:
        """Whether the decoded images take no more than `RESIDENT_BYTES`."""
        return len(self.images) * self._resident_side**2 * self.channels <= RESIDENT_BYTES

    def resident(self, *, on_bad_image: str = "raise") -> ImageSet:
        """All images decoded into memory, each as its centre square.

        The squares are of the side that was asked for, else of the one that the images share, else of 224 pixels.

        Args:
            on_bad_image: ``raise``, or ``skip`` to leave out what cannot be read.

        Raises:
            DataError: too little memory, or images that cannot be read.
        """
        pixels, failures = _decode(self.images, self._resident_side, self.channels)
        if failures and on_bad_image == "raise":
            raise _refusal([failures[index] for index in sorted(failures)], len(self.images))
        good = np.ones(len(self.images), dtype=bool)
        good[list(failures)] = False
        count = len(self.train_labels)
        return ImageSet(
            self.name,
            pixels[:count][good[:count]] if failures else pixels[:count],
            self.train_labels[good[:count]],
            pixels[count:][good[count:]] if failures else pixels[count:],
            self.test_labels[good[count:]],
            classes=self.classes,
            flip=self.flip,
            source=self.source,
            skipped={self.images.name(index): str(failures[index]) for index in sorted(failures)},
            validation_images=int(good[count - self.validation_images : count].sum()),
            layout=self.layout,
            image_name=functools.partial(_name_of_kept, self.images, np.flatnonzero(good)),
        )

    @cached_property
    def _resident_side(self) -> int:
        """The side of squares in memory: as asked for, or the one that all of a sample are square of, or 224."""
        if self.side is not None:
            return self.side
        step = -(-len(self.images) // _SAMPLE)
        sizes = {self.images.dimensions(index) for index in range(0, len(self.images), step)} - {None}
        width, height = sizes.pop() or (0, 0) if len(sizes) == 1 else (0, 0)
        return width if width == height > 0 else DEFAULT_SIZE


def _name_of_kept(images: ImageSource, kept: Labels, index: int) -> str:
    return images.name(int(kept[index]))


def _decode(images: ImageSource, side: int, channels: int) -> tuple[Pixels, dict[int, DataError]]:
    """All images as uint8 [N, side, side, channels], and what is wrong with those that cannot be read."""
    count = len(images)
    largest = int(((available_memory() or 0) / (count * channels)) ** 0.5)
    require_memory(
        count * side * side * channels,
        f"{count:,} images of {side} × {side} pixels in {channels} channel(s)",
        f"Take image_size={largest} or smaller, fewer images, or read them as they are needed: photos.resident=false.",
    )
    pixels = np.empty((count, side, side, channels), dtype=np.uint8)

    def decode(start: int) -> dict[int, DataError]:
        failures = {}
        for index in range(start, min(start + _PIECE, count)):
            try:
                content = images.content(index)
                pixels[index] = decode_image(content, images.name(index), image_size=side, channels=channels)
            except DataError as error:
                failures[index] = error
        return failures

    with ThreadPoolExecutor(available_processors()) as pool:
        pieces = list(pool.map(decode, range(0, count, _PIECE)))
    return pixels, {index: error for piece in pieces for index, error in piece.items()}


def _refusal(failures: Sequence[DataError], count: int) -> DataError:
    if len(failures) == 1:
        return failures[0]
    return DataError(
        f"{len(failures):,} of {count:,} images cannot be used. {' '.join(map(str, failures[:3]))}"
        + (f" And {len(failures) - 3:,} more." if len(failures) > 3 else "")
    )
