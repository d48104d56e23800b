"""Blurs: the mean over a box, and a Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import CurriculumError
from .image_batches import check_batch
from .separable import blurred, gaussian_weights

__all__ = ["BoxBlur", "GaussianBlur"]


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
