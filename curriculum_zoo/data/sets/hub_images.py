"""``hf:owner/name``: a data set of the Hugging Face Hub, read through the ``datasets`` library.

The library keeps a data set as Arrow files that are mapped into memory, so its size does not matter: only the column of
images is looked at, only the rows that a batch asks for are read, and nothing is decoded before that.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...errors import DataError
from ..decoding.image_file import FORMATS, read_bytes
from .data_set import Labels
from .folder import TEST_SHARE
from .labelled import some
from .parts import PART_NAMES, PartName, part_of
from .photos import PhotoSet
from .split import stratified_split

__all__ = ["HubImages", "hf"]

_OPTIONS = ("config", "image", "label")
_ROWS = 10_000  # that are looked at together


class HubImages:
    """Images in the tables of a Hub data set, as an `ImageSource`: each row holds an image file.

    Args:
        tables: data sets of the ``datasets`` library, one after the other.
        column: the column of images, not decoded.
        rows: which rows of all tables, numbered through; all of them where None.
    """

    def __init__(self, tables: Sequence[Any], column: str, rows: Labels | None = None) -> None:
        # A row is read with all columns of its table, so the tables keep the one column.
        self._tables = tuple(table.select_columns([column]) for table in tables)
        self._column = column
        self._ends = np.cumsum([len(table) for table in self._tables])
        self._rows = np.arange(self._ends[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def _place(self, index: int) -> tuple[Any, int]:
        row = int(self._rows[index])
        which = int(np.searchsorted(self._ends, row, side="right"))
        return self._tables[which], row - int(self._ends[which - 1] if which else 0)

    def name(self, index: int) -> str:
        """Return the split and the row, for messages."""
        table, row = self._place(index)
        return f"{table.info.dataset_name or 'data set'}, split {table.split}, row {row}"

    def content(self, index: int) -> bytes:
        """Return the image as a file holds it.

        Raises:
            DataError: there is none in that row.
        """
        table, row = self._place(index)
        image = table[row][self._column] or {}
        if image.get("bytes") is not None:
            return bytes(image["bytes"])
        if image.get("path"):
            return read_bytes(image["path"])
        raise DataError(f"{self.name(index)} has no image. Leave that row out.")

    def dimensions(self, index: int) -> tuple[int, int] | None:
        """Return width and height in pixels, from the image's header; None where that cannot be read."""
        try:
            with Image.open(io.BytesIO(self.content(index)), formats=FORMATS) as image:
                return image.size
        except Exception:  # `content`, or decoding, says what is wrong
            return None

    def stamps(self) -> Iterator[bytes]:
        """Yield the number of each row and the size of its image in bytes, -1 where there is none; reads no image."""
        sizes = np.concatenate([size for table in self._tables for size in _sizes(table, self._column)])
        for row, size in zip(self._rows.tolist(), sizes[self._rows].tolist(), strict=True):
            yield b"%d\0%d" % (row, size)


def _sizes(table: Any, column: str) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the sizes of a table's images in bytes, chunk by chunk: one array would be limited to 2 GiB of images."""
    import pyarrow.compute as compute

    for piece in table.with_format("arrow").iter(_ROWS):
        for chunk in piece[column].chunks:
            sizes = compute.binary_length(compute.struct_field(chunk, "bytes"))
            yield np.asarray(compute.fill_null(sizes, -1), dtype=np.int64)


def hf(
    argument: str | None, *, image_size: int | None = None, channels: int | None = None, seed: int = 0, **_: object
) -> PhotoSet:
    """Open a data set of the Hub that has a column of images and a column of classes.

    ``hf:owner/name[@revision][?config=NAME&image=COLUMN&label=COLUMN]``; a folder that the ``datasets`` library reads
    goes as well. Split ``train`` is trained on, ``validation`` validated on, ``test`` is the test set; they go by their
    usual names (`parts.PART_NAMES`), and one without labels is left aside. Where there is no test split, ``validation``
    is the test set, and where there is neither, a fifth of each class, cut off by seed; `PhotoSet.layout` says what was
    taken for what. What was downloaded once is read from the library's cache; images are decoded when they are needed,
    so a set larger than memory can be trained on.

    Args:
        argument: which data set.
        image_size: side in pixels that images are brought to.
        channels: 3 for RGB, which is the default, or 1 for gray.
        seed: cuts the test set off, where there is none: the recipe's ``data_seed``.
        **_: not used; naming the set allows its download, as ``HF_HUB_OFFLINE=1`` forbids it.

    Raises:
        DataError: the ``datasets`` library is not installed; no such data set, or not one of labelled images.
    """
    if not argument:
        raise DataError("The data set hf needs a name: hf:owner/name, as in hf:uoft-cs/cifar10.")
    path, _question, query = argument.partition("?")
    path, _at, revision = path.partition("@")
    options = dict(parse_qsl(query))
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown:
        raise DataError(f"hf:{argument}: '{unknown[0]}' is no option; there are {', '.join(_OPTIONS)}.")
    splits = _load(path, revision or None, options.get("config"))
    named = _parts(splits)
    if "training" not in named:
        raise DataError(f"hf:{argument} has no split 'train'; it has {', '.join(splits)}.")
    train = splits[named["training"]]
    image = _column(train, options.get("image"), "image", argument, _is_image)
    label = _column(train, options.get("label"), "label", argument, _is_label)
    tables = {part: _undecoded(splits[name], image) for part, name in named.items()}
    labels = {part: _labels(table, label) for part, table in tables.items()}
    classes, numbered = _numbered(train.features[label], labels, argument)
    used = {part: named[part] for part, its in numbered.items() if (len(its) and its.min() >= 0) or part == "training"}
    if "test" not in used and "validation" in used:
        used["test"] = used.pop("validation")
        numbered["test"], tables["test"] = numbered["validation"], tables["validation"]
    settings: dict[str, Any] = {
        "layout": _described(splits, named, used),
        "source": f"https://huggingface.co/datasets/{path}, {train.info.license or 'no licence stated'}",
        "side": image_size,
        "channels": channels or 3,
    }
    if "test" in used:
        parts = [part for part in PART_NAMES if part in used]
        images = HubImages([tables[part] for part in parts], image)
        learnt = np.concatenate([numbered[part] for part in parts[:-1]])
        held_out = len(numbered["validation"]) if "validation" in used else 0
        settings["validation_images"] = held_out
        return PhotoSet(f"hf:{argument}", images, learnt, numbered["test"], classes, **settings)
    learnt = numbered["training"]
    stay, cut = stratified_split(learnt, TEST_SHARE, seed, classes, purpose="test")
    images = HubImages([tables["training"]], image, np.concatenate([stay, cut]))
    return PhotoSet(f"hf:{argument}", images, learnt[stay], learnt[cut], classes, **settings)


