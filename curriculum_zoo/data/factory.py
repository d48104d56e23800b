"""`open_dataset`: from ``"name"`` or ``"name:argument"`` to the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from ..errors import CurriculumZooError, DataError
from ..registry import DATASETS
from .sets.image_set import ImageSet
from .sets.photos import PhotoSet

__all__ = ["open_dataset"]


@overload
def open_dataset(
    spec: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    resident: Literal[True] = True,
    on_bad_image: Literal["raise", "skip"] = "raise",
) -> ImageSet: ...


@overload
def open_dataset(
    spec: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    resident: bool | None,
    on_bad_image: Literal["raise", "skip"] = "raise",
) -> ImageSet | PhotoSet: ...


def open_dataset(
    spec: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    resident: bool | None = True,
    on_bad_image: Literal["raise", "skip"] = "raise",
) -> ImageSet | PhotoSet:
    """Open the data set of a name, or of a file or folder.

    Args:
        spec: a name that `list_datasets` gives, with an argument after a colon where it takes one: ``"cifar10"``,
            ``"npz:FILE"``, ``"folder:DIR"``.
        root: folder under which named data sets lie.
        download: whether a set that is missing there may be downloaded.
        image_size: side in pixels to resize to (short side, antialiased, then the centre square); as the set has it
            where None.
        channels: 1 or 3, to turn RGB into gray or gray into RGB; as the set has it where None.
        seed: cuts a test part off a set that has none of its own. Pass a recipe's ``data_seed``, not its ``seed``: runs
            from other initial weights are then tested on the same images, and none was trained on them.
        resident: whether image files are decoded into memory at once, each as its centre square. False leaves them
            where they are; None does so where they would take more than `photo_options.RESIDENT_BYTES`. Sets that
            are no files are always in memory.
        on_bad_image: of images that are decoded at once: ``raise``, or ``skip`` to leave out what cannot be read.

    Raises:
        UnknownNameError: no data set of that name.
        NameClashError: several plugins claim the name.
        PluginError: a plugin fails to load, or returns something that is no `ImageSet` or `PhotoSet`.
        DataError: the data is missing, damaged or malformed.
    """
    name, colon, argument = spec.partition(":")
    entry = DATASETS.entry(name.strip())
    if image_size is not None and image_size < 1:
        raise DataError(f"image_size must be at least 1 pixel, got {image_size}.")
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (gray) or 3 (RGB), got {channels}.")
    try:
        opened: ImageSet | PhotoSet = entry.build(
            (ImageSet, PhotoSet),
            argument if colon else None,
            root=Path(root).expanduser(),
            download=download,
            image_size=image_size,
            channels=channels,
            seed=seed,
        )
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error}. Check the path and whether you may read it.") from error
    except CurriculumZooError:
        raise
    except Exception as error:
        if entry.built_in:
            raise
        raise entry.error(f"fails: {type(error).__name__}: {error}") from error
    opened = opened.converted(image_size=image_size, channels=channels)
    wanted = opened.fits_memory() if resident is None else resident
    return opened.resident(on_bad_image=on_bad_image) if wanted else opened
