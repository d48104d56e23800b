"""``folder:DIR``: a data set from image files in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .image_file import SUFFIXES, image_dimensions, read_image
from .image_set import ImageSet
from .memory import available_memory, require_memory
from .split import stratified_split

__all__ = ["DEFAULT_SIZE", "TEST_SHARE", "folder", "image_files", "read_image"]

TEST_SHARE = 0.2
"""Part of each class that becomes the test set where the folder has none."""

DEFAULT_SIZE = 224
"""Side in pixels where none is asked for and the images do not share one."""

_PIECE = 32  # files that a thread decodes before it looks for more


@dataclass(frozen=True)
class _Files:
    """Image files with the numbers of their classes."""

    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]

    def at(self, indices: npt.NDArray[np.int64]) -> _Files:
        return _Files(tuple(self.paths[index] for index in indices), self.labels[indices])


def folder(
    argument: str | None, *, image_size: int | None = None, channels: int | None = None, seed: int = 0, **_: object
) -> ImageSet:
    """A data set from a folder of image files, decoded into memory; mirrored in training where the recipe says so.

    Two layouts are known. ``DIR/<class>/…``: a fifth of each class, cut off by seed, is the test set. Or
    ``DIR/train/<class>/…`` beside ``DIR/test/<class>/…`` or ``DIR/val/<class>/…``: the latter is the test set;
    where both are there, ``test`` is, unless its folders are not those of the classes. The classes are the folders'
    names in alphabetical order.

    Folders inside a class's folder belong to that class. Hidden files and folders, those whose name begins with two
    underscores, and files that do not end as image files do (`SUFFIXES`) are passed over. How a file becomes pixels
    is told by `read_image`. An image that cannot be read is never passed over: it is named, and nothing starts.

    Args:
        argument: the folder.
        image_size: side in pixels that images are brought to; where None, the one that all are square of, or else
            224.
        channels: 3 for RGB, which is the default, or 1 for gray.
        seed: cuts the test set off, where the folder has none.
        **_: not used.

    Raises:
        DataError: no such folder, not such a layout, an empty class, unreadable images, or too little memory.
    """
    if not argument:
        raise DataError("The data set folder needs a folder: folder:DIR, as in folder:photographs.")
    classes, train, test = _find(Path(argument).expanduser(), seed)
    files = (*train.paths, *test.paths)
    size = image_size or _common_size(files) or DEFAULT_SIZE
    images = _decode(files, size, channels or 3)
    return ImageSet(
        f"folder:{argument}",
        images[: len(train.paths)],
        train.labels,
        images[len(train.paths) :],
        test.labels,
        classes=classes,
        flip=True,
        source=f"folder {argument}",
    )


def _find(top: Path, seed: int) -> tuple[tuple[str, ...], _Files, _Files]:
    """Classes, training files and test files."""
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "does not exist"
        raise DataError(f"{top} {what}. Give a folder that holds one folder of images for each class.")
    divided = bool((top / "train").is_dir() and _subfolders(top / "train"))
    base = top / "train" if divided else top
    classes = tuple(path.name for path in _subfolders(base))
    _check_classes(base, classes)
    files = _list(base, classes)
    _check_filled(base, classes, files)
    test = _test_folder(top, classes) if divided else None
    if test is not None:
        tested = _list(test, classes)
        if not tested.paths:
            raise DataError(
                f"{test} has no images. Put test images there, or delete it to have some cut off the others."
            )
        return classes, files, tested
    stay, cut = stratified_split(files.labels, TEST_SHARE, seed, classes, purpose="test")
    return classes, files.at(stay), files.at(cut)


def _check_classes(base: Path, classes: Sequence[str]) -> None:
    if not classes:
        loose = any(path.suffix.lower() in SUFFIXES for path in base.iterdir())
        has = "has images, but no folders" if loose else "is empty"
        raise DataError(f"{base} {has}. It needs one folder for each class, with that class's images inside.")
    if len(classes) == 1:
        raise DataError(
            f"{base} has one class only, '{classes[0]}'. Classification takes at least two: add a folder with images "
            "of another class."
        )


def _check_filled(base: Path, classes: Sequence[str], files: _Files) -> None:
    empty = [name for label, name in enumerate(classes) if not (files.labels == label).any()]
    if empty:
        endings = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{base} has {len(empty)} class folder(s) without images: {_some(empty)}. Put images there (ending in "
            f"{endings}), or delete them."
        )


def _test_folder(top: Path, classes: Sequence[str]) -> Path | None:
    """The folder that holds the test images by class; None where there is neither ``test`` nor ``val``."""
    candidates = [path for path in (top / "test", top / "val") if path.is_dir()]
    for path in candidates:
        found = {folder.name for folder in _subfolders(path)}
        if found & set(classes):
            unknown = sorted(found - set(classes))
            if unknown:
                raise DataError(
                    f"{path} has {len(unknown)} class folder(s) that {top / 'train'} has not: {_some(unknown)}. "
                    "Rename them, or add training images of those classes."
                )
            return path
    if candidates:
        raise DataError(
            f"{candidates[0]} has no folder named after a class of {top / 'train'} ({_some(classes)}). Sort its images "
            "into such folders, or move it elsewhere to have a test set cut off the training images."
        )
    return None


def _list(base: Path, classes: Sequence[str]) -> _Files:
    """Every image file of every class."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(image_files(base / name)) if (base / name).is_dir() else []  # no test images of that class
        paths += found
        labels += [label] * len(found)
    return _Files(tuple(paths), np.array(labels, dtype=np.int64))


