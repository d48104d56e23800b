"""Labels in a table: ``metadata.csv``, ``labels.csv``, ``train.csv``, with a column of files and one of labels."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ...errors import DataError
from .listing import nfc
from .parts import PartName, part_of

__all__ = ["FILE_COLUMNS", "LABEL_COLUMNS", "LabelsFile", "read_labels_file", "tables"]

FILE_COLUMNS = (
    "file_name", "filename", "file", "file_path", "filepath", "path", "image_path", "image_name", "image", "img",
)  # fmt: skip
LABEL_COLUMNS = ("class_name", "label_name", "label", "labels", "class", "target", "category", "class_id", "label_id")
SPLIT_COLUMNS = ("split", "subset", "partition", "set", "part", "usage")
"""Names of columns, the first that is there being taken; case, spaces and underscores do not matter."""

_USUAL = ("metadata", "labels")
_DELIMITERS = ",;\t|"
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class LabelsFile:
    """A table of image files and their labels.

    Attributes:
        path: the file.
        columns: the columns that were taken for files and labels, and for parts where there is one.
        base: the folder that the files' paths start from.
        rows: path, label, and the part where the table says so; each file once, in the table's order.
    """

    path: Path
    columns: tuple[str, ...]
    base: Path
    rows: tuple[tuple[str, str, PartName | None], ...]


def tables(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the CSV and TSV files in a folder: those called ``metadata``, ``labels`` or like a part, and others."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".tsv") and path.is_file())
    found = [path for path in found if not path.name.startswith(".")]
    usual = [path for path in found if path.stem.lower() in _USUAL or part_of(path.stem)]
    return usual, [path for path in found if path not in usual]


def has_columns(path: Path) -> bool:
    """Return whether a table has a column of files and one of labels."""
    lines = _text(path).splitlines()
    return bool(lines) and _columns(lines[0]) is not None


def read_labels_file(path: Path) -> LabelsFile:
    """Read a table of image files and labels.

    Raises:
        DataError: no such columns, a row that lacks one, a file that is not there, lies outside the table's folder, or
            has two labels.
    """
    text = _text(path)
    found = _columns(text.splitlines()[0] if text.strip() else "")
    if found is None:
        raise DataError(
            f"{path} has no column of files and one of labels; its first line is {text.partition(chr(10))[0][:80]!r}. "
            f"Call them {FILE_COLUMNS[0]} and label."
        )
    delimiter, columns = found
    # `splitlines` would cut quoted fields at rarer line ends.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    head = next(reader)
    places = [head.index(column) for column in columns]
    try:
        cells = [(reader.line_num, [_cell(row, place) for place in places]) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, cannot be read: {error}. Correct it.") from error
    _check_cells(path, cells, columns)
    base = _base(path.parent, cells[0][1][0])
    labels: dict[str, tuple[str, PartName | None]] = {}
    for line, (file, label, *split) in cells:
        key = _inside(path, line, base, file)
        value = nfc(label), _part(path, line, split)
        if labels.setdefault(key, value) != value:
            raise DataError(f"{path}, line {line}: {file} stands there twice, with different labels. Delete one.")
    absent = [key for key in labels if not os.path.exists(key)]
    if absent:
        raise DataError(
            f"{path} names {len(labels):,} files, and {len(absent):,} of them do not exist: {absent[0]}"
            f"{' and others' if len(absent) > 1 else ''}. Put them there, or delete their lines."
        )
    rows = tuple((key, label, part) for key, (label, part) in labels.items())
    return LabelsFile(path, tuple(columns), base, rows)


def _text(path: Path) -> str:
    content = path.read_bytes()
    encoding = _MARKS.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8.") from error


def _columns(first_line: str) -> tuple[str, list[str]] | None:
    """The delimiter, and the columns of files, labels and perhaps parts; None where a needed one is missing."""
    for delimiter in _DELIMITERS:
        head = next(csv.reader([first_line], delimiter=delimiter), [])
        by_key = {_key(column): column for column in reversed(head)}
        chosen = [
            next((by_key[_key(name)] for name in names if _key(name) in by_key), None)
            for names in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
        ]
        if chosen[0] is not None and chosen[1] is not None:
            return delimiter, [column for column in chosen if column is not None]
    return None


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.lower())


def _cell(row: Sequence[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _check_cells(path: Path, cells: Sequence[tuple[int, Sequence[str]]], columns: Sequence[str]) -> None:
    if not cells:
        raise DataError(f"{path} has a first line and no others. Give a line for each image.")
    for line, row in cells:
        for column, cell in zip(columns, row, strict=True):
            if not cell:
                without = sum(not all(row) for _, row in cells)
                raise DataError(
                    f"{path}, line {line}, has no {column}, as {without:,} of {len(cells):,} lines. Fill it in, or "
                    "delete these lines."
                )


def _base(folder: Path, first: str) -> Path:
    """The folder that paths start from: the table's own, or that one within it which has the first file."""
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return next((place for place in (folder, *inner) if _existing(place, first)), folder)


def _inside(path: Path, line: int, base: Path, file: str) -> str:
    """The path of a file that a table names.

    Raises:
        DataError: it would lie outside of the table's folder.
    """
    posix, windows = PurePosixPath(file), PureWindowsPath(file)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise DataError(
            f"{path}, line {line}: {file} leads out of the data set's folder. Write paths from {base} on, and put the "
            "files there."
        )
    return _existing(base, file) or os.path.join(base, file)


def _existing(base: Path, file: str) -> str | None:
    """The path of a file under the spelling that exists; None where none does."""
    return next((place for name in _spellings(file) if os.path.isfile(place := os.path.join(base, name))), None)


def _spellings(file: str) -> Iterator[str]:
    """A path as it is written, with Windows' separators turned, and in either form of Unicode."""
    for name in dict.fromkeys((file, file.replace("\\", "/"))):
        clean = os.path.normpath(name)
        yield from dict.fromkeys((clean, *(unicodedata.normalize(form, clean) for form in ("NFC", "NFD"))))


def _part(path: Path, line: int, split: Sequence[str]) -> PartName | None:
    if not split:
        return None
    part = part_of(split[0])
    if part is None:
        raise DataError(
            f"{path}, line {line}: '{split[0]}' is no part of a data set that is known. Write train, validation or "
            "test."
        )
    return part
