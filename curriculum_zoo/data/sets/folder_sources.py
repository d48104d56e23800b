"""What the folders and tables of a data set stand for: which are its parts, which its classes, and what is left over.

Nothing is guessed: they are one of the layouts that `KNOWN` lists, or refused with that list.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ...errors import DataError
from ..decoding.image_file import SUFFIXES
from .labelled import some
from .labels_file import LabelsFile, has_columns, read_labels_file, tables
from .listing import Passed, class_folders, class_name, list_files, loose_files
from .parts import PartName, part_of

__all__ = ["KNOWN", "Source", "Sources", "find_sources"]

KNOWN = (
    "Known are DIR/<class>/…; DIR/train/<class>/… beside test, val or both, in any case and by their other names; "
    "DIR/<class>/train/… beside DIR/<class>/test/…; and metadata.csv, labels.csv or train.csv with test.csv, with a "
    "column file_name and one label."
)

_DEEPEST = 3  # folders that hold nothing but one folder, as archives unpack


@dataclass(frozen=True)
class Source:
    """Where the images of one part and their classes stand: in folders called after classes, or in a table's rows.

    Attributes:
        place: the folder or table.
        folders: the name of a class and a folder of its images.
        rows: the path of an image and the name of its class.
    """

    place: Path
    folders: tuple[tuple[str, Path], ...] = ()
    rows: tuple[tuple[str, str], ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in order: numbers of a table by value, all else by the alphabet."""
        names = {name for name, _ in self.folders} or {label for _, label in self.rows}
        numbers = not self.folders and all(name.isascii() and name.isdecimal() for name in names)
        return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))


@dataclass(frozen=True)
class Sources:
    """The parts that a folder is divided into, and what was seen beside them."""

    parts: Mapping[PartName, Source]
    notes: tuple[str, ...] = ()
    passed: Passed = field(default_factory=Counter)


def find_sources(top: Path) -> Sources:
    """Find out what a folder's folders and tables stand for.

    Args:
        top: the folder of the data set.

    Raises:
        DataError: none of the layouts in `KNOWN`, or a table that cannot be read.
        OSError: a folder that may not be read.
    """
    base = top
    for _ in range(_DEEPEST):
        sources = _of_tables(base, tables(base)[0]) or _of_parts(base)
        if sources is not None:
            return sources
        inner = _only_folder(base)
        if inner is None or not (_of_tables(inner, tables(inner)[0]) or _of_parts(inner) or _only_folder(inner)):
            break
        base = inner
    folders = class_folders(top)
    others = [table for table in tables(top)[1] if len(folders) < 2 and has_columns(table)]
    if len(others) == 1:
        return _of_table(read_labels_file(others[0]))
    return _of_classes(top, folders)


def _of_tables(base: Path, found: Sequence[Path]) -> Sources | None:
    """The parts that tables describe; None where no table does."""
    useful = [path for path in found if has_columns(path)]
    if not useful:
        return None
    notes = tuple(f"{path.name} has no column of files and one of labels, and is not used" for path in found
                  if path not in useful)  # fmt: skip
    by_part: dict[PartName | None, list[Path]] = {}
    for path in useful:
        by_part.setdefault(part_of(path.stem), []).append(path)
    twice = next((paths for paths in by_part.values() if len(paths) > 1), None)
    if twice or (None in by_part and len(by_part) > 1):
        names = ", ".join(path.name for path in twice or useful)
        raise DataError(f"{base} has several tables of files and labels: {names}. Leave those that count there.")
    if None in by_part:
        return _of_table(read_labels_file(by_part[None][0]), notes)
    if "training" not in by_part:
        raise DataError(f"{base} has {useful[0].name}, and no table of training images: train.csv. {KNOWN}")
    parts: dict[PartName, Source] = {}
    for part, (path,) in by_part.items():
        table = read_labels_file(path)
        parts[part or "training"] = Source(path, rows=tuple((file, label) for file, label, _ in table.rows))
        notes += (f"{path.name}: {_columns(table)}",)
    return Sources(parts, notes, _unnamed(base, parts.values()))


def _of_table(table: LabelsFile, notes: tuple[str, ...] = ()) -> Sources:
    """The parts of one table, which may have a column that tells them."""
    rows: dict[PartName, list[tuple[str, str]]] = {}
    for file, label, part in table.rows:
        rows.setdefault(part or "training", []).append((file, label))
    if "training" not in rows:
        raise DataError(f"{table.path} has no line of the part train. Correct its column {table.columns[2]}.")
    parts = {part: Source(table.path, rows=tuple(found)) for part, found in rows.items()}
    notes = (*notes, f"{table.path.name}: {_columns(table)}")
    return Sources(parts, notes, _unnamed(table.path.parent, parts.values()))


def _columns(table: LabelsFile) -> str:
    words = dict(zip(("files", "labels", "parts"), table.columns, strict=False))
    inner = "" if table.base == table.path.parent else f", of files in {table.base.name}/"
    return "columns " + ", ".join(f"'{column}' for {what}" for what, column in words.items()) + inner


