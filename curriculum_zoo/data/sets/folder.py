"""``folder:DIR``: a data set from image files in folders, one folder per class, or with their labels in a table.

Nothing is decoded before a loader asks for it, or `PhotoSet.resident` decodes all into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from ..decoding.image_file import read_image
from .folder_layouts import find_layout
from .labelled import Labelled, Layout
from .listing import class_folders, described, list_files
from .photos import DEFAULT_SIZE, ImageFiles, PhotoSet
from .split import stratified_split

__all__ = [
    "DEFAULT_SIZE",
    "TEST_SHARE",
    "class_folders",
    "cut_test",
    "folder",
    "image_files",
    "photo_set",
    "read_image",
]

TEST_SHARE = 0.2
"""Share of each class's images that becomes the test set where the files are not divided into training and test."""


def folder(
    argument: str | None, *, image_size: int | None = None, channels: int | None = None, seed: int = 0, **_: object
) -> PhotoSet:
    """List the image files of a folder as a data set, in one of four layouts.

    - ``DIR/<class>/…``: a fifth of each class, drawn by `seed`, is the test set.
    - ``DIR/train/<class>/…`` beside ``DIR/test/<class>/…`` or ``DIR/val/<class>/…``: the training set and the test set.
      If all three are there, ``val`` is what training is validated on, in place of a share of the training images;
      ``test`` is the test set only where its folders are named after classes of ``train``: the test images of
      ImageNet's challenge, for one, have no labels. Parts go by their usual names (`parts.PART_NAMES`) in any case.
    - ``DIR/<class>/train/…`` beside ``DIR/<class>/test/…``.
    - ``metadata.csv`` or ``labels.csv`` with a column of files and one of labels, and if wanted one of parts; or
      ``train.csv`` beside ``test.csv`` or ``val.csv``; or such a table in each part's folder. Paths start from the
      table's folder, or from the one folder beside it that has them, and never leave it.

    The parts may also lie one or two folders down, where there is nothing else. The classes are the names of the class
    folders, in alphabetical order, in Unicode's composed form. Files in folders below a class folder belong to that
    class. Passed over are files that do not end like image files (`image_file.SUFFIXES`), hidden ones, those whose name
    begins with two underscores, as in ``__MACOSX``, folders of storage systems, as ``@eaDir``, and links to folders
    that count elsewhere; `PhotoSet.layout` says how many of each, and which folder was taken for what.

    Args:
        argument: path of the folder, DIR.
        image_size: side in pixels of the squares that a network sees; see `PhotoSet.side` for None.
        channels: 3 for RGB, also if None, or 1 for gray.
        seed: draws the test set where there is none: the recipe's ``data_seed``.
        **_: not used.

    Raises:
        DataError: no such folder, none of the layouts, or a class without images.
    """
    if not argument:
        raise DataError("The data set folder needs a folder: folder:DIR, as in folder:photographs.")
    top = Path(argument).expanduser()
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "does not exist"
        raise DataError(f"{top} {what}. Give a folder that holds one folder of images for each class.")
    layout = find_layout(top, lambda files, classes: cut_test(files, classes, seed))
    name, source = f"folder:{argument}", f"folder {top}"
    return photo_set(name, top, layout, image_size=image_size, channels=channels, source=source)


def photo_set(
    name: str, top: Path, layout: Layout, *, image_size: int | None, channels: int | None, source: str
) -> PhotoSet:
    """Return the data set of some files, read as they are needed.

    Args:
        name: what to call the set in messages and reports.
        top: the folder that all files lie in; paths below it go into the fingerprint, so the folder may be moved.
        layout: classes and files, by part.
        image_size: side in pixels of the squares that a network sees; None where it was not asked for.
        channels: 1 for gray, 3 for RGB; RGB where None.
        source: origin and licence in one line.
    """
    train, validation, test = layout.train, layout.validation, layout.test
    return PhotoSet(
        name,
        ImageFiles((*train.paths, *validation.paths, *test.paths), top),
        Labelled.joined(train, validation).labels,
        test.labels,
        layout.classes,
        source=source,
        side=image_size,
        channels=channels or 3,
        validation_images=len(validation.paths),
        layout=layout.notes,
    )


def cut_test(files: Labelled, classes: Sequence[str], seed: int) -> tuple[Labelled, Labelled]:
    """Divide files into training and test images: `TEST_SHARE` of each class, drawn by seed, are test images.

    Args:
        files: all images.
        classes: the classes' names, for messages.
        seed: decides which images are test images: the recipe's ``data_seed``.

    Returns:
        Training images and test images.

    Raises:
        DataError: a class has too few images.
    """
    stay, cut = stratified_split(files.labels, TEST_SHARE, seed, classes, purpose="test")
    return files.at(stay), files.at(cut)


def image_files(top: Path) -> tuple[list[Path], str]:
    """Return every image file in a folder and those below it, by path, and what was passed over, in words.

    Raises:
        OSError: a folder that may not be read.
    """
    (found,), passed = list_files(top, [top])
    return [Path(path) for path in found], described(passed)
