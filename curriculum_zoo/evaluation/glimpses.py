"""What a glimpse pyramid looked at in single images: where, how probably, and what it made of it, level by level."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import ImageSet, ResidentLoader, open_dataset
from ..data.image_file import SUFFIXES
from ..errors import DataError
from ..models.glimpse_choice import Attend, Glimpses
from ..models.glimpse_regions import shrink
from ..seeding import derive_seed
from .metrics import seeded
from .predict import find_files, read_pixels
from .subject import Subject, load_subject
from .traversal import glimpse_network

__all__ = ["Look", "LookedLevel", "as_seen", "draw_glimpses", "look_at", "view_of"]

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the network's input; x2 and y2 are the first beyond."""


@dataclass(frozen=True)
class LookedLevel:
    """One processing level of one image.

    Attributes:
        regions: what was looked at: the whole image at the first level, the attended cells at those after it.
        parents: the region of the level before that each is a cell of, by its index; empty at the first level.
        cells: which of its parent's cells each is, row by row; empty at the first level.
        probabilities: how probable it was to attend each cell of each region; empty at the last level.
        logits: of the classes, after this level.
    """

    regions: tuple[Box, ...]
    parents: tuple[int, ...]
    cells: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]
    logits: tuple[float, ...]

    def class_probabilities(self) -> list[float]:
        """Of each class, after this level."""
        return torch.tensor(self.logits, dtype=torch.float64).softmax(0).tolist()


