"""What an adaptive network looked at in single images: where, with what probability, and its logits, level by level."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.adaptive import Attend, Glimpses
from ..models.glimpse.regions import shrink
from ..seeding import derive_seed
from .metrics import seeded
from .trained_network import TrainedNetwork
from .traversal import adaptive_network

__all__ = ["Look", "LookedLevel", "as_seen", "look_at", "view_of"]

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the network's input; x2 and y2 are the first beyond."""


@dataclass(frozen=True)
class LookedLevel:
    """One processing level of one image.

    Attributes:
        regions: what was looked at: the whole image at the first level, the attended cells at those after it.
        parents: the region of the level before that each is a cell of, by its index; empty at the first level.
        cells: which of its parent's cells each is, row by row; empty at the first level.
        probabilities: of attending each cell of each region, 0 to 1; empty at the last level.
        logits: of the classes, after this level.
    """

    regions: tuple[Box, ...]
    parents: tuple[int, ...]
    cells: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]
    logits: tuple[float, ...]

    def class_probabilities(self) -> list[float]:
        """Return the probability of each class, 0 to 1, after this level."""
        return torch.tensor(self.logits, dtype=torch.float64).softmax(0).tolist()


@dataclass(frozen=True, eq=False)
class Look:
    """One image and what an adaptive network looked at in it.

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
        """Return everything but the pixels, as JSON values."""
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


def look_at(
    trained: TrainedNetwork,
    image: Tensor,
    *,
    name: str = "image",
    label: str | None = None,
    levels: int | None = None,
    attend: Attend | None = None,
    seed: int = 0,
) -> Look:
    """Return what an adaptive network looks at in one image.

    Args:
        trained: the network with what belongs to it.
        image: [C, H, W] in [0, 1], on the network's device, as large as the base resolution at least.
        name: what to call it.
        label: its true class, where that is known.
        levels: processing levels after which to stop; as many as the image allows where None.
        attend: how the network chooses; its own way where None.
        seed: decides what is drawn at random.

    Raises:
        ModelError: the network is not adaptive, or cannot do what the options ask of it.
    """
    network = adaptive_network(trained)
    with torch.inference_mode(), seeded(trained.device, derive_seed(seed)):
        glimpses = network.glimpse(trained.normalize(image[None]), levels, attend)
    return Look(
        name=name,
        label=label,
        image=image.cpu(),
        base=network.base,
        levels=_levels(glimpses, tuple(image.shape[1:])),
        classes=trained.class_names,
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
    """Return an image with every part at the finest resolution that it was looked at in.

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
    """Return a region of an image as the feature extraction module sees it, [C, *base].

    Args:
        image: [C, H, W].
        region: in pixels of the image.
        base: the base resolution, height and width.
    """
    x1, y1, x2, y2 = region
    return shrink(image[None, :, y1:y2, x1:x2], base)[0]
