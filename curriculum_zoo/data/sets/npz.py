"""``npz:FILE``: a data set in one NumPy archive."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..memory import require_memory
from .image_set import ImageSet, checked_images, checked_labels

__all__ = ["npz", "read_npz"]

_LARGE = 2**26  # bytes; whatever fits is no danger to memory
_MOST_UNPACKED = 500  # times its compressed size; black-and-white drawings come to a hundred, zeros alone to a thousand
_REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def npz(argument: str | None, **_: object) -> ImageSet:
    """A data set from an ``.npz`` file, mirrored in training where the recipe says so.

    The file holds ``x_train`` and ``x_test``, uint8 [N, H, W, C] or [N, H, W]; ``y_train`` and ``y_test``, class
    numbers [N] or [N, 1]; and, if wanted, ``classes``, the names. ``np.savez_compressed`` writes such files.

    Args:
        argument: path of the file.
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: no such file, or not such a file.
    """
    if not argument:
        raise DataError("The data set npz needs a file: npz:FILE, as in npz:images.npz.")
    return read_npz(Path(argument).expanduser(), name=f"npz:{argument}", flip=True, source=f"file {argument}")


def read_npz(path: Path, *, name: str, flip: bool, source: str) -> ImageSet:
    """Read the archive that `npz` describes.

    Args:
        path: the file.
        name: what to call the set.
        flip: whether mirrored images keep their class.
        source: origin and licence.

    Raises:
        DataError: no such file, or not such a file.
    """
    arrays = _arrays(path)
    images = {part: checked_images(arrays[f"x_{part}"], f"{path}: x_{part}") for part in ("train", "test")}
    labels = {
        part: checked_labels(_flat(arrays[f"y_{part}"]), f"{path}: y_{part}", len(images[part]))
        for part in ("train", "test")
    }
    classes = _class_names(arrays["classes"], path) if "classes" in arrays else _numbered_classes(labels, path)
    return ImageSet(
        name,
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
        classes=classes,
        flip=flip,
        source=source,
    )


def _arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    if not path.is_file():
        what = "is a folder, not a file; folders of images open as folder:DIR" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}. Give the path of an .npz file.")
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is no .npz archive, or is cut short. Write it again with np.savez_compressed({path.name!r}, "
            f"{', '.join(f'{key}=…' for key in _REQUIRED)}), or copy it again."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in _REQUIRED if key not in archive.files]
            if missing:
                raise DataError(
                    f"{path} has no {' and no '.join(missing)}; it holds {', '.join(archive.files) or 'nothing'}. "
                    f"Save the arrays under {', '.join(_REQUIRED)} and, if wanted, classes."
                )
            return {key: _member(archive, key, path) for key in (*_REQUIRED, "classes") if key in archive.files}
    except DataError:
        raise
    except Exception as error:  # damage shows as any of a dozen exceptions of zipfile, zlib and NumPy
        raise DataError(f"{path} is damaged: {error}. Copy or write it again.") from error


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Look at names, sizes and headers of the arrays, before memory is taken for any of them."""
    members = archive.infolist()
    names = [member.filename for member in members]
    for twice in (name for name in names if names.count(name) > 1):
        raise DataError(f"{path} holds {twice[:80]!r} twice. Write it again with np.savez_compressed.")
    for member in (member for member in members if member.filename.removesuffix(".npy") in (*_REQUIRED, "classes")):
        if member.file_size > max(_LARGE, _MOST_UNPACKED * member.compress_size):
            raise DataError(
                f"{path}: {member.filename} unpacks from {member.compress_size:,} bytes to {member.file_size:,}, which "
                "no images do: it may be made to fill the memory. Write images that are blank indeed with np.savez, "
                "which does not compress."
            )
        stated = _stated_size(archive, member)
        if stated != member.file_size:
            raise DataError(
                f"{path} is damaged: {member.filename} has {member.file_size:,} bytes, and its header states "
                f"{stated:,}. Copy or write it again."
            )
    require_memory(sum(member.file_size for member in members), f"The arrays in {path}")


def _stated_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """How many bytes an array's file has by its own header; for Python objects, which have no size, those it has."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        return member.file_size if dtype.hasobject else file.tell() + math.prod(shape) * dtype.itemsize


def _member(archive: np.lib.npyio.NpzFile, key: str, path: Path) -> npt.NDArray[np.generic]:
    try:
        return archive[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: {key} holds Python objects, which are never loaded from a file. Store one plain array: uint8 "
            "images of equal size, integer labels, class names as strings."
        ) from error


def _flat(labels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Labels [N, 1], as Keras gives them, as [N]."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _class_names(names: npt.NDArray[np.generic], path: Path) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"{path}: classes has type {names.dtype} and shape {names.shape}, but is a list of names, one per class: "
            "np.array(['cat', 'dog'])."
        )
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())


def _numbered_classes(labels: dict[str, npt.NDArray[np.int64]], path: Path) -> tuple[str, ...]:
    """Numbers for names, up to the highest label."""
    highest = max(int(part.max()) for part in labels.values())
    if highest >= sum(map(len, labels.values())):
        part = next(part for part in ("train", "test") if labels[part].max() == highest)
        where = int(labels[part].argmax())
        raise DataError(
            f"{path}: y_{part}[{where}] is {highest}, which would make {highest + 1:,} classes, more than there are "
            "images. Number the classes from 0 without gaps: np.unique(labels, return_inverse=True)."
        )
    return tuple(map(str, range(highest + 1)))
