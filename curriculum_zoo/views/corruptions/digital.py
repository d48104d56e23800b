"""Digital corruptions: contrast, elastic transform, pixelation, JPEG; and saturation."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .drawn import Draws
from .filters import gaussian, pixels_first, pixels_last, sampled, white

__all__ = ["contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"]


def contrast(images: Tensor, draws: Draws, kept: float) -> Tensor:
    """Bring all values nearer to their channel's mean: this share of the difference is left."""
    # A sum of whole levels is exact, whatever the order it is taken in.
    total = (images * 255).round_().sum((2, 3), keepdim=True, dtype=torch.int64)
    mean = total.float() / torch.full_like(total, 255 * images[0, 0].numel(), dtype=torch.float32)
    return (images - mean).mul_(kept).add_(mean)


def saturate(images: Tensor, draws: Draws, factor: float, more: float) -> Tensor:
    """Change the saturation, the S of HSV, to factor · S + more, at most 1; gray images have none and stay.

    A gray pixel of a colour image has red's hue by convention, so that any saturation given to it is reddish.
    """
    if images.shape[1] != 3:
        return images
    value = images.amax(1, keepdim=True)
    range = value - images.amin(1, keepdim=True)
    gray = range == 0
    saturation = torch.where(gray, 0, range / value)
    changed = saturation.mul(factor).add_(more).clamp_(0, 1)
    red = images.new_tensor((0.0, 1.0, 1.0)).view(1, 3, 1, 1)
    below = torch.where(gray, red, (value - images) / range)
    return value - value * changed * below


def elastic_transform(images: Tensor, draws: Draws, amplitude: float, sigma: float, reach: float) -> Tensor:
    """Map the image affinely and displace its pixels smoothly (Simard et al. 2003), by bilinear resampling each.

    The published code maps by OpenCV, which rounds where a pixel comes from to a 32nd of a pixel.

    Args:
        images: float32 [n, C, H, W].
        draws: where chance comes from.
        amplitude: displacements are uniform up to this before they are smoothed, in pixels.
        sigma: standard deviation of the Gaussian, cut off at three, that smooths them, in pixels.
        reach: the three corners that define the affine map move by at most this in each direction, in pixels.
    """
    n, _, height, width = images.shape
    y = torch.arange(height, dtype=torch.float32, device=images.device)[:, None].expand(n, height, width)
    x = torch.arange(width, dtype=torch.float32, device=images.device).expand(n, height, width)
    moved = sampled(images, *_affine(draws.uniform(6).mul_(reach), y, x), "mirror")
    if not amplitude:
        return moved
    field = draws.uniform(2 * height * width, 1).view(n, 2, height, width)
    down, right = gaussian(field, sigma, "symmetric", truncate=3).mul_(amplitude).unbind(1)
    return sampled(moved, y + down, x + right, "symmetric")


def _affine(shifts: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels at y and x, [n, H, W], come from under the affine map that moves three corners by these shifts.

    The corners, a third of the short side from the middle, are at the bottom right, the top right and the top left.

    Args:
        shifts: of each corner to the right and down, [n, 6], in pixels.
        y: rows.
        x: columns.
    """
    height, width = y.shape[1:]
    middle, arm = (height // 2, width // 2), max(1, min(height, width) // 3)
    ax, ay, bx, by, cx, cy = shifts[:, :, None, None].unbind(1)
    # The images of one pixel downwards and of one to the right, as columns of a matrix whose inverse is wanted.
    down_x, down_y = (ax - bx) * (0.5 / arm), (ay - by) * (0.5 / arm) + 1
    right_x, right_y = (bx - cx) * (0.5 / arm) + 1, (by - cy) * (0.5 / arm)
    area = right_x * down_y - right_y * down_x
    scale = torch.where(area == 0, 0, 1 / area)
    # From where the last corner went.
    x, y = x - (cx + (middle[1] - arm)), y - (cy + (middle[0] - arm))
    back_x, back_y = (x * down_y - y * down_x) * scale, (y * right_x - x * right_y) * scale
    return back_y + (middle[0] - arm), back_x + (middle[1] - arm)


def pixelate(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Shrink the image to this share of its sides by means over boxes, and enlarge it again by repeating pixels.

    Equals Pillow's BOX both ways: columns first, rounded to 8 bits after each side.
    """
    sides = images.shape[2:]
    planes = (pixels_first(images) * 255).round_()
    for to in ([max(1, int(side * share)) for side in sides], sides):
        for dim in (1, 0):
            planes = _boxes(planes, dim, to[dim])
    return pixels_last(planes, images) / white(images)


def _boxes(planes: Tensor, dim: int, count: int) -> Tensor:
    """Levels [H, W, K] resized to so many rows or columns, each the rounded mean of those in its box."""
    first, sizes = _box_members(planes.shape[dim], count)
    shape = (-1, 1, 1) if dim == 0 else (-1, 1)
    total = torch.zeros_like(planes.narrow(dim, 0, 1))
    for offset in range(int(sizes.max())):
        row = (first + offset).clamp_(max=planes.shape[dim] - 1).to(planes.device)
        total = total + planes.index_select(dim, row).mul_((offset < sizes).to(planes).view(shape))
    return (total / sizes.to(planes).view(shape)).add_(0.5).floor_()


@lru_cache(maxsize=64)
def _box_members(side: int, count: int) -> tuple[Tensor, Tensor]:
    """First row and number of rows of `side` in each of `count` boxes, in Pillow's arithmetic.

    A row belongs to the box that its middle lies in, or ends in. Where it lies on the border, rounding has the say.
    """
    scale = side / count
    stretch = max(scale, 1.0)
    first, sizes = [], []
    for box in range(count):
        centre = (box + 0.5) * scale
        near = range(max(0, int(centre - 0.5 * stretch + 0.5)), min(side, int(centre + 0.5 * stretch + 0.5)))
        inside = [row for row in near if -0.5 < (row - centre + 0.5) * (1 / stretch) <= 0.5]
        first.append(inside[0])
        sizes.append(len(inside))
    return torch.tensor(first), torch.tensor(sizes)


def jpeg_compression(images: Tensor, draws: Draws, quality: int) -> Tensor:
    """Compress each image by JPEG and back, on the CPU, image by image, by Pillow."""
    levels = (images * 255).round_().to(torch.uint8).movedim(1, 3).cpu().numpy()
    decoded = np.empty_like(levels)
    for picture, result in zip(levels, decoded, strict=True):
        with io.BytesIO() as file:
            Image.fromarray(picture if picture.shape[2] == 3 else picture[:, :, 0]).save(file, "JPEG", quality=quality)
            result[:] = np.asarray(Image.open(file)).reshape(result.shape)
    return torch.from_numpy(decoded).to(images.device).movedim(3, 1).float() / white(images)
