"""Blurs: out of focus, through frosted glass, in motion, towards the viewer; and the plain Gaussian."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .drawn import Draws, constant
from .filters import Taps, bordered, filtered, gaussian, kernel_taps, pixels_first, pixels_last, zoomed

__all__ = ["defocus_blur", "gaussian_blur", "glass_blur", "motion_blur", "moved", "zoom_blur"]


def gaussian_blur(images: Tensor, draws: Draws, sigma: float) -> Tensor:
    """Blur by a Gaussian of this standard deviation in pixels, cut off at four, the border's pixels repeated."""
    return gaussian(images, sigma, "nearest")


def defocus_blur(images: Tensor, draws: Draws, radius: float, softness: float) -> Tensor:
    """Average over a disk whose rim is softened, the image reflected at its borders.

    Args:
        images: float32 [n, C, H, W].
        draws: not used.
        radius: of the disk, in pixels.
        softness: standard deviation in pixels of the Gaussian of 3 × 3 pixels, of 5 × 5 from a radius of 8 on, that the
            disk is blurred with.
    """
    return filtered(images, _disk(radius, softness), "mirror")


@lru_cache(maxsize=16)
def _disk(radius: float, softness: float) -> Taps:
    """The published kernel, with what reflection at the border of its array adds where the disk touches that."""
    reach, rim = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    side = torch.arange(-reach, reach + 1, dtype=torch.float64)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).double()
    weights = torch.exp(-0.5 * (torch.arange(-rim, rim + 1, dtype=torch.float64) / softness) ** 2)
    row = (weights / weights.sum()).tolist()
    kernel = (disk / disk.sum())[None, None]
    for taps in (kernel_taps((row,)), kernel_taps([(weight,) for weight in row])):
        kernel = filtered(kernel, taps, "mirror")
    return kernel_taps(kernel[0, 0].tolist())


def glass_blur(images: Tensor, draws: Draws, sigma: float, reach: int, rounds: int) -> Tensor:
    """Blur, replace pixels by near ones, and blur again, as seen through frosted glass.

    In each round pixels from the last to the first take the value that a pixel at most `reach` rows and columns before,
    and less than `reach` behind, has at that moment. That is what the published code does: its exchange of two pixels
    assigns views of one array, and the second of them keeps its value. Its cut to 8 bits before the rounds is left out.

    Args:
        images: float32 [n, C, H, W].
        draws: where chance comes from.
        sigma: standard deviation of both blurs, in pixels.
        reach: in pixels.
        rounds: how many.
    """
    images = gaussian(images, sigma, "nearest")
    for number in range(rounds):
        source = _glass(draws, number, (images.shape[2], images.shape[3]), reach)
        images = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view(images.shape)
    return gaussian(images, sigma, "nearest")


def _glass(draws: Draws, use: int, sides: tuple[int, int], reach: int) -> Tensor:
    """Numbers of the pixels whose values end up at each pixel after one round, int64 [n, H · W]."""
    height, width = sides
    count = height * width
    steps = draws.below(4 * reach * reach, count, use)
    pixel = torch.arange(count, device=steps.device)
    row, column = pixel // width, pixel % width
    moving = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    target = steps // (2 * reach) * width + steps % (2 * reach) + (pixel - reach * (width + 1))
    target = torch.where(moving, target, pixel)
    # A target that has had its turn, behind this pixel and itself among the moving, hands on where it took its value.
    handed = (target > pixel) & moving[target]
    # The second half of the table holds the pixels as they were before the round: there each way ends.
    table = torch.cat((torch.where(handed, target, target + count), (pixel + count).expand_as(target)), 1)
    source = table[:, :count]
    while handed.any():
        table[:, :count] = source = table.gather(1, source)
        handed = source < count
    return source - count


def motion_blur(images: Tensor, draws: Draws, radius: int, sigma: float) -> Tensor:
    """Blur along a line whose direction is drawn for each image, at most 45° off the horizontal."""
    return moved(images, draws, 0, -45, radius, sigma)


def moved(images: Tensor, draws: Draws, use: int, first: int, radius: int, sigma: float) -> Tensor:
    """Blur each image along a line of its own, as ImageMagick's MotionBlurImage does.

    Each pixel becomes the mean, weighted by one half of a Gaussian, of the 2 · radius + 1 pixels from itself on in the
    direction of the line, their positions rounded and the border's pixels repeated. ImageMagick cuts means to 8 bits.

    Args:
        images: float32 [n, C, H, W].
        draws: what the directions come from.
        use: number of the sequence.
        first: the directions are uniform from this one to 90° on, in degrees from rightwards to downwards.
        radius: in pixels.
        sigma: standard deviation, in pixels.
    """
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(2 * radius + 1)]
    weights = [weight / sum(weights) for weight in weights if weight >= 1e-10]
    height, width = images.shape[2:]
    # Sorted by direction, images that are shifted alike at a step are neighbours, and move as one slice.
    directions = draws.below(_DIRECTIONS, 1, use)[:, 0]
    directions, order = directions.sort()
    paths = _paths(len(weights), first)
    (up, left), (down, right) = (-paths.amin((0, 1))).tolist(), paths.amax((0, 1)).tolist()
    up, left, down, right = (max(0, margin) for margin in (up, left, down, right))
    wide = bordered(images.index_select(0, order), "nearest", (up, down), (left, right))
    total = torch.zeros_like(images)
    paths = paths.index_select(0, directions.cpu())
    for step, weight in enumerate(weights):
        rows, columns = paths[:, step].unbind(1)
        starts, counts = ((up + rows) * wide.shape[3] + left + columns).unique_consecutive(return_counts=True)
        lengths = counts.tolist()
        for start, some, part in zip(starts.tolist(), wide.split(lengths), total.split(lengths), strict=True):
            y, x = divmod(start, wide.shape[3])
            part += some[:, :, y : y + height, x : x + width] * weight
    return total.index_select(0, order.argsort())


_DIRECTIONS = 4096
"""Directions that are distinguished: neighbouring ones are 0.02° from each other, a hundredth of a pixel in 25."""


@constant
def _paths(steps: int, first: int) -> Tensor:
    """Rows down and columns right of each step in each direction, int64 [directions, steps, 2] on the CPU."""
    angle = torch.deg2rad(first + (torch.arange(_DIRECTIONS, dtype=torch.float64) + 0.5) * (90 / _DIRECTIONS))
    way = torch.stack((angle.sin(), angle.cos()), 1)[:, None] * torch.arange(steps, dtype=torch.float64)[:, None]
    return (way - 0.5).ceil_().long()


def zoom_blur(images: Tensor, draws: Draws, step: float, count: int) -> Tensor:
    """Average the image and so many enlargements of it, by 1, 1 + step, 1 + 2 · step and so on."""
    planes = pixels_first(images)
    total = planes.clone()
    for number in range(count):
        # As NumPy's arange has it, whose rounding decides how many pixels some of the enlargements have.
        total += zoomed(planes, 1 + number * (1 + step - 1))
    return pixels_last(total.mul_(1 / (count + 1)), images)
