"""Where adaptive networks look, drawn for images of one's own: `draw_glimpses`."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..data import ImageSet, ResidentLoader, open_dataset
from ..data.decoding.image_file import SUFFIXES
from ..errors import DataError
from ..evaluation.glimpses import Look, look_at
from ..evaluation.predict import find_files, read_pixels
from ..evaluation.trained_network import load_trained_network
from ..models.adaptive import Attend
from .glimpse_figure import draw_look

__all__ = ["draw_glimpses"]


def draw_glimpses(
    target: str | Path,
    images: Sequence[str | Path] = (),
    *,
    output: str | Path | None = None,
    data: str | None = None,
    index: Sequence[int] = (0,),
    data_root: str | Path = "data",
    download: bool = False,
    levels: int | None = None,
    attend: Attend | None = None,
    seed: int = 0,
    which: Literal["best", "last"] = "best",
    device: str | None = None,
) -> list[Look]:
    """Draw where an adaptive network looks: figures 3, 7 and 8 of the glimpse pyramid's paper for images of your own.

    Each figure shows the image with the attended regions, the image as the network saw it, the probability of each
    cell, the tree of regions and the class predicted after each level.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        images: files, and folders whose image files are taken in order of their names, subfolders too.
        output: folder for one PNG an image; nothing is drawn where None.
        data: a name that `open_dataset` knows, to take test images from as well.
        index: which of its test images.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        levels: processing levels after which to stop; as many as the image allows where None.
        attend: how the network chooses: ``sample``, ``threshold``, ``top_k`` or a function; its own way where None.
        seed: decides what is drawn at random, for each image alike.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One look per image: files first, then test images.

    Raises:
        ModelError: the network is not adaptive.
        DataError: an image is missing or cannot be read, or the figures cannot be written.
    """
    files = list(find_files(images))
    if not files and data is None:
        raise DataError("There is no image to look at. Name image files, or a data set and the index of an image.")
    trained = load_trained_network(target, which=which, device=device)
    options: dict[str, Any] = {"levels": levels, "attend": attend, "seed": seed}
    looks = [look_at(trained, read_pixels([file], trained)[0], name=str(file), **options) for file in files]
    if data is not None:
        opened = open_dataset(
            data,
            root=data_root,
            download=download,
            image_size=trained.side(),
            channels=trained.input_size[0],
            seed=trained.data_seed,
        )
        for number, (pixels, label) in zip(index, _test_images(opened, index, seed), strict=True):
            name = f"{data} test image {number}"
            looks.append(look_at(trained, pixels.to(trained.device), name=name, label=label, **options))
    return looks if output is None else _drawn(looks, Path(output))


def _test_images(images: ImageSet, index: Sequence[int], seed: int) -> list[tuple[Tensor, str]]:
    """Test images with the names of their classes, as the first repeat of an evaluation with that seed has them."""
    for number in index:
        if not 0 <= number < len(images.test_labels):
            raise DataError(
                f"{images.name} has no test image {number}: there are {len(images.test_labels)}, numbered from 0."
            )
    loader = ResidentLoader(
        images.test_images, images.test_labels, batch_size=1, seed=seed, shuffle=False, render=images.render
    )
    found = []
    for number in index:
        batch = next(loader.batches(0, start=number))
        found.append((batch.images[0], images.classes[int(batch.labels)]))
    return found


def _drawn(looks: list[Look], folder: Path) -> list[Look]:
    """The looks with the figures that they are now drawn into."""
    drawn: list[Look] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for look, path in zip(looks, _paths(looks, folder), strict=True):
            drawn.append(dataclasses.replace(look, figure=path))
            draw_look(drawn[-1], path)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror}. Choose another --output.") from error
    return drawn


def _paths(looks: Sequence[Look], folder: Path) -> Iterator[Path]:
    """A file for each look's figure, named like its image; none twice, and none that is itself one of the images."""
    taken = {str(Path(look.name).resolve()).lower() for look in looks}
    for look in looks:
        path = Path(look.name)
        name = path.stem if path.suffix.lower() in SUFFIXES else look.name
        stem = re.sub(r"[^\w.-]+", "_", name).strip("_") or "image"
        for number in itertools.count(1):
            found = folder / (f"{stem}-{number}.png" if number > 1 else f"{stem}.png")
            key = str(found.resolve()).lower()  # some file systems do not tell capitals apart
            if key not in taken:
                taken.add(key)
                yield found
                break