@dataclass(frozen=True, eq=False)
class Look:
    """One image and what a glimpse pyramid looked at in it.

    Attributes:
        name: the file, or data set and index.
        label: the true class, where it is known.
        image: [C, H, W] in [0, 1], at the size that the network takes.
        base: height and width that each region is shrunk to before it is looked at.
        levels: the processing levels, the first one with the whole image.
        classes: names of the classes.
        figure: the file that the figure is drawn into; None where it is not drawn.
    """

    name: str
    label: str | None
    image: Tensor
    base: tuple[int, int]
    levels: tuple[LookedLevel, ...]
    classes: tuple[str, ...]
    figure: Path | None = None

    @property
    def attended(self) -> int:
        """How many locations were attended, the whole image not counted."""
        return sum(len(level.regions) for level in self.levels[1:])

    @cached_property
    def predictions(self) -> tuple[tuple[str, float], ...]:
        """The most probable class after each level, with its probability."""
        best = []
        for level in self.levels:
            probabilities = level.class_probabilities()
            index = max(range(len(probabilities)), key=probabilities.__getitem__)
            best.append((self.classes[index], probabilities[index]))
        return tuple(best)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: everything but the pixels."""
        levels = []
        for level in self.levels:
            values = dataclasses.asdict(level)
            values["classes"] = dict(zip(self.classes, level.class_probabilities(), strict=True))
            levels.append(values)
        return {
            "name": self.name,
            "label": self.label,
            "size": list(self.image.shape[1:]),
            "base": list(self.base),
            "attended": self.attended,
            "predictions": [{"class": name, "probability": value} for name, value in self.predictions],
            "levels": levels,
            "figure": None if self.figure is None else str(self.figure),
        }


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
    """Show where a glimpse pyramid looks: the paper's figures 3, 7 and 8 for images of your own.

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
        seed: decides what is drawn at random; each image starts from it anew.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One look an image: files first, then test images.

    Raises:
        ModelError: the network is no glimpse pyramid.
        DataError: an image is missing or cannot be read, or the figures cannot be written.
    """
    files = list(find_files(images))
    if not files and data is None:
        raise DataError("There is no image to look at. Name image files, or a data set and the index of an image.")
    subject = load_subject(target, which=which, device=device)
    options: dict[str, Any] = {"levels": levels, "attend": attend, "seed": seed}
    looks = [look_at(subject, read_pixels([file], subject)[0], name=str(file), **options) for file in files]
    if data is not None:
        opened = open_dataset(
            data,
            root=data_root,
            download=download,
            image_size=subject.input_size[1],
            channels=subject.input_size[0],
            seed=subject.recipe.get("seed", 0),
        )
        for number, (pixels, label) in zip(index, _test_images(opened, index, seed), strict=True):
            name = f"{data} test image {number}"
            looks.append(look_at(subject, pixels.to(subject.device), name=name, label=label, **options))
    return looks if output is None else _drawn(looks, Path(output))


def look_at(
    subject: Subject,
    image: Tensor,
    *,
    name: str = "image",
    label: str | None = None,
    levels: int | None = None,
    attend: Attend | None = None,
    seed: int = 0,
) -> Look:
    """What a glimpse pyramid looks at in one image.

    Args:
        subject: the network with what belongs to it.
        image: [C, H, W] in [0, 1], on the network's device, as large as the base resolution at least.
        name: what to call it.
        label: its true class, where that is known.
        levels: processing levels after which to stop; as many as the image allows where None.
        attend: how the network chooses; its own way where None.
        seed: decides what is drawn at random.

    Raises:
        ModelError: the network is no glimpse pyramid, or cannot do what the options ask of it.
    """
    network = glimpse_network(subject)
    with torch.inference_mode(), seeded(subject.device, derive_seed(seed)):
        glimpses = network.glimpse(subject.normalize(image[None]), levels, attend)
    return Look(
        name=name,
        label=label,
        image=image.cpu(),
        base=network.base,
        levels=_levels(glimpses, tuple(image.shape[1:])),
        classes=subject.class_names,
    )


def _levels(glimpses: Glimpses, size: tuple[int, ...]) -> tuple[LookedLevel, ...]:
    """The levels of an answer about one image; the choice before a level says what its regions are."""
    befores, afters = (None, *glimpses.levels), (*glimpses.levels, None)
    levels = []
    for before, after, logits in zip(befores, afters, glimpses.logits, strict=True):
        regions = [[0, 0, size[1], size[0]]] if before is None else before.boxes.tolist()
        levels.append(
            LookedLevel(
                regions=tuple(map(tuple, regions)),
                parents=() if before is None else tuple(before.parent.tolist()),
                cells=() if before is None else tuple(before.cell.tolist()),
                probabilities=() if after is None else tuple(map(tuple, after.probabilities.tolist())),
                logits=tuple(logits[0].tolist()),
            )
        )
    return tuple(levels)


def as_seen(image: Tensor, levels: Sequence[Sequence[Box]], base: tuple[int, int]) -> Tensor:
    """An image with every part at the finest resolution that it was looked at in.

    Each region is shrunk to the base resolution, by area as the network does it, and enlarged again (bilinear). Finer
    levels cover coarser ones; where regions of one level overlap, it is their mean.

    Args:
        image: [C, H, W].
        levels: the regions of each level, from the coarsest.
        base: the base resolution, height and width.
    """
    seen = image
    for regions in levels:
        total, count = torch.zeros_like(image), torch.zeros_like(image[:1])
        for region in regions:
            x1, y1, x2, y2 = region
            thumbnail = view_of(image, region, base)[None]
            size = (y2 - y1, x2 - x1)
            total[:, y1:y2, x1:x2] += F.interpolate(thumbnail, size=size, mode="bilinear", align_corners=False)[0]
            count[:, y1:y2, x1:x2] += 1
        seen = torch.where(count > 0, total / count.clamp(min=1), seen)
    return seen


def view_of(image: Tensor, region: Box, base: tuple[int, int]) -> Tensor:
    """A region of an image as the feature extraction module sees it, [C, *base].

    Args:
        image: [C, H, W].
        region: in pixels of the image.
        base: the base resolution, height and width.
    """
    x1, y1, x2, y2 = region
    return shrink(image[None, :, y1:y2, x1:x2], base)[0]


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
        pixels, labels = next(loader.batches(0, start=number))
        found.append((pixels[0], images.classes[int(labels)]))
    return found


def _drawn(looks: list[Look], folder: Path) -> list[Look]:
    """The looks with the figures that they are now drawn into."""
    from .glimpse_figure import draw_look

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
