"""Edges of images, by Sobel and by Canny, for whole batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CurriculumError
from .image_batches import check_batch, on_channels, working_dtype

__all__ = ["CannyEdges", "SobelEdges", "canny", "sobel"]

_FLAT = 4e-6
"""Largest gradient of an image, in [0, 1] per pixel, that is rounding alone."""


_CACHED = 131_072
"""Pixels of a piece whose many intermediate values stay in a core's cache: on two cores 64 images of 224 px take 85 ms
in pieces of two images and 144 ms in one, while 128 of 32 px are no faster in pieces."""


@dataclass(frozen=True)
class SobelEdges:
    """Edge images as HRT makes them: Sobel's gradient magnitude of the luma, divided by each image's own largest.

    Luma is 0.299 R + 0.587 G + 0.114 B, of images of other than 3 channels their mean; the 3×3 kernels see the border
    reflected; the result stands on every channel. An image without edges gives zeros.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Return edges of a batch [N, C, H, W], on every channel."""
        check_batch(images)
        return on_channels(sobel(images), images)


@dataclass(frozen=True)
class CannyEdges:
    """Canny's edges, 0 or 1, equal to OpenCV's ``Canny`` on the 8-bit gray image (3×3 Sobel, L1 norm).

    Attributes:
        low: gradients above this belong to an edge if they hang together with a strong one, on the scale of 8 bits.
        high: gradients above this are strong.
    """

    low: float = 100
    high: float = 200

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise CurriculumError(f"CannyEdges: needs 0 ≤ low ≤ high, got {self.low} and {self.high}")

    def __call__(self, images: Tensor) -> Tensor:
        """Return edges of a batch [N, C, H, W], on every channel."""
        check_batch(images)
        return on_channels(canny(images, math.floor(self.low), math.floor(self.high)), images)


def sobel(images: Tensor) -> Tensor:
    """Return Sobel's gradient magnitude of the luma, [N, H, W], divided by each image's largest.

    Zeros where the largest is nothing. Luma is 0.299 R + 0.587 G + 0.114 B, of other than 3 channels their mean.
    """
    gx, gy = _gradients(_bordered(_luma(images)))
    # The factor 255 of HRT's published code falls out of the division.
    magnitude = gx.square_().addcmul_(gy, gy).sqrt_()
    largest = magnitude.amax((1, 2), keepdim=True)
    # Rounding alone gives a flat image gradients of a millionth, which the division would blow up to full edges; a
    # single step of 8-bit blue, the least edge that a stored image has, is a hundred times as much and more.
    return magnitude.div_(largest).masked_fill_(largest < _FLAT, 0).clamp_(0, 1)


def _luma(images: Tensor) -> Tensor:
    """Brightness [N, H, W] in working precision."""
    images = images.to(working_dtype(images))
    if images.shape[1] == 1:
        return images[:, 0]
    if images.shape[1] != 3:
        return images.mean(1)
    return (images[:, 0] * 0.299).add_(images[:, 1], alpha=0.587).add_(images[:, 2], alpha=0.114)


def _bordered(gray: Tensor) -> Tensor:
    """Images [N, H, W] with a border of one pixel, reflected; of a single row or column, repeated."""
    for side in (1, 2):
        last = gray.shape[side] - 1
        inner = min(1, last)
        ends = gray.narrow(side, inner, 1), gray.narrow(side, last - inner, 1)
        gray = torch.cat((ends[0], gray, ends[1]), side)
    return gray


def _gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's gradients in x and in y, [N, H, W] each, of images [N, H+2, W+2] with their border."""
    step = padded[:, :, 2:] - padded[:, :, :-2]
    mean = (padded[:, :, :-2] + padded[:, :, 2:]).add_(padded[:, :, 1:-1], alpha=2)
    return (step[:, :-2] + step[:, 2:]).add_(step[:, 1:-1], alpha=2), mean[:, 2:] - mean[:, :-2]


def _gray_levels(images: Tensor) -> Tensor:
    """The 8-bit gray image [N, H, W], whole numbers in float32; from RGB by OpenCV's fixed-point weights."""
    levels = (
        channel.to(working_dtype(images)).mul(255).round_().clamp_(0, 255).float() for channel in images.unbind(1)
    )
    if images.shape[1] != 3:
        return torch.stack(tuple(levels)).mean(0).round_()
    red, green, blue = levels
    # Sums below 2^24 are exact in float32; the division by 2^15 is, too.
    gray = red.mul_(9798).add_(green, alpha=19235).add_(blue, alpha=3735)
    return gray.add_(1 << 14).mul_(2**-15).floor_()


