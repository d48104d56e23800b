"""What a curriculum does to images: blurs, sizes, edges. Batched, on any device, and leaving their input alone.

A view is called on a batch [N, C, H, W], floating point in [0, 1], and gives such a batch back, of the same dtype and
memory format; height and width may shrink. Arithmetic is done in float32, in float64 where the batch is. Views are
frozen dataclasses: equal parameters make equal views.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from ..errors import CurriculumError
from .edges import canny, sobel
from .image_batches import check_batch, like, on_channels
from .separable import Interpolation, blurred, gaussian_weights, low_frequencies, resampled

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
        check_batch(images)
        return images if self.size == 1 else blurred(images, (1 / self.size,) * self.size)


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
        check_batch(images)
        weights = gaussian_weights(self.sigma)
        return images if len(weights) == 1 else blurred(images, weights)


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
        check_batch(images)
        sides = _sides(images, self.size, self.multiple, self.enlarge)
        return images if sides == images.shape[2:] else resampled(images, sides, self.interpolation)

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
        check_batch(images)
        count = round(self.share * len(images))
        if not count:
            return images
        height, width = images.shape[2:]
        small = resampled(images[:count], _sides(images, self.size), self.interpolation)
        return like(torch.cat((resampled(small, (height, width), self.interpolation), images[count:])), images)

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
        check_batch(images)
        sides = _sides(images, self.size)
        return images if sides == images.shape[2:] else low_frequencies(images, sides)

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
        """Edges of a batch [N, C, H, W]."""
        check_batch(images)
        return on_channels(canny(images, math.floor(self.low), math.floor(self.high)), images)


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
        check_batch(images)
        total, ends = 0.0, []
        for share in self.shares:
            total += share
            ends.append(round(total * len(images)))
        starts = [0, *ends[:-1]]
        parts = [view(images[a:b]) for view, a, b in zip(self.views, starts, ends, strict=True) if a < b]
        return like(torch.cat(parts), images) if parts else images


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
