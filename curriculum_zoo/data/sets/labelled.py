"""`Labelled`, image files with their labels, and `Layout`: what the folders of a data set were taken for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .listing import Passed, list_files

__all__ = ["Labelled", "Layout", "labelled_files", "some"]


@dataclass(frozen=True)
class Labelled:
    """Image files with their labels.

    Attributes:
        paths: one path per image; strings, since millions of `Path` objects would take gigabytes.
        labels: class numbers, int64 [N], in the order of `paths`.
    """

    paths: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int]]) -> Labelled:
        """Make it of paths with a class number each."""
        rows = list(pairs)
        return cls(tuple(path for path, _ in rows), np.array([label for _, label in rows], dtype=np.int64))

    @classmethod
    def joined(cls, *parts: Labelled) -> Labelled:
        """Return the files of several lists as one."""
        paths = tuple(path for part in parts for path in part.paths)
        return cls(paths, np.concatenate([part.labels for part in parts]))

    def at(self, indices: npt.NDArray[np.int64]) -> Labelled:
        """Return the files and labels at some places, int64 [n]."""
        return Labelled(tuple(self.paths[index] for index in indices), self.labels[indices])


@dataclass(frozen=True)
class Layout:
    """What a folder was taken for.

    Attributes:
        classes: the classes' names, by number.
        train: training images.
        test: test images.
        validation: the images that the data set has for validation; none where that is cut off the training images.
        notes: what was taken for what, and what was passed over, a sentence each.
    """

    classes: tuple[str, ...]
    train: Labelled
    test: Labelled
    validation: Labelled = Labelled((), np.zeros(0, dtype=np.int64))
    notes: tuple[str, ...] = ()


def labelled_files(top: Path, *parts: Sequence[tuple[Path, int]]) -> tuple[list[Labelled], Passed]:
    """List the image files of all classes: by class, then by path, folder by folder.

    Args:
        top: the folder of the data set.
        *parts: folders with their class numbers, in order; one may be missing, as test images of a class may.

    Returns:
        One list of files for each part, and what was passed over in all of them.
    """
    places = [place for part in parts for place, _ in part]
    found, passed = list_files(top, places)
    lists = iter(found)
    return [Labelled.of((path, label) for _, label in part for path in next(lists)) for part in parts], passed


def some(names: Sequence[str]) -> str:
    """Return the first names of a list in quotation marks."""
    return ", ".join(f"'{name}'" for name in names[:3]) + (" and more" if len(names) > 3 else "")
