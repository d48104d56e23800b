"""Blurs, sizes and low-pass crops of images: linear maps of rows and of columns, hence two small matrices each.

The matrices are made once per size. On the CPU that beats every other way at small sides: a 5×5 mean of 128×3×32×32 in
float32 takes 0.2 ms so, 0.5 ms by shifted sums, 0.7 ms by running sums, 1.3 ms as a depthwise convolution and 2.8 ms by
``avg_pool2d`` (2 cores with AVX-512). On larger sides the matrices are banded, and only the blocks that hold something
are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_batches import exact_products, like, working_dtype

__all__ = ["Interpolation", "blurred", "gaussian_weights", "low_frequencies", "resampled"]

Interpolation = Literal["bilinear", "bicubic", "area", "nearest"]
"""How a smaller image is made: bilinear and bicubic with antialiasing, the mean over areas, or single pixels."""


def blurred(images: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Average images [N, C, H, W] with these weights in both directions, reflected at their borders.

    The weights begin len//2 pixels before each pixel, as OpenCV and SciPy have it.
    """
    height, width = images.shape[2:]
    return like(_separable(images, _blur_matrix, (weights,), (height, width)).clamp_(0, 1), images)


def resampled(images: Tensor, sides: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resample images [N, C, H, W] to this height and width."""
    down, right = (n // m if n % m == 0 else 0 for n, m in zip(images.shape[2:], sides, strict=True))
    if interpolation == "nearest" and down and right:
        return like(images[:, :, ::down, ::right].clone(), images)
    return like(_separable(images, *_RESAMPLERS[interpolation], sides).clamp_(0, 1), images)


def low_frequencies(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Transform the centre of the images' shifted spectrum, of this height and width, back: [N, C, height, width].

    Scaled so that the mean stays; what rings over is cut off at 0 and 1. The sides must be below the images' own.
    """
    height, width = sides
    both = _separable(images, _low_pass_matrix, (), sides)
    # The frequency -n/2 of an even crop lacks its partner n/2, which makes each one-dimensional transform complex, with
    # an imaginary part of rank one: the last row of each matrix gives it, and the product of two is real.
    down, right = (1 - 2 * (torch.arange(n, device=both.device) % 2) for n in sides)
    crop = both[..., :height, :width] - both[..., height:, width:] * (down[:, None] * right)
    return like(crop.clamp_(0, 1), images)


class _Map:
    """A linear map along one side, n pixels to m, kept as blocks of rows with the columns that are not zero in them."""

    def __init__(self, matrix: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        self.out = len(matrix)
        self.blocks: list[tuple[slice, slice, Tensor]] = []
        for start in range(0, self.out, _BLOCK):
            rows = matrix[start : start + _BLOCK]
            used = rows.abs().amax(0).nonzero().flatten().tolist()
            columns = slice(used[0], used[-1] + 1)
            block = rows[:, columns].to(device=device, dtype=dtype).contiguous()
            self.blocks.append((slice(start, start + len(rows)), columns, block))

    def along_rows(self, planes: Tensor) -> Tensor:
        """Each row of planes [P, h, n] mapped: [P, h, m]."""
        count, height, width = planes.shape
        flat = planes.reshape(count * height, width)
        if len(self.blocks) == 1:
            mapped = flat[:, self.blocks[0][1]] @ self.blocks[0][2].T
        else:
            mapped = flat.new_empty(count * height, self.out)
            for to, columns, block in self.blocks:
                mapped[:, to] = flat[:, columns] @ block.T
        return mapped.view(count, height, self.out)

    def along_columns(self, planes: Tensor) -> Tensor:
        """Each column of planes [P, n, w] mapped: [P, m, w]."""
        if len(self.blocks) == 1:
            return self.blocks[0][2] @ planes[:, self.blocks[0][1]]
        mapped = planes.new_empty(len(planes), self.out, planes.shape[2])
        for to, rows, block in self.blocks:
            mapped[:, to] = block @ planes[:, rows]
        return mapped


_BLOCK = 64
"""Rows to a block: at 224 px, 34 ms instead of a whole matrix's 47 (5×5 mean of 64×3 images, 2 cores with AVX-512)."""


def _separable(
    images: Tensor, matrix: Callable[..., Tensor], parameters: tuple[Any, ...], sides: tuple[int, int]
) -> Tensor:
    """Compute rows · image · columnsᵀ for every image and channel, in working precision.

    Args:
        images: a batch [N, C, H, W].
        matrix: makes the matrix of one side from its length in, its length out, and the parameters.
        parameters: passed on to it.
        sides: height and width that the result has.
    """
    n, c, height, width = images.shape
    dtype = working_dtype(images)
    columns = _map(matrix, width, sides[1], parameters, dtype, images.device)
    rows = _map(matrix, height, sides[0], parameters, dtype, images.device)
    with exact_products(images.device):
        # Shrinking the columns first leaves less to the slower product: 19 ms instead of 25 for half of 64×3×224×224.
        planes = rows.along_columns(images.to(dtype).reshape(n * c, height, width))
        planes = columns.along_rows(planes)
    return planes.view(n, c, *planes.shape[1:])


@lru_cache(maxsize=64)
def _map(
    matrix: Callable[..., Tensor],
    length: int,
    out: int,
    parameters: tuple[Any, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> _Map:
    with torch.inference_mode(False), torch.no_grad():
        return _Map(matrix(length, out, *parameters), dtype, device)


def _blur_matrix(length: int, out: int, weights: tuple[float, ...]) -> Tensor:
    """Weights over the pixels from len//2 before each one on, the image reflected at its borders."""
    before = len(weights) // 2
    seen = _mirror(length, before, len(weights) - 1 - before)
    matrix = torch.zeros(out, length, dtype=torch.float64)
    pixel = torch.arange(out)
    for offset, weight in enumerate(weights):
        matrix.index_put_((pixel, seen[offset : offset + out]), torch.tensor(weight, dtype=torch.float64), True)
    return matrix


def _antialias_matrix(length: int, out: int, cubic: bool) -> Tensor:
    """A triangle, or Keys' cubic with a = -1/2, stretched by the reduction and cut off at the image's border."""
    scale = length / out
    stretch = max(scale, 1.0)
    centre = (torch.arange(out, dtype=torch.float64)[:, None] + 0.5) * scale
    x = ((torch.arange(length, dtype=torch.float64) + 0.5 - centre) / stretch).abs()
    if cubic:
        inner = (1.5 * x - 2.5) * x * x + 1
        outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0))
    else:
        weights = (1 - x).clamp_(min=0)
    return weights / weights.sum(1, keepdim=True)


def _area_matrix(length: int, out: int) -> Tensor:
    """The plain mean of all pixels that an output pixel touches."""
    i = torch.arange(out)[:, None]
    j = torch.arange(length)
    touched = (j >= i * length // out) & (j < -((i + 1) * length // -out))
    return touched.double() / touched.sum(1, keepdim=True)


def _nearest_matrix(length: int, out: int) -> Tensor:
    """Pixel number floor(k·length/out) for the k-th."""
    return F.one_hot(torch.arange(out) * length // out, length).double()


def _low_pass_matrix(length: int, out: int) -> Tensor:
    """A one-dimensional low-pass crop, inverse transform · cut · transform; its real part, of `out` rows.

    Row `out` is the imaginary part, of rank one: its row m is (-1)^m times this one.
    """
    sample = torch.arange(length, dtype=torch.float64) / length
    phase = torch.arange(out, dtype=torch.float64)[:, None] / out - sample
    frequencies = torch.arange(-(out // 2), out - out // 2, dtype=torch.float64)
    real = torch.cos(2 * math.pi * frequencies[:, None, None] * phase).sum(0)
    imaginary = torch.sin(math.pi * out * sample)[None] * (1 - out % 2)
    return torch.cat((real, imaginary)) / length


_RESAMPLERS: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]] = {
    "bilinear": (_antialias_matrix, (False,)),
    "bicubic": (_antialias_matrix, (True,)),
    "area": (_area_matrix, ()),
    "nearest": (_nearest_matrix, ()),
}


@cache
def gaussian_weights(sigma: float) -> tuple[float, ...]:
    """Return weights of a Gaussian, cut off at four standard deviations, together 1; one weight where it does nothing.

    Args:
        sigma: standard deviation in pixels.
    """
    radius = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)] if radius else [1.0]
    return tuple(weight / sum(weights) for weight in weights)


def _mirror(length: int, before: int, after: int) -> Tensor:
    """Indices of the pixels from `before` ahead of the image to `after` behind it, reflected at its borders."""
    if length == 1:
        return torch.zeros(before + 1 + after, dtype=torch.long)
    index = torch.arange(-before, length + after).remainder(2 * (length - 1))
    return torch.where(index < length, index, 2 * (length - 1) - index)
