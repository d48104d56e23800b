"""What a curriculum does to images: blurs, sizes, edges. Batched, on any device, and leaving their input alone.

A view is called on a batch [N, C, H, W], floating point in [0, 1], and gives such a batch back, of the same dtype and
memory format; height and width may shrink. Arithmetic is done in float32, in float64 where the batch is. Views are
frozen dataclasses: equal parameters make equal views.

Blurs, antialiased sizes and low-pass crops are linear and separable, hence two small matrices, one for the rows and one
for the columns, made once per size. On the CPU that beats every other way at small sides: a 5×5 mean of 128×3×32×32 in
float32 takes 0.2 ms so, 0.5 ms by shifted sums, 0.7 ms by running sums, 1.3 ms as a depthwise convolution and 2.8 ms by
``avg_pool2d`` (2 cores with AVX-512). On larger sides the matrices are banded, and only the blocks that hold something
are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CurriculumError

__all__ = [
    "BoxBlur",
    "CannyEdges",
    "Chain",
    "GaussianBlur",
    "Interpolation",
    "LowFrequencyCrop",
    "Portions",
    "ReducedShare",
    "Resize",
    "SobelEdges",
    "View",
    "at_full_size",
    "compose",
    "identity",
    "pixels",
]

View = Callable[[Tensor], Tensor]
"""A batch of images [N, C, H, W], floating point in [0, 1], to such a batch; height and width may shrink."""

Interpolation = Literal["bilinear", "bicubic", "area", "nearest"]
"""How a smaller image is made: bilinear and bicubic with antialiasing, the mean over areas, or single pixels."""


def identity(images: Tensor) -> Tensor:
    """The view that shows images as they are."""
    return images


def pixels(size: int | float | None, full: int, multiple: int = 1) -> int:
    """A side in pixels.

    Args:
        size: pixels where an integer, a share of the full side where a float, the full side where None.
        full: the full side, in pixels.
        multiple: a share is rounded to the nearest multiple of this, at least one of it and at most the full side.
    """
    if size is None:
        return full
    if isinstance(size, int):
        return size
    return min(full, max(multiple, round(size * full / multiple) * multiple))


@dataclass(frozen=True)
class BoxBlur:
    """The mean over size×size pixels, the kernel J_N/N² of progressive sharpening (section 3).

    An even kernel has no middle: it reaches one pixel further to the top and to the left, as OpenCV and SciPy have it.
    Beyond the border the image is reflected without repeating the border (…c b | a b c…), however small it is.

    Attributes:
        size: side of the kernel in pixels; 1 leaves images as they are.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CurriculumError(f"BoxBlur: size must be at least 1, got {self.size}")

    def __call__(self, images: Tensor) -> Tensor:
        """Blur a batch [N, C, H, W]."""
        _check(images)
        return images if self.size == 1 else _blurred(images, (1 / self.size,) * self.size)


@dataclass(frozen=True)
class GaussianBlur:
    """A Gaussian blur, cut off at four standard deviations, the image reflected as in `BoxBlur`.

    Attributes:
        sigma: standard deviation in pixels; 0 leaves images as they are.
    """

    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise CurriculumError(f"GaussianBlur: sigma must be at least 0, got {self.sigma}")

    def __call__(self, images: Tensor) -> Tensor:
        """Blur a batch [N, C, H, W]."""
        _check(images)
        weights = _gaussian(self.sigma)
        return images if len(weights) == 1 else _blurred(images, weights)


