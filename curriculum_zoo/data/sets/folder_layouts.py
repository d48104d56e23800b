"""From what folders and tables stand for to lists of images by part and class, and to words that say so."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..decoding.image_file import SUFFIXES
from .folder_sources import KNOWN, Source, find_sources
from .labelled import Labelled, Layout, labelled_files, some
from .listing import Passed, class_folders, described
from .parts import PART_NAMES, PartName, part_of

__all__ = ["find_layout"]

_Files = dict[PartName, Labelled]


def find_layout(top: Path, cut: Callable[[Labelled, Sequence[str]], tuple[Labelled, Labelled]]) -> Layout:
    """Find out what a folder's folders and tables stand for, and list the images.

    Args:
        top: the folder.
        cut: divides images, given the classes' names, into training and test images where there are no test images.

    Raises:
        DataError: none of the layouts that are known, or one that is not whole.
        OSError: a folder that may not be read.
    """
    sources = find_sources(top)
    training = sources.parts["training"]
    classes = training.names
    _check_classes(training, classes)
    files, passed = _listed(top, sources.parts, classes)
    passed = passed + sources.passed
    notes = list(sources.notes)
    places = {part: _below(top, source.place) for part, source in sources.parts.items()}
    if training.folders and len(files) == 1:
        below = _parts_below(files["training"], training.place)
        if _is_by_class_first(files["training"], below):
            files, passed = _by_class_first(training, classes, files["training"], below, passed)
            places = dict.fromkeys(files, "in the folders called so within those of the classes")
        else:
            notes += _shared_folders(files["training"], training.place, classes)
    _check_filled(training, classes, files["training"])
    for part in files:
        if not files[part].paths:
            raise DataError(
                f"{sources.parts[part].place} has no images. Put {part} images there, or delete it to have some cut "
                "off the others."
            )
    if "test" not in files and "validation" in files:
        files["test"], places["test"] = files.pop("validation"), places.pop("validation")
    if "test" not in files:
        files["training"], files["test"] = cut(files["training"], classes)
        places["test"] = "cut off the training images by data_seed"
    said = [
        *(f"{part}: {len(files[part].paths):,} images, {places[part]}" for part in PART_NAMES if part in files),
        f"classes: {len(classes)}, {some(classes)}",
        *notes,
        *(note for part in ("validation", "test") if part in files for note in _missing(classes, part, files[part])),
        *([f"passed over: {described(passed)}"] if passed else []),
    ]
    return Layout(classes, files["training"], files["test"], files.get("validation", Labelled.of(())), tuple(said))


def _listed(top: Path, parts: Mapping[PartName, Source], classes: Sequence[str]) -> tuple[_Files, Passed]:
    """The files of each part, and what was passed over in their folders."""
    numbers = {name: number for number, name in enumerate(classes)}
    in_folders = {
        part: sorted(((folder, numbers[name]) for name, folder in source.folders), key=lambda pair: pair[1])
        for part, source in parts.items()
        if source.folders
    }
    lists, passed = labelled_files(top, *in_folders.values())
    files = dict(zip(in_folders, lists, strict=True))
    for part, source in parts.items():
        if source.rows:
            unknown = sorted({label for _, label in source.rows} - numbers.keys())
            if unknown:
                raise DataError(
                    f"{source.place} has {len(unknown)} {part} label(s) that no training image has: {some(unknown)}. "
                    "Correct them, or add training images of those classes."
                )
            rows = ((file, numbers[label]) for file, label in source.rows)
            files[part] = Labelled.of(sorted(rows, key=lambda row: (row[1], row[0])))
    return files, passed


# -- class folders that hold parts -----------------------------------------------------------------------------------


def _parts_below(files: Labelled, place: Path) -> list[PartName | None]:
    """The part that the folder within the class folder is called after, for each file."""
    known = functools.cache(part_of)
    return [known(folder) if folder else None for folder in _folders_below(files, place)]


def _folders_below(files: Labelled, place: Path) -> list[str]:
    """The name of the folder within the class folder, for each file; empty where it lies in the class folder itself."""
    skipped = len(place.parts) + 1
    pieces = (path.split(os.sep)[skipped:] for path in files.paths)
    return [inner[0] if len(inner) > 1 else "" for inner in pieces]


def _is_by_class_first(files: Labelled, below: Sequence[PartName | None]) -> bool:
    """Whether some class has training images and others in folders of their own."""
    kinds: dict[int, set[PartName | None]] = {}
    for label, part in zip(files.labels.tolist(), below, strict=True):
        kinds.setdefault(label, set()).add(part)
    return any("training" in found and found & {"test", "validation"} for found in kinds.values())


def _by_class_first(
    training: Source, classes: Sequence[str], files: Labelled, below: Sequence[PartName | None], passed: Passed
) -> tuple[_Files, Passed]:
    parts = np.array([part or "" for part in below])
    divided: _Files = {part: files.at(np.flatnonzero(parts == part)) for part in PART_NAMES if (parts == part).any()}
    without = [name for label, name in enumerate(classes) if not (divided["training"].labels == label).any()]
    if without:
        raise DataError(
            f"{training.place} has training and test folders in some class folders, and in others no training folder: "
            f"{some(without)}. Divide all classes, or none. {KNOWN}"
        )
    beside = int((parts == "").sum())
    return divided, passed + Counter({"image file{s} in class folders beside their parts": beside})


def _shared_folders(files: Labelled, place: Path, classes: Sequence[str]) -> list[str]:
    """A note where class folders hold folders of the same names alone, as parts of unknown names would."""
    inner: dict[int, set[str]] = {}
    for label, folder in zip(files.labels.tolist(), _folders_below(files, place), strict=True):
        inner.setdefault(label, set()).add(folder)
    shared = set.intersection(*inner.values()) if len(inner) == len(classes) else set()
    if len(shared) < 2 or any("" in found for found in inner.values()):
        return []
    return [
        f"each class folder holds {some(sorted(shared))}: if those are the classes and {some(classes)} are parts, call "
        "the parts train and test"
    ]


# -- what is not whole -----------------------------------------------------------------------------------------------


def _check_classes(training: Source, classes: Sequence[str]) -> None:
    place = training.place
    if not classes:
        loose = any(path.suffix.lower() in SUFFIXES for path in place.iterdir())
        has = "has images, but no folders" if loose else "is empty"
        raise DataError(f"{place} {has}. It needs one folder for each class, with that class's images inside. {KNOWN}")
    if len(classes) == 1:
        inner = len(training.folders) == 1 and len(class_folders(training.folders[0][1])) > 1
        hint = f" If the classes are the folders in it, give folder:{training.folders[0][1]}." if inner else ""
        raise DataError(
            f"{place} has one class only, '{classes[0]}'. Classification takes at least two: add images of another "
            f"class, in a folder of their own.{hint}"
        )


def _check_filled(training: Source, classes: Sequence[str], files: Labelled) -> None:
    empty = [name for label, name in enumerate(classes) if not (files.labels == label).any()]
    if empty:
        endings = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{training.place} has {len(empty)} class folder(s) without images: {some(empty)}. Put images there "
            f"(ending in {endings}), or delete them."
        )


def _missing(classes: Sequence[str], part: str, files: Labelled) -> list[str]:
    """A note on classes that no image of a part shows."""
    absent = [name for label, name in enumerate(classes) if not (files.labels == label).any()]
    return [f"{len(absent)} of {len(classes)} classes have no {part} images: {some(absent)}"] if absent else []


def _below(top: Path, place: Path) -> str:
    """A place as seen from the data set's folder, in words that may follow a number of images."""
    inner = os.path.relpath(place, top)
    return "in all folders" if inner == os.curdir else f"in {inner}/" if place.is_dir() else f"named in {inner}"