def image_files(top: Path) -> Iterator[Path]:
    """Every image file in a folder and those below it, in no order; hidden files and folders are passed over.

    Raises:
        OSError: a folder that may not be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    visited = set()
    for place, folders, names in os.walk(top, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        folders[:] = [] if real in visited else [name for name in folders if _counts(name)]
        if real in visited:  # a link that leads back up
            continue
        visited.add(real)
        yield from (Path(place, name) for name in names if _counts(name) and Path(name).suffix.lower() in SUFFIXES)


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and _counts(entry.name))


def _counts(name: str) -> bool:
    return not name.startswith((".", "__"))


def _common_size(files: Sequence[Path]) -> int | None:
    """The side that all images are square of, if they are."""
    common: tuple[int, int] | None = None
    for path in files:
        size = image_dimensions(path)
        if size is not None and size != (common or (size[0], size[0])):
            return None
        common = size or common
    return common[0] if common else None


def _decode(files: Sequence[Path], size: int, channels: int) -> npt.NDArray[np.uint8]:
    """All images as uint8 [N, size, size, channels]."""
    _require_memory(len(files), size, channels)
    images = np.empty((len(files), size, size, channels), dtype=np.uint8)

    def decode(start: int) -> list[DataError]:
        failures = []
        for index in range(start, min(start + _PIECE, len(files))):
            try:
                images[index] = read_image(files[index], image_size=size, channels=channels)
            except DataError as error:
                failures.append(error)
        return failures

    with ThreadPoolExecutor(_processors()) as pool:
        pieces = list(pool.map(decode, range(0, len(files), _PIECE)))
    failures = [error for piece in pieces for error in piece]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise DataError(
            f"{len(failures):,} of {len(files):,} images cannot be used. {' '.join(map(str, failures[:3]))}"
            + (f" And {len(failures) - 3:,} more." if len(failures) > 3 else "")
        )
    return images


def _require_memory(count: int, size: int, channels: int) -> None:
    available = available_memory() or 0
    largest = int((available / (count * channels)) ** 0.5)
    require_memory(
        count * size * size * channels,
        f"{count:,} images of {size} × {size} pixels in {channels} channel(s)",
        f"Take image_size={largest} or smaller, or fewer images.",
    )


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (" and more" if len(names) > 3 else "")