@dataclass(frozen=True)
class Resize:
    """Images at another resolution. Images that have it already are given back as they are.

    Attributes:
        size: the short side: in pixels where an integer, as a share of the image's own where a float. The long side
            keeps its proportion to it.
        interpolation: ``"bilinear"`` and ``"bicubic"`` with antialiasing, ``"area"``, or ``"nearest"``, which drops
            pixels.
        multiple: see `pixels`.
        enlarge: whether smaller images are enlarged; otherwise they stay as they are.
    """

    size: int | float
    interpolation: Interpolation = "bilinear"
    multiple: int = 1
    enlarge: bool = False

    def __post_init__(self) -> None:
        _check_size("Resize", self.size)
        choices = get_args(Interpolation)
        if self.interpolation not in choices:
            raise CurriculumError(
                f"Resize: interpolation must be one of {', '.join(choices)}, got {self.interpolation!r}"
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Resize a batch [N, C, H, W]."""
        _check(images)
        sides = _sides(images, self.size, self.multiple, self.enlarge)
        if sides == images.shape[2:]:
            return images
        return _resampled(images, sides, self.interpolation)

    def at_full_size(self, full: int) -> Resize:
        """The same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full, self.multiple))


@dataclass(frozen=True)
class ReducedShare:
    """A share of each batch at a lower resolution and brought back, so that the batch stays one tensor.

    The first images of the batch are the reduced ones; which images those are is as random as the batch.

    Attributes:
        share: the share of the batch, in [0, 1].
        size: see `Resize`.
        interpolation: see `Resize`; used both ways.
    """

    share: float
    size: int | float
    interpolation: Interpolation = "bilinear"

    def __call__(self, images: Tensor) -> Tensor:
        """Reduce and restore the first of a batch [N, C, H, W]."""
        _check(images)
        count = round(self.share * len(images))
        if not count:
            return images
        height, width = images.shape[2:]
        small = _resampled(images[:count], _sides(images, self.size), self.interpolation)
        return _like(torch.cat((_resampled(small, (height, width), self.interpolation), images[count:])), images)

    def at_full_size(self, full: int) -> ReducedShare:
        """The same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full))


@dataclass(frozen=True)
class LowFrequencyCrop:
    """The low frequencies alone, as a smaller image (EfficientTrain, ICCV 2023, section 4.1).

    The centre of the shifted spectrum is cut out and transformed back, scaled so that the mean brightness stays. What
    rings over is cut off at 0 and 1.

    Attributes:
        size: the short side: in pixels where an integer, as a share of the image's own where a float. The long side
            keeps its proportion to it. Never enlarges.
    """

    size: int | float

    def __post_init__(self) -> None:
        _check_size("LowFrequencyCrop", self.size)

    def __call__(self, images: Tensor) -> Tensor:
        """Reduce a batch [N, C, H, W] to its low frequencies."""
        _check(images)
        height, width = _sides(images, self.size)
        if (height, width) == images.shape[2:]:
            return images
        both = _separable(images, _low_pass_matrix, (), (height, width))
        # The frequency -n/2 of an even crop lacks its partner n/2, which makes each one-dimensional transform complex,
        # with an imaginary part of rank one: the last row of each matrix gives it, and the product of two is real.
        down, right = (1 - 2 * (torch.arange(n, device=both.device) % 2) for n in (height, width))
        crop = both[..., :height, :width] - both[..., height:, width:] * (down[:, None] * right)
        return _like(crop.clamp_(0, 1), images)

    def at_full_size(self, full: int) -> LowFrequencyCrop:
        """The same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full))


@dataclass(frozen=True)
class SobelEdges:
    """Edge images as HRT makes them: Sobel's gradient magnitude of the luma, divided by each image's own largest.

    Luma is 0.299 R + 0.587 G + 0.114 B, of images of other than 3 channels their mean; the 3×3 kernels see the border
    reflected; the result stands on every channel. An image without edges gives zeros.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Edges of a batch [N, C, H, W]."""
        _check(images)
        gray = _luma(images)
        # The factor 255 of the published code falls out of the division.
        gx, gy = _sobel(_bordered(gray))
        magnitude = gx.square_().addcmul_(gy, gy).sqrt_()
        largest = magnitude.amax((1, 2), keepdim=True)
        # Rounding alone gives a flat image gradients of a millionth, which the division would blow up to full edges;
        # a single step of 8-bit blue, the least edge that a stored image has, is a thousand times as much.
        edges = magnitude.div_(largest).masked_fill_(largest < _FLAT, 0).clamp_(0, 1)
        return _on_channels(edges, images)


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
        """Edges of a batch [N, C, H, W]."""
        _check(images)
        return _on_channels(_canny(_gray_levels(images), math.floor(self.low), math.floor(self.high)), images)


