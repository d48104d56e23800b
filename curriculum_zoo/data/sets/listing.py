"""The image files below some folders, each folder once, and a count by kind of everything that is passed over."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from ...errors import DataError
from ..decoding.image_file import SUFFIXES

__all__ = ["Passed", "class_folders", "class_name", "described", "list_files", "loose_files", "nfc"]

Passed: TypeAlias = Counter[str]
"""How many of each kind were passed over, keyed by what they are; ``{s}`` stands for the plural's ending."""

_SYSTEM = frozenset({
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found", "$recycle.bin",
    "system volume information",
})  # fmt: skip
"""Folders that storage and operating systems leave behind, in lower case: thumbnails, waste, repairs."""

_LINK = "link{s} to folders whose images count elsewhere"
_MOST_KINDS = 8


def list_files(top: Path, places: Sequence[Path]) -> tuple[list[list[str]], Passed]:
    """List the image files in some folders and below them, each list by path, folder by folder.

    A folder that several ways lead to counts once: where it lies itself, before where links lead to it. Links to `top`
    or to what it lies in are not followed.

    Args:
        top: the folder of the data set.
        places: the folders to look into; what does not exist holds nothing.

    Returns:
        A list of paths for each place, and what was passed over.

    Raises:
        OSError: a folder that may not be read.
    """
    root = os.path.realpath(top)
    found: list[list[str]] = [[] for _ in places]
    passed: Passed = Counter()
    real = {place: os.path.realpath(place) == _expected(root, top, place) for place in places}
    places_met = {os.path.realpath(place) for place in places if real[place]}
    visited = {str(above) for place in (root, *places_met) for above in Path(place).parents} | {root}
    visited -= places_met
    waiting = [(index, str(place)) for index, place in enumerate(places) if not real[place]]
    for index, place in enumerate(places):
        if real[place]:
            waiting += [(index, link) for link in _walk(str(place), visited, found[index], passed)]
    while waiting:
        index, link = waiting.pop(0)
        if os.path.realpath(link) in visited:
            passed[_LINK] += 1
        else:
            waiting += [(index, inner) for inner in _walk(link, visited, found[index], passed)]
    return [sorted(paths, key=_by_folder) for paths in found], passed


def _expected(root: str, top: Path, place: Path) -> str:
    """The real path of a place that no link leads to."""
    return os.path.normpath(os.path.join(root, os.path.relpath(place, top)))


def _walk(top: str, visited: set[str], found: list[str], passed: Passed) -> Iterator[str]:
    """Add the image files below a folder to `found`; yield links to folders, which are not followed."""

    def refuse(error: OSError) -> None:
        raise error

    links = []
    for place, folders, names in os.walk(top, onerror=refuse) if os.path.isdir(top) else ():
        real = os.path.realpath(place)
        if real in visited:
            passed[_LINK] += 1
            folders.clear()
            continue
        visited.add(real)
        counted = [name for name in folders if not _passed_over(name, passed, "folder{s}")]
        links += [os.path.join(place, name) for name in counted if os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in counted if not os.path.islink(os.path.join(place, name))]
        found += [os.path.join(place, name) for name in names if _is_image(name, passed)]
    yield from links


def class_folders(path: Path) -> list[Path]:
    """Return the folders in a folder that may be classes, in alphabetical order."""
    return _entries(path)[0]


def loose_files(path: Path) -> Passed:
    """Return what lies in a folder beside its class folders, and counts for none of them."""
    _, passed, images = _entries(path)
    return passed + Counter({"image file{s} beside the class folders": images}) if images else passed


def _entries(path: Path) -> tuple[list[Path], Passed, int]:
    """Folders that may be classes, what was passed over, and the number of image files, all of a folder itself."""
    passed: Passed = Counter()
    folders, images = [], 0
    for entry in path.iterdir():
        if not entry.is_dir():
            images += _is_image(entry.name, passed)
        elif not _passed_over(entry.name, passed, "folder{s}") and not _holds_runs(entry, passed):
            folders.append(entry)
    return sorted(folders, key=lambda folder: nfc(folder.name)), passed, images


def class_name(folder: str) -> str:
    """Return the name of the class that a folder is named after, in Unicode's composed form (NFC).

    Raises:
        DataError: bytes that are no UTF-8, which a card, a table or another machine could not show.
    """
    try:
        return nfc(os.fsencode(folder).decode())  # UTF-8 in any locale, as where names are taken for ASCII or Latin-1
    except UnicodeError as error:
        raise DataError(
            f"The folder {os.fsencode(folder)!r} is not named in UTF-8, so the class cannot be called after it. Rename "
            "it, with convmv for instance."
        ) from error


def nfc(text: str) -> str:
    """Return a text in Unicode's composed form: macOS hands out names in the other one."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def described(passed: Passed) -> str:
    """Return what was passed over as words, the most frequent first; empty where nothing was."""
    kinds = passed.most_common()
    words = [f"{count:,} {kind.replace('{s}', 's' * (count != 1))}" for kind, count in kinds[:_MOST_KINDS]]
    rest = sum(count for _, count in kinds[_MOST_KINDS:])
    return ", ".join([*words, *([f"{rest:,} of {len(kinds) - _MOST_KINDS} more kinds"] if rest else [])])


def _by_folder(path: str) -> list[str]:
    return nfc(path).split(os.sep)


def _is_image(name: str, passed: Passed) -> bool:
    """Whether a file is taken for an image by its name; it is counted where not."""
    if _passed_over(name, passed, "file{s}"):
        return False
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        return True
    short = suffix.isascii() and suffix.isprintable() and len(suffix) <= 10
    passed[
        f"file{{s}} ending in {suffix if short else 'something else'}" if suffix else "file{s} without an ending"
    ] += 1
    return False


def _passed_over(name: str, passed: Passed, what: str) -> bool:
    """Whether a name is hidden or the system's; it is counted where so."""
    if name.lower() in _SYSTEM:
        passed[f"{what} {name}"] += 1
    elif name.startswith((".", "__")):
        passed[f"hidden {what}"] += 1
    else:
        return False
    return True


def _holds_runs(folder: Path, passed: Passed) -> bool:
    """Whether a folder is where runs are written by default, and holds some."""
    if folder.name != "runs" or not any(folder.glob("*/recipe.json")):
        return False
    passed["folder{s} of runs"] += 1
    return True