@torch.no_grad()
def canny(images: Tensor, low: int, high: int) -> Tensor:
    """Return Canny's edges [N, H, W], 0 or 1, of the 8-bit gray images; thresholds on the scale of 8 bits."""
    if images.device.type != "cpu":
        return _canny(images, low, high)
    pieces = math.ceil(images[:, 0].numel() / _CACHED)
    return torch.cat([_canny(piece, low, high) for piece in images.chunk(pieces)])


def _canny(images: Tensor, low: int, high: int) -> Tensor:
    """Canny's edges of a piece of a batch.

    Images are bordered by a pixel and laid end to end, so that the neighbour in any direction is a fixed step away and
    all arithmetic runs over one flat array. All numbers are whole, or have few enough bits to be exact in float32.
    Indexed rows of integers took eight times as long.
    """
    gray = _gray_levels(images)
    n, height, width = gray.shape
    bordered = F.pad(gray[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    row = width + 2
    gx, gy = _flat_sobel(bordered.reshape(-1), row)
    around = gray.new_zeros(n, height + 2, row)
    magnitude = _step(around.view(-1), row)
    x, y = gx.abs(), gy.abs()
    torch.add(x, y, out=magnitude)
    # There are no gradients beyond the image.
    for edge in (around[:, 0], around[:, -1], around[:, :, 0], around[:, :, -1]):
        edge.zero_()
    peak = magnitude > _rival(around.view(-1), row, x, y, gx * gy)
    strong, weak = peak & (magnitude > high), peak & (magnitude > low)
    connected = _connected(strong.view(torch.uint8), weak.view(torch.uint8), row)
    return connected.view(n, height + 2, row)[:, 1:-1, 1:-1]


def _step(values: Tensor, row: int, down: int = 0, right: int = 0) -> Tensor:
    """Neighbours in flat images with a border: of all pixels but the first row and the last, and one pixel more."""
    return values.narrow(0, row + 1 + down * row + right, len(values) - 2 * (row + 1))


def _flat_sobel(flat: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Sobel's gradients in x and in y, for the pixels of `_step`."""
    around = {(down, right): _step(flat, row, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    gx = (around[-1, 1] - around[-1, -1]).add_(around[1, 1]).sub_(around[1, -1])
    gx.add_(around[0, 1], alpha=2).sub_(around[0, -1], alpha=2)
    gy = (around[1, -1] - around[-1, -1]).add_(around[1, 1]).sub_(around[-1, 1])
    gy.add_(around[1, 0], alpha=2).sub_(around[-1, 0], alpha=2)
    return gx, gy


def _rival(around: Tensor, row: int, x: Tensor, y: Tensor, product: Tensor) -> Tensor:
    """What a pixel's gradient must exceed to be the largest across its edge.

    The direction is one of four, by tangents of 22.5° and 67.5° in OpenCV's 15-bit fixed point. Of two equal pixels
    side by side or one above the other the first stays: half a level less makes "greater" of "greater or equal".
    """
    less = around - 0.5
    tangent = x * (13573 / 2**15)
    falling = torch.maximum(_step(around, row, -1, -1), _step(around, row, 1, 1))
    rising = torch.maximum(_step(around, row, -1, 1), _step(around, row, 1, -1))
    vertical = torch.maximum(_step(around, row, -1, 0), _step(less, row, 1, 0))
    horizontal = torch.maximum(_step(around, row, 0, -1), _step(less, row, 0, 1))
    diagonal = _where_less(product, product.new_zeros(()), rising, falling)
    steep = _where_less(tangent, y - 2 * x, vertical, diagonal)
    return _where_less(y, tangent, horizontal, steep)


def _where_less(a: Tensor, b: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` where a < b, else `no`; with weights of 0 and 1, exact and several times as fast as ``torch.where``."""
    return torch.lerp(no, yes, torch.lt(a, b, out=torch.empty_like(a)))


def _connected(strong: Tensor, weak: Tensor, row: int) -> Tensor:
    """Weak pixels that hang together with strong ones, through the eight neighbours of each; flat bytes, bordered."""
    found = F.pad(strong, (row + 1, row + 1))
    core = _step(found, row)
    while True:
        wide = (found[:-2] | found[2:]).bitwise_or_(found[1:-1])
        grown = (wide[: -2 * row] | wide[2 * row :]).bitwise_or_(wide[row:-row]).bitwise_and_(weak)
        if torch.equal(grown, core):
            return found
        core.copy_(grown)