@dataclass(frozen=True)
class Chain:
    """Views one after the other, first to last; made by `compose`."""

    views: tuple[View, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Apply them to a batch [N, C, H, W]."""
        for view in self.views:
            images = view(images)
        return images

    def at_full_size(self, full: int) -> Chain:
        """The same views with their sizes in pixels, for images whose full short side is `full`."""
        return Chain(tuple(at_full_size(view, full) for view in self.views))


@dataclass(frozen=True)
class Portions:
    """Several views of one batch, each of a share of it, in order of the batch.

    Attributes:
        views: the views; none may change the resolution.
        shares: the share of the batch that each one gets; together 1.
    """

    views: tuple[View, ...]
    shares: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Apply them to a batch [N, C, H, W]."""
        _check(images)
        total, ends = 0.0, []
        for share in self.shares:
            total += share
            ends.append(round(total * len(images)))
        starts = [0, *ends[:-1]]
        parts = [view(images[a:b]) for view, a, b in zip(self.views, starts, ends, strict=True) if a < b]
        return _like(torch.cat(parts), images) if parts else images


def compose(*views: View) -> View:
    """One view that applies all these, first to last."""
    flat: list[View] = []
    for view in views:
        flat += view.views if isinstance(view, Chain) else [view]
    flat = [view for view in flat if view is not identity]
    if not flat:
        return identity
    return flat[0] if len(flat) == 1 else Chain(tuple(flat))


def at_full_size(view: View, full: int) -> View:
    """The view with its sizes in pixels, so that it leaves images alone that were loaded at that size already.

    Args:
        view: any view.
        full: the full short side of the images, in pixels.
    """
    fix = getattr(view, "at_full_size", None)
    return view if fix is None else fix(full)


# Separable linear maps ------------------------------------------------------------------------------------------------


def _blurred(images: Tensor, weights: tuple[float, ...]) -> Tensor:
    height, width = images.shape[2:]
    return _like(_separable(images, _blur_matrix, (weights,), (height, width)).clamp_(0, 1), images)


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
    """Rows · image · columnsᵀ for every image and channel, in working precision.

    Args:
        images: a batch [N, C, H, W].
        matrix: makes the matrix of one side from its length in, its length out, and the parameters.
        parameters: passed on to it.
        sides: height and width that the result has.
    """
    n, c, height, width = images.shape
    dtype = _working(images)
    columns = _map(matrix, width, sides[1], parameters, dtype, images.device)
    rows = _map(matrix, height, sides[0], parameters, dtype, images.device)
    # A caller's autocast must not round the matrices to bfloat16.
    with torch.autocast(images.device.type, enabled=False):
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
def _gaussian(sigma: float) -> tuple[float, ...]:
    radius = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)] if radius else [1.0]
    return tuple(weight / sum(weights) for weight in weights)


def _mirror(length: int, before: int, after: int) -> Tensor:
    """Indices of the pixels from `before` ahead of the image to `after` behind it, reflected at its borders."""
    if length == 1:
        return torch.zeros(before + 1 + after, dtype=torch.long)
    index = torch.arange(-before, length + after).remainder(2 * (length - 1))
    return torch.where(index < length, index, 2 * (length - 1) - index)