def _parts(splits: Mapping[str, Any]) -> dict[PartName, str]:
    """Which split each part is: of several that may be, the one of the name that stands first in `PART_NAMES`."""
    called = {name: part_of(name) for name in splits}
    found: dict[PartName, str] = {}
    for part, names in PART_NAMES.items():
        fitting = [name for name, meant in called.items() if meant == part]
        if fitting:
            found[part] = min(fitting, key=lambda name: names.index(name) if name in names else len(names))
    return found


def _described(
    splits: Mapping[str, Any], named: Mapping[PartName, str], used: Mapping[PartName, str]
) -> tuple[str, ...]:
    """Sentences on what was taken for what, and what was left aside."""
    taken = [f"{part}: {len(splits[used[part]]):,} images, split {used[part]}" for part in PART_NAMES if part in used]
    cut = [] if "test" in used else ["test: cut off the training images by data_seed"]
    without = [name for name in named.values() if name not in used.values()]
    others = [name for name in splits if name not in named.values()]
    unused = [f"not used: split {name}, which is empty or has images without a label" for name in without]
    return (*taken, *cut, *unused, *([f"not used: {some(others)}"] if others else []))


def _load(path: str, revision: str | None, config: str | None) -> dict[str, Any]:
    """The splits by name."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"hf:{path} is read by the datasets library, which cannot be imported ({error}). Install it: "
            "pip install 'curriculum-zoo[datasets]'."
        ) from error
    try:
        return dict(datasets.load_dataset(path, config, revision=revision, keep_in_memory=False))
    except Exception as error:  # of the Hub, of the network, of the file system, of pyarrow, …
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"hf:{path} cannot be read: {cause}. Check its name, and whether you may read it.") from error


def _column(table: Any, asked: str | None, kind: str, argument: str, fits: Any) -> str:
    """The column of images or classes."""
    if asked is not None:
        if asked not in table.features:
            raise DataError(f"hf:{argument} has no column '{asked}'; it has {', '.join(table.features)}.")
        return asked
    fitting = [name for name, feature in table.features.items() if fits(name, feature)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"several columns that may be: {', '.join(fitting)}" if fitting else f"only {', '.join(table.features)}"
    raise DataError(f"hf:{argument}: which column is the {kind}? It has {found}. State it: hf:…?{kind}=COLUMN.")


def _is_image(_: str, feature: Any) -> bool:
    return type(feature).__name__ == "Image"


def _is_label(name: str, feature: Any) -> bool:
    return type(feature).__name__ == "ClassLabel" or name in ("label", "labels")


def _undecoded(table: Any, column: str) -> Any:
    from datasets import Image as ImageFeature

    return table.cast_column(column, ImageFeature(decode=False))


def _labels(table: Any, column: str) -> np.ndarray:
    # Of all columns, the images of others would be decoded too.
    return np.asarray(table.select_columns([column]).with_format("numpy")[:][column])


def _numbered(
    feature: Any, labels: dict[PartName, np.ndarray], argument: str
) -> tuple[tuple[str, ...], dict[PartName, np.ndarray]]:
    """The classes' names, and labels as class numbers; unlabelled images keep -1."""
    if type(feature).__name__ == "ClassLabel":
        return tuple(feature.names), {name: some.astype(np.int64) for name, some in labels.items()}
    train = labels["training"]
    if train.ndim != 1 or train.dtype.kind not in "iuOUS":
        raise DataError(f"hf:{argument}: the labels are {train.dtype} {list(train.shape)}, not one class an image.")
    names = sorted(set(train.tolist()))
    numbers = {name: number for number, name in enumerate(names)}
    numbered = {
        part: np.array([numbers.get(label, -1) for label in labelled.tolist()], dtype=np.int64)
        for part, labelled in labels.items()
    }
    for part, its in numbered.items():
        unknown = sorted({str(label) for label in labels[part][its < 0].tolist() if label not in (None, "")})
        if unknown and (its >= 0).any():
            raise DataError(
                f"hf:{argument} has {len(unknown)} {part} label(s) that no training image has: {some(unknown)}. "
                "Correct them, or add training images of those classes."
            )
    return tuple(map(str, names)), numbered
