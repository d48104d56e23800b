"""``npz:FILE``: a data set in one NumPy archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .image_set import ImageSet, checked_images, checked_labels
from .memory import require_memory

__all__ = ["npz", "read_npz"]

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
            require_memory(sum(member.file_size for member in archive.infolist()), f"The arrays in {path}")
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
