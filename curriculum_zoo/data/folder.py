"""``folder:DIR``: a data set from image files in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .image_file import SUFFIXES, read_image
from .photos import DEFAULT_SIZE, ImageFiles, PhotoSet
from .split import stratified_split

__all__ = [
    "DEFAULT_SIZE",
    "TEST_SHARE",
    "Labelled",
    "class_folders",
    "cut_test",
    "folder",
    "image_files",
    "labelled_files",
    "photo_set",
    "read_image",
]

TEST_SHARE = 0.2
"""Part of each class that becomes the test set where the folder has none."""


@dataclass(frozen=True)
class Labelled:
    """Image files with the numbers of their classes.

    Attributes:
        paths: the files, as strings, of which there may be millions.
        labels: class numbers, one for each.
    """

    paths: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    def at(self, indices: npt.NDArray[np.int64]) -> Labelled:
        """Some of them."""
        return Labelled(tuple(self.paths[index] for index in indices), self.labels[indices])


def folder(
    argument: str | None, *, image_size: int | None = None, channels: int | None = None, seed: int = 0, **_: object
) -> PhotoSet:
    """A data set from a folder of image files; mirrored in training where the recipe says so.

    Two layouts are known. ``DIR/<class>/…``: a fifth of each class, cut off by seed, is the test set. Or
    ``DIR/train/<class>/…`` beside ``DIR/test/<class>/…`` or ``DIR/val/<class>/…``: the latter is the test set;
    where both are there, ``test`` is, unless its folders are not those of the classes. The classes are the folders'
    names in alphabetical order.

    Folders inside a class's folder belong to that class. Hidden files and folders, those whose name begins with two
    underscores, and files that do not end as image files do (`SUFFIXES`) are passed over.

    Args:
        argument: the folder.
        image_size: side in pixels that images are brought to.
        channels: 3 for RGB, which is the default, or 1 for gray.
        seed: cuts the test set off, where the folder has none.
        **_: not used.

    Raises:
        DataError: no such folder, not such a layout, or an empty class.
    """
    if not argument:
        raise DataError("The data set folder needs a folder: folder:DIR, as in folder:photographs.")
    top = Path(argument).expanduser()
    classes, train, test = _find(top, seed)
    return photo_set(
        f"folder:{argument}",
        top,
        classes,
        train,
        test,
        image_size=image_size,
        channels=channels,
        source=f"folder {top}",
    )


def photo_set(
    name: str,
    top: Path,
    classes: Sequence[str],
    train: Labelled,
    test: Labelled,
    *,
    image_size: int | None,
    channels: int | None,
    source: str,
) -> PhotoSet:
    """A set of image files.

    Args:
        name: what to call it.
        top: the folder that all files lie in.
        classes: names by number.
        train: training images.
        test: test images.
        image_size: side in pixels, where somebody asked for one.
        channels: 1 or 3, where somebody asked for either.
        source: origin and licence in one line.
    """
    images = ImageFiles((*train.paths, *test.paths), top)
    labels = train.labels, test.labels
    return PhotoSet(name, images, *labels, tuple(classes), source=source, side=image_size, channels=channels or 3)


def cut_test(files: Labelled, classes: Sequence[str], seed: int) -> tuple[Labelled, Labelled]:
    """Training and test images, where nobody has told them apart: `TEST_SHARE` of each class, by seed.

    Raises:
        DataError: a class has too few images.
    """
    stay, cut = stratified_split(files.labels, TEST_SHARE, seed, classes, purpose="test")
    return files.at(stay), files.at(cut)


def _find(top: Path, seed: int) -> tuple[tuple[str, ...], Labelled, Labelled]:
    """Classes, training files and test files."""
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "does not exist"
        raise DataError(f"{top} {what}. Give a folder that holds one folder of images for each class.")
    divided = bool((top / "train").is_dir() and class_folders(top / "train"))
    base = top / "train" if divided else top
    classes = tuple(path.name for path in class_folders(base))
    _check_classes(base, classes)
    files = labelled_files(base, classes)
    _check_filled(base, classes, files)
    test = _test_folder(top, classes) if divided else None
    if test is not None:
        tested = labelled_files(test, classes)
        if not tested.paths:
            raise DataError(
                f"{test} has no images. Put test images there, or delete it to have some cut off the others."
            )
        return classes, files, tested
    return classes, *cut_test(files, classes, seed)


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


def _check_filled(base: Path, classes: Sequence[str], files: Labelled) -> None:
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
        found = {folder.name for folder in class_folders(path)}
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


def labelled_files(base: Path, classes: Sequence[str]) -> Labelled:
    """Every image file of every class.

    Args:
        base: the folder of the classes' folders.
        classes: the folders' names; their places are the class numbers.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        # There may be no test images of a class. The order is that of paths, folder by folder.
        found = sorted(_walk(base / name), key=lambda path: path.split(os.sep)) if (base / name).is_dir() else []
        paths += found
        labels += [label] * len(found)
    return Labelled(tuple(paths), np.array(labels, dtype=np.int64))


def image_files(top: Path) -> Iterator[Path]:
    """Every image file in a folder and those below it, in no order; hidden files and folders are passed over.

    Raises:
        OSError: a folder that may not be read.
    """
    yield from map(Path, _walk(top))


def _walk(top: Path) -> Iterator[str]:
    """The paths of `image_files`."""

    def refuse(error: OSError) -> None:
        raise error

    visited = set()
    for place, folders, names in os.walk(top, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        folders[:] = [] if real in visited else [name for name in folders if _counts(name)]
        if real in visited:  # a link that leads back up
            continue
        visited.add(real)
        yield from (os.path.join(place, name) for name in names if _counts(name) and _suffix(name) in SUFFIXES)


def class_folders(path: Path) -> list[Path]:
    """The folders in a folder that may be classes, in alphabetical order."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and _counts(entry.name))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _counts(name: str) -> bool:
    return not name.startswith((".", "__"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (" and more" if len(names) > 3 else "")
