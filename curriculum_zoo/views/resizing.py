"""Smaller images: resampled, or reduced to their low frequencies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from torch import Tensor

from ..errors import CurriculumError
from .image_batches import check_batch
from .separable import Interpolation, low_frequencies, resampled
from .view import pixels

__all__ = ["Interpolation", "LowFrequencyCrop", "Resize", "reduced_sides"]


@dataclass(frozen=True)
class Resize:
    """Images at another resolution. Images that have it already are returned as they are.

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
        sides = reduced_sides(images, self.size, self.multiple, self.enlarge)
        return images if sides == images.shape[2:] else resampled(images, sides, self.interpolation)

    def at_full_size(self, full: int) -> Resize:
        """Return the same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full, self.multiple))


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
        sides = reduced_sides(images, self.size)
        return images if sides == images.shape[2:] else low_frequencies(images, sides)

    def at_full_size(self, full: int) -> LowFrequencyCrop:
        """Return the same view with its size in pixels, for images whose full short side is `full`."""
        return replace(self, size=pixels(self.size, full))


def _check_size(owner: str, size: int | float) -> None:
    if isinstance(size, int) and size < 1:
        raise CurriculumError(f"{owner}: size must be at least 1 px, got {size}")
    if isinstance(size, float) and not 0 < size <= 1:
        raise CurriculumError(f"{owner}: size, as a share of the side, must lie in (0, 1], got {size:g}")


def reduced_sides(images: Tensor, size: int | float, multiple: int = 1, enlarge: bool = False) -> tuple[int, int]:
    """Return height and width for a short side of `size`; the images' own where that would enlarge them."""
    height, width = images.shape[2:]
    short = min(height, width)
    target = pixels(size, short, multiple)
    if target == short or (target > short and not enlarge):
        return height, width
    return max(1, round(height * target / short)), max(1, round(width * target / short))
