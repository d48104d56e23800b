"""What a recipe says about image files that are read as they are needed, or decoded once and kept in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ..configuration import Configuration, setting

__all__ = ["RESIDENT_BYTES", "PhotoOptions"]

Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest", "box", "hamming"]

RESIDENT_BYTES = 2_000_000_000
"""Decoded images up to this size stay in memory where nothing else is said; fixed, so that a recipe means the same
training on every machine."""


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(Configuration):
    """How image files become what a network sees.

    Only `resident` and `on_bad_image` mean anything to images kept in memory: those are squares, changed as the
    recipe's ``augmentation`` says. All else is for images that are read from their files in every epoch.

    Attributes:
        resident: whether all images are decoded once, as squares, and kept in memory. None: where they take no more
            than `RESIDENT_BYTES`.
        area: smallest and largest share of an image that a random crop takes; ``[1, 1]`` for the crop that evaluation
            takes (Szegedy et al. 2015: 0.08 to 1).
        aspect: smallest and largest ratio of the crop's width to its height; the crop is resized to a square.
        flip: mirror left and right, with probability one half.
        jitter: how far brightness, contrast and saturation are changed at most, as a share; 0 leaves them.
        crop_pct: part of the short side that evaluation sees, cut out of the centre. None: what the network's
            configuration states, or all.
        interpolation: how crops are resized, always antialiased. None: what the network's configuration states.
        train_pipeline: a pipeline saved by ``albumentations.save`` as JSON that takes the place of crop, flip and
            jitter. It gives RGB images as bytes, not normalised; sizes in it are for full resolution.
        eval_pipeline: one for evaluation.
        on_bad_image: ``raise`` stops at an image that cannot be read; ``skip`` leaves it out and lists it.
    """

    resident: bool | None = None
    area: tuple[float, float] = setting((0.08, 1.0), above=0, high=1)
    aspect: tuple[float, float] = setting((3 / 4, 4 / 3), above=0)
    flip: bool = True
    jitter: float = setting(0.4, low=0, high=1)
    crop_pct: float | None = setting(None, above=0, high=1)
    interpolation: Interpolation | None = None
    train_pipeline: str | None = None
    eval_pipeline: str | None = None
    on_bad_image: Literal["raise", "skip"] = "raise"

    def check(self) -> None:
        """Ranges must rise."""
        for name in ("area", "aspect"):
            low, high = getattr(self, name)
            if low > high:
                self.fail(name, f"must be smallest and largest, got [{low:g}, {high:g}]")

    def filled(self, interpolation: Any = None, crop_pct: Any = None) -> PhotoOptions:
        """The same with what a network's configuration states in the place of None; else bilinear, and all.

        Args:
            interpolation: of the configuration; timm's may also be ``random``, which is taken for bilinear.
            crop_pct: of the configuration.
        """
        known: Interpolation = interpolation if interpolation in get_args(Interpolation) else "bilinear"
        return replace(self, interpolation=self.interpolation or known, crop_pct=self.crop_pct or crop_pct or 1.0)

    def stated(self) -> list[str]:
        """Return the fields for images that are read in every epoch, as far as they differ from their defaults."""
        common = ("resident", "on_bad_image")
        default = PhotoOptions().to_dict()
        return [name for name, value in self.to_dict().items() if name not in common and value != default[name]]
