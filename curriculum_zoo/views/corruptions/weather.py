"""Weather: snow, frost, fog and bright sunlight."""

from __future__ import annotations

import torch
from torch import Tensor

from .blur import moved
from .drawn import Draws, plasma
from .filters import pixels_first, pixels_last, zoomed

__all__ = ["brightness", "fog", "frost", "snow"]


def snow(
    images: Tensor,
    draws: Draws,
    mean: float,
    sigma: float,
    zoom: float,
    threshold: float,
    radius: int,
    motion: float,
    kept: float,
) -> Tensor:
    """Whiten the image and let flakes fall over it, blurred by their motion, from two sides.

    The published code cuts the flakes to 8 bits before and after their motion.

    Args:
        images: float32 [n, C, H, W].
        draws: where chance comes from.
        mean: of the noise that the flakes are cut from.
        sigma: its standard deviation.
        zoom: how much it is enlarged.
        threshold: what is below it is no flake.
        radius: of the motion, at most 45° off the vertical, in pixels.
        motion: standard deviation of the motion, in pixels.
        kept: share of the image that stays as it is, where the rest is whitened.
    """
    n, _, height, width = images.shape
    noise = draws.normal(height * width).mul_(sigma).add_(mean).view(n, 1, height, width)
    noise = pixels_last(zoomed(pixels_first(noise), zoom), noise)
    flakes = noise.masked_fill(noise < threshold, 0).clamp_(0, 1)
    flakes = moved(flakes, draws, 1, -135, radius, motion)
    bright = torch.maximum(images, _luma(images) * 1.5 + 0.5)
    return images * kept + bright.mul_(1 - kept) + flakes + flakes.rot90(2, (2, 3))


def _luma(images: Tensor) -> Tensor:
    """Brightness [n, 1, H, W] by ITU-R 601."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, 1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def frost(images: Tensor, draws: Draws, kept: float, weight: float, grain: float, relief: float) -> Tensor:
    """Lay frost over the image.

    The published code lays on crops of five photographs of frosted glass, which this package does not carry. Here each
    image gets a frost of its own: the ridges of a fractal cloud, in a tint between white and ice blue. It agrees with
    the crops in brightness and tint, in how these spread over crops, in the spread within a crop and the steepness of
    its spectrum, at each of the three sizes. It has no needles, feathers or drops, as photographs have, and its tints
    are spread evenly, where two of the photographs are bright and hardly tinted and one is deep blue.

    Args:
        images: float32 [n, C, H, W].
        draws: where chance comes from.
        kept: weight of the image.
        weight: weight of the frost.
        grain: what the cloud's detail grows by from scale to half the scale.
        relief: how much darker the deepest frost is than the ridges.
    """
    valleys = plasma(draws, 0, (images.shape[2], images.shape[3]), grain**-0.5).mul_(2).sub_(1).abs_()[:, None]
    glaze, tint = draws.uniform(2, 1)[:, :, None, None, None].unbind(1)
    blue = glaze * _SPREAD + _RIDGE - valleys.mul_(relief)
    red = blue - (tint * 0.5 + 0.5).square_() * _TINT - 0.03
    ice = torch.cat((red, blue - 0.045, blue), 1).clamp_(0, 1)
    return images * kept + (ice if images.shape[1] == 3 else _luma(ice)) * weight


_RIDGE, _SPREAD, _TINT = 0.82, 0.23, 0.3
"""Mean of the ridges' blue, half of its range over images, and how much red the bluest frost lacks."""


def fog(images: Tensor, draws: Draws, weight: float, decay: float) -> Tensor:
    """Add a cloud, and darken the sum by what raises the image's largest value to the sum of both.

    The cloud is made at the least power of two that holds the image: at the published 32, 64 and 256 for their sizes.

    Args:
        images: float32 [n, C, H, W].
        draws: where chance comes from.
        weight: the cloud's largest value.
        decay: see `plasma`.
    """
    cloud = plasma(draws, 0, (images.shape[2], images.shape[3]), decay)[:, None]
    largest = images.amax((1, 2, 3), keepdim=True)
    return (images + cloud * weight).mul_(largest) / (largest + weight)


def brightness(images: Tensor, draws: Draws, more: float) -> Tensor:
    """Add to the value, the V of HSV, at most up to 1, with hue and saturation as they are."""
    value = images.amax(1, keepdim=True)
    brighter = (value + more).clamp_(max=1)
    # All channels are proportional to the value. Black has neither hue nor saturation, and turns gray.
    return torch.where(value > 0, images * brighter / value, brighter)