def _unnamed(base: Path, sources: Iterable[Source]) -> Passed:
    """What lies beside the images that tables name."""
    named = {os.path.normpath(file) for source in sources for file, _ in source.rows}
    (found,), passed = list_files(base, [base])
    count = sum(os.path.normpath(path) not in named for path in found)
    return passed + Counter({"image file{s} that no table names": count}) if count else passed


def _of_parts(base: Path) -> Sources | None:
    """The parts that folders are called after; None where none is."""
    folders = class_folders(base)
    by_part: dict[PartName, list[Path]] = {}
    for folder in folders:
        part = part_of(folder.name)
        if part:
            by_part.setdefault(part, []).append(folder)
    held_out = [folder for part, found in by_part.items() for folder in found if part != "training"]
    if not by_part:
        return None
    if "training" not in by_part:
        alone = len(held_out) == len(folders) > 1
        if not (alone or any(_source(folder) for folder in held_out)):
            return None  # a class may be called "test"
        raise DataError(f"{base} has {_names(held_out)}, and no folder of training images. {KNOWN}")
    twice = next((found for found in by_part.values() if len(found) > 1), None)
    if twice:
        raise DataError(f"{base} has {_names(twice)}, which stand for the same part. Leave one of them there. {KNOWN}")
    train = _unwrapped(by_part["training"][0])
    training = _source(train)
    if not training:
        if held_out:
            raise DataError(
                f"{base} has {_names([train, *held_out])}, and {train.name}/ holds neither folders of classes nor a "
                f"table of labels. {KNOWN}"
            )
        return None  # a class may be called "train"
    others = [folder for folder in folders if part_of(folder.name) is None]
    filled = [folder for folder in others if not held_out and _holds_images(folder)]
    if filled:
        raise DataError(
            f"{base} has {train.name}/ with folders inside, and beside it {_names(filled)} with images: those are "
            f"neither all parts nor all classes. Move elsewhere what does not belong there. {KNOWN}"
        )
    notes = [f"{folder.name}/ is not used" for folder in others]
    parts: dict[PartName, Source] = {"training": training}
    unsorted = []
    held_out_parts: tuple[PartName, ...] = ("test", "validation")
    for part in held_out_parts:
        for folder in map(_unwrapped, by_part.get(part, ())):
            source = _checked(_source(folder), folder, training)
            if source is None:
                unsorted.append(folder)
            else:
                parts[part] = source
    if unsorted and len(parts) == 1:
        raise DataError(
            f"{unsorted[0]} has no folder named after a class of {train} ({some(training.names)}). Sort its images "
            "into such folders, or move it elsewhere to have a test set cut off the training images."
        )
    notes += [f"{folder.name}/ has no folder named after a class, and is not used" for folder in unsorted]
    return Sources(parts, tuple(notes), sum((loose_files(s.place) for s in parts.values() if s.folders), Counter()))


def _checked(source: Source | None, folder: Path, training: Source) -> Source | None:
    """A part's source; None where none of its classes is one of training.

    Raises:
        DataError: some of its classes are not.
    """
    names = set(source.names) if source else set()
    unknown = sorted(names - set(training.names))
    if source is None or len(unknown) == len(names):
        return None
    if unknown:
        raise DataError(
            f"{folder} has {len(unknown)} class folder(s) that {training.place} has not: {some(unknown)}. Rename them, "
            "or add training images of those classes."
        )
    return source


def _source(folder: Path) -> Source | None:
    """The classes in a part's folder, by a table in it or by its folders; None where there are neither."""
    table = next((path for path in tables(folder)[0] if has_columns(path)), None)
    if table:
        rows = read_labels_file(table).rows
        return Source(folder, rows=tuple((file, label) for file, label, _ in rows))
    folders = class_folders(folder)
    return Source(folder, tuple((class_name(inner.name), inner) for inner in folders)) if folders else None


def _of_classes(base: Path, folders: Sequence[Path]) -> Sources:
    source = Source(base, tuple((class_name(folder.name), folder) for folder in folders))
    return Sources({"training": source}, passed=loose_files(base))


def _only_folder(base: Path) -> Path | None:
    """The one folder in a folder that holds no images; None where there are more, or images."""
    folders = class_folders(base)
    loose = any(path.suffix.lower() in SUFFIXES for path in base.iterdir())
    return folders[0] if len(folders) == 1 and not loose else None


def _unwrapped(folder: Path) -> Path:
    """A part's folder, or the one of the same part that is all there is in it, as archives unpack."""
    inner = _only_folder(folder)
    return _unwrapped(inner) if inner and part_of(inner.name) == part_of(folder.name) else folder


def _holds_images(folder: Path) -> bool:
    (found,), _ = list_files(folder, [folder])
    return bool(found)


def _names(folders: Iterable[Path]) -> str:
    return " and ".join(f"{folder.name}/" for folder in folders)