def _resampled(images: Tensor, sides: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Images with this height and width."""
    down, right = (n // m if n % m == 0 else 0 for n, m in zip(images.shape[2:], sides, strict=True))
    if interpolation == "nearest" and down and right:
        return _like(images[:, :, ::down, ::right].clone(), images)
    return _like(_separable(images, *_RESAMPLERS[interpolation], sides).clamp_(0, 1), images)


# Edges ----------------------------------------------------------------------------------------------------------------

_FLAT = 4e-6
"""Largest gradient of an image, in [0, 1] per pixel, that is rounding alone."""


def _luma(images: Tensor) -> Tensor:
    """Brightness [N, H, W] in working precision."""
    images = images.to(_working(images))
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


def _sobel(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's gradients in x and in y, [N, H, W] each, of images [N, H+2, W+2] with their border."""
    step = padded[:, :, 2:] - padded[:, :, :-2]
    mean = (padded[:, :, :-2] + padded[:, :, 2:]).add_(padded[:, :, 1:-1], alpha=2)
    return (step[:, :-2] + step[:, 2:]).add_(step[:, 1:-1], alpha=2), mean[:, 2:] - mean[:, :-2]


def _gray_levels(images: Tensor) -> Tensor:
    """The 8-bit gray image [N, H, W], whole numbers in float32; from RGB by OpenCV's fixed-point weights."""
    levels = (channel.to(_working(images)).mul(255).round_().clamp_(0, 255).float() for channel in images.unbind(1))
    if images.shape[1] != 3:
        return torch.stack(tuple(levels)).mean(0).round_()
    red, green, blue = levels
    # Sums below 2^24 are exact in float32; the division by 2^15 is, too.
    gray = red.mul_(9798).add_(green, alpha=19235).add_(blue, alpha=3735)
    return gray.add_(1 << 14).mul_(2**-15).floor_()


@torch.no_grad()
def _canny(gray: Tensor, low: int, high: int) -> Tensor:
    """Canny's edges [N, H, W], 0 or 1, of 8-bit gray images [N, H, W] in float32.

    Images are bordered by a pixel and laid end to end, so that the neighbour in any direction is a fixed step away and
    all arithmetic runs over one flat array. All numbers are whole, or have few enough bits to be exact in float32.
    128 images of 32 px take 3 ms on one core; indexed rows of integers took 26 on two.
    """
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


# Shapes and dtypes ----------------------------------------------------------------------------------------------------


def _check(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point() or not images.numel():
        raise CurriculumError(
            f"A view takes a batch of images [N, C, H, W], floating point in [0, 1]; got {tuple(images.shape)} of "
            f"{images.dtype}. Divide 8-bit images by 255, and add a first dimension to a single image."
        )


def _check_size(owner: str, size: int | float) -> None:
    if isinstance(size, int) and size < 1:
        raise CurriculumError(f"{owner}: size must be at least 1 px, got {size}")
    if isinstance(size, float) and not 0 < size <= 1:
        raise CurriculumError(f"{owner}: size, as a share of the side, must lie in (0, 1], got {size:g}")


def _sides(images: Tensor, size: int | float, multiple: int = 1, enlarge: bool = False) -> tuple[int, int]:
    """Height and width with a short side of `size`; the image's own where that would enlarge it."""
    height, width = images.shape[2:]
    short = min(height, width)
    target = pixels(size, short, multiple)
    if target == short or (target > short and not enlarge):
        return height, width
    return max(1, round(height * target / short)), max(1, round(width * target / short))


def _working(images: Tensor) -> torch.dtype:
    return torch.float64 if images.dtype == torch.float64 else torch.float32


def _like(result: Tensor, images: Tensor) -> Tensor:
    """The result in the dtype and memory format of the images."""
    channels_last = not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
    format = torch.channels_last if channels_last else torch.contiguous_format
    return result.to(images.dtype).contiguous(memory_format=format)


def _on_channels(plane: Tensor, images: Tensor) -> Tensor:
    """A plane [N, H, W] on as many channels as the images have."""
    return _like(plane[:, None].to(images.dtype).expand_as(images), images)
