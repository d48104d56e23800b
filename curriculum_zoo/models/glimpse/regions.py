"""Where a glimpse pyramid looks: the grid of candidate regions, level by level, and the cutting out of regions.

Everything here is geometry. A region of height H and width W holds grid × grid candidates ("cells", row by row), each
of ``cell_side(H)`` × ``cell_side(W)`` pixels, the first flush with the region's top left corner and the last with its
bottom right one. All regions of a level have the same size, so a level's regions differ by their offsets alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ModelError

__all__ = ["Grid", "LevelPlan", "RegionSource", "base_of", "cut", "shrink"]


@dataclass(frozen=True)
class LevelPlan:
    """The geometry of one processing level.

    Attributes:
        size: height and width of its regions, pixels of the input image.
        offsets: of each of their cells (the next level's regions) the top and left edge within the region, pixels;
            empty at the last level.
        scale: pixels of a region per pixel of base resolution, by height and width, where the regions of this level
            lie on that lattice, so that they can be cut from a copy of the image that is shrunk by it; else None.
    """

    size: tuple[int, int]
    offsets: tuple[tuple[int, int], ...]
    scale: tuple[int, int] | None


@dataclass(frozen=True)
class Grid:
    """The candidates within a region: side × side cells that overlap their neighbours.

    Attributes:
        side: cells to a row, and to a column; at least 2.
        overlap: the share of a cell's side that it has in common with its neighbour, 0 ≤ overlap < 1.
    """

    side: int = 3
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not _is_integer(self.side) or self.side < 2:
            raise ModelError(f"grid={self.side!r} must be an integer of at least 2: cells to a row, and to a column.")
        if isinstance(self.overlap, bool) or not isinstance(self.overlap, int | float) or not 0 <= self.overlap < 1:
            raise ModelError(f"overlap={self.overlap!r} must be at least 0 and less than 1: a share of a cell's side.")

    @property
    def cells(self) -> int:
        """Number of cells, g."""
        return self.side * self.side

    def cell_side(self, length: int) -> int:
        """Return the side in pixels of the cells of a region of that side; whole, so that the cells cover the region.

        S / (1 + (side - 1)·(1 - overlap)), which is S/2 for the paper's grid of 3 and overlap of 0.5, rounded up.
        """
        stride = 1 - Fraction(self.overlap).limit_denominator(1000)
        return ceil(length / (1 + (self.side - 1) * stride))

    def cell_offsets(self, length: int) -> tuple[int, ...]:
        """Return where the cells of a row begin, in pixels: 0, S/4 and S/2 for the paper's grid; else rounded down."""
        room = length - self.cell_side(length)
        return tuple(index * room // (self.side - 1) for index in range(self.side))

    def sizes(self, size: tuple[int, int], base: tuple[int, int]) -> list[tuple[int, int]]:
        """Return height and width of the regions of every level that an image allows.

        Args:
            size: the image's height and width, pixels.
            base: those of the base resolution; a level's regions are no smaller.

        Returns:
            One pair for each level, the image's own first; none where the image is smaller than the base.
        """
        sizes: list[tuple[int, int]] = []
        while size[0] >= base[0] and size[1] >= base[1]:
            sizes.append(size)
            smaller = (self.cell_side(size[0]), self.cell_side(size[1]))
            if smaller[0] >= size[0] or smaller[1] >= size[1]:
                break
            size = smaller
        return sizes

    def plan(self, size: tuple[int, int], base: tuple[int, int], levels: int) -> list[LevelPlan]:
        """Return the geometry of the first so many levels.

        Args:
            size: the image's height and width, pixels.
            base: those of the base resolution.
            levels: how many levels, at most ``len(sizes(size, base))``.
        """
        sizes = self.sizes(size, base)[:levels]
        plans: list[LevelPlan] = []
        edges: tuple[set[int], set[int]] = (set(), set())
        for level, (height, width) in enumerate(sizes):
            scale = _lattice((height, width), base, edges)
            tops, lefts = self.cell_offsets(height), self.cell_offsets(width)
            edges = (edges[0] | set(tops), edges[1] | set(lefts))
            last = level == len(sizes) - 1
            plans.append(LevelPlan((height, width), () if last else tuple((y, x) for y in tops for x in lefts), scale))
        return plans


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _lattice(size: tuple[int, int], base: tuple[int, int], edges: tuple[set[int], set[int]]) -> tuple[int, int] | None:
    """Pixels of a region per pixel of base resolution, where these and all edges up to here are whole multiples."""
    scale = (size[0] // base[0], size[1] // base[1])
    for side, least, step, taken in zip(size, base, scale, edges, strict=True):
        if side != least * step or any(edge % step for edge in taken):
            return None
    return scale


def base_of(base_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a base resolution.

    Raises:
        ModelError: neither a side nor height and width, in pixels.
    """
    sides = (base_size, base_size) if isinstance(base_size, int) else base_size
    if isinstance(sides, Sequence) and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides):
        return sides[0], sides[1]
    raise ModelError(f"base_size={base_size!r} must be a side, or height and width, in pixels.")


def shrink(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images by area: each pixel of the result is the mean of the pixels that it covers.

    Where the sides are no whole multiples, neighbouring pixels share the pixels on their border (adaptive average
    pooling), so every pixel counts and nothing is aliased.

    Args:
        images: [N, C, H, W].
        size: height and width of the result, at most H and W.
    """
    height, width = map(int, images.shape[-2:])  # a traced program is for images of one size
    if (height, width) == tuple(size):
        return images
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(images, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(images, (size[0], size[1]))


class RegionSource:
    """A batch of images, from which regions of every level are cut at base resolution.

    Where a level's regions lie on a lattice (`LevelPlan.scale`) they are cut from a copy of the images that is shrunk
    once, each copy from the next finer one; elsewhere each region is cut out whole and shrunk by itself. Either way a
    region's pixels are the same: the means of the pixels of the image that they cover.

    Args:
        images: [N, C, H, W].
        plans: the geometry of the levels.
        base: height and width of the base resolution.

    Attributes:
        first: the whole images at base resolution, [N, C, *base].
    """

    def __init__(self, images: Tensor, plans: Sequence[LevelPlan], base: tuple[int, int]) -> None:
        self.images = images
        self.plans = plans
        self.base = base
        self._copies: dict[int, Tensor] = {}
        copy, scale = images, (1, 1)
        for level, plan in reversed(list(enumerate(plans))):
            if plan.scale is None:
                continue
            if plan.scale[0] % scale[0] or plan.scale[1] % scale[1]:
                copy, scale = images, (1, 1)
            copy = _pool(copy, (plan.scale[0] // scale[0], plan.scale[1] // scale[1]))
            self._copies[level], scale = copy, plan.scale
        self.first = self._copies[0] if 0 in self._copies else shrink(images, base)

    def cut(self, level: int, rows: Tensor, corners: Tensor) -> Tensor:
        """Regions of one level at base resolution.

        Args:
            level: from 0; above 0.
            rows: [A] int64, which image each region is of.
            corners: [A, 2] int64, top and left edge of each, pixels of the image.

        Returns:
            [A, C, base height, base width].
        """
        plan = self.plans[level]
        top, left = corners.unbind(1)
        if plan.scale is None:
            return shrink(cut(self.images, rows, top, left, plan.size), self.base)
        return cut(self._copies[level], rows, top // plan.scale[0], left // plan.scale[1], self.base)


def _pool(images: Tensor, scale: tuple[int, int]) -> Tensor:
    return images if scale == (1, 1) else F.avg_pool2d(images, scale)


def cut(images: Tensor, rows: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut regions of one size out of a batch, all at once.

    Args:
        images: [N, C, H, W].
        rows: [A] int64, which image each region is of.
        top: [A] int64, the upper edge of each.
        left: [A] int64, its left edge.
        size: height and width of the regions.

    Returns:
        [A, C, height, width], channels last in memory.
    """
    ys = top[:, None] + torch.arange(size[0], device=top.device)
    xs = left[:, None] + torch.arange(size[1], device=left.device)
    return images.permute(0, 2, 3, 1)[rows[:, None, None], ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2)
