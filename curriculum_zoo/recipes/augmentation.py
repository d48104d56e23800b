"""Random changes of geometry that training images go through: mirror, shift, and a square hole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..configuration import Configuration, setting

__all__ = ["Augmentation"]


@dataclass(frozen=True, kw_only=True)
class Augmentation(Configuration):
    """What is done to each training image at random, drawn per image and epoch; nothing by default.

    Attributes:
        flip: mirror left and right, with probability one half; or ``"alternating"``: half of the images in the first
            epoch, the other half in the second, and so on in turn, so that two epochs show each image both ways (Jordan
            2024, §3.6).
        crop_padding: widen the image by so many pixels on every side, then cut a piece of the old size out of it at a
            random place (He et al. 2015, §4.2: 4 on CIFAR); 0 for none. Less than the image's side.
        padding: what the image is widened with: ``"zeros"``, or ``"reflect"`` for its own mirrored border.
        cutout: side in pixels of a square set to zero, centred on a pixel drawn at random and cut off at the borders
            (DeVries & Taylor 2017, §3: 16 on CIFAR-10, 8 on CIFAR-100); 0 for none. At most the image's side.
    """

    flip: bool | Literal["alternating"] = False
    crop_padding: int = setting(0, low=0)
    padding: Literal["zeros", "reflect"] = "zeros"
    cutout: int = setting(0, low=0)

    @property
    def any(self) -> bool:
        """Whether it does anything at all."""
        return bool(self.flip) or self.crop_padding > 0 or self.cutout > 0

    def check_fits(self, image_size: tuple[int, int]) -> None:
        """Check it against the images' height and width in pixels.

        Raises:
            RecipeError: more padding or a larger hole than such images can take.
        """
        side = min(image_size)
        if self.crop_padding >= side:
            self.fail("crop_padding", f"must be below the image's side of {side} pixels, got {self.crop_padding}")
        if self.cutout > side:
            self.fail("cutout", f"must be at most the image's side of {side} pixels, got {self.cutout}")
