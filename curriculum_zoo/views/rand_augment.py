"""RandAugment for whole batches on their device: each image gets operations of its own, all of one magnitude.

Source: Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space" (2020): the
fourteen operations of its section 3, the ranges as torchvision and timm have them. Images are resampled bilinearly and
black where nothing is left of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..draws import random_below
from ..errors import DataError
from .image_batches import beside, exact_products, like
from .view import view_seeds

__all__ = ["OPERATIONS", "RandAugment", "rand_augment"]

_AUGMENT = 0x9015  # what draws are for
_OPERATION, _SIGN = range(2)  # streams of an image's random numbers

Operation = Callable[[Tensor, Tensor], Tensor]
"""Images [n, C, H, W] in float32 in [0, 1], and a signed strength [n, 1, 1, 1] in [-1, 1], to such images."""


@torch.no_grad()
def rand_augment(images: Tensor, magnitude: float, seeds: Tensor, operations: int = 2) -> Tensor:
    """Put each image through operations that are drawn for it, with equal chances, one after the other.

    Args:
        images: a batch [N, C, H, W], floating point in [0, 1]; it is left as it is.
        magnitude: strength from 0 to 10. At 0 only those operations change an image that have no strength
            (autocontrast and equalize); at 10 it is sheared by 0.3, shifted by 45 % of its side, turned by 30°, its
            brightness, contrast, colour and sharpness changed by 90 %, cut to 4 bits, or inverted altogether.
        seeds: int64 [N], one for each image; equal seeds draw equally, on every device. Draws decide what is computed
            and are made on the CPU: seeds that lie there keep nobody waiting for a GPU.
        operations: how many operations each image goes through.

    Raises:
        DataError: images that are no such batch, or a magnitude out of range.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise DataError(
            f"rand_augment takes a batch of images [N, C, H, W], floating point in [0, 1]; got {tuple(images.shape)} "
            f"of {images.dtype}."
        )
    if not 0 <= magnitude <= 10:
        raise DataError(f"rand_augment: magnitude must lie between 0 and 10, got {magnitude}.")
    seeds = seeds.cpu()
    choices = random_below(seeds, len(OPERATIONS), operations, _OPERATION)
    strengths = (random_below(seeds, 2, operations, _SIGN) * 2 - 1) * (magnitude / 10)
    working = images.to(torch.float32, copy=True).contiguous()
    with exact_products(images.device):
        for choice, strength in zip(choices.unbind(1), strengths.unbind(1), strict=True):
            _apply(working, choice, strength)
    return like(working, images)


def _apply(images: Tensor, choice: Tensor, strength: Tensor) -> None:
    """Put each image through one operation, in place.

    Args:
        images: [N, C, H, W], float32.
        choice: the operation of each, int64 [N] on the CPU.
        strength: its signed strength, [N] on the CPU.
    """
    # Sorted by operation, the images of each are neighbours: slices, where picking them out would copy them twice.
    order = choice.argsort()
    counts = torch.bincount(choice, minlength=len(OPERATIONS)).tolist()
    strong = beside(strength[order], images).view(-1, 1, 1, 1)
    order = beside(order, images)
    by_operation = images[order]
    parts = zip(OPERATIONS.values(), by_operation.split(counts), strong.split(counts), strict=True)
    for operation, some, strengths in parts:
        if len(some) and operation is not _identity:
            torch.clamp(operation(some, strengths), 0, 1, out=some)
    images[order] = by_operation


@dataclass(frozen=True)
class RandAugment:
    """`rand_augment` as a view.

    Attributes:
        magnitude: strength from 0 to 10.
        operations: how many operations each image goes through.
        key: see `curriculum_zoo.views.view`; no part of what makes views equal.
    """

    magnitude: float
    operations: int = 2
    key: tuple[int, ...] = field(default=(), compare=False)

    draws: ClassVar[bool] = True

    def __call__(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Augment a batch [N, C, H, W], by seeds [N]."""
        return rand_augment(images, self.magnitude, view_seeds(images, seeds, *self.key, _AUGMENT), self.operations)


def _identity(images: Tensor, strength: Tensor) -> Tensor:
    return images


# Geometry: an affine map from each output pixel, in coordinates from -1 to 1, to where it is taken from. --------------


def _affine(images: Tensor, rows: tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    theta = torch.stack([torch.stack([entry.flatten() for entry in row], -1) for row in rows], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _shear_x(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    slope = 0.3 * strength * (images.shape[2] / images.shape[3])
    return _affine(images, ((one, slope, zero), (zero, one, zero)))


def _shear_y(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    slope = 0.3 * strength * (images.shape[3] / images.shape[2])
    return _affine(images, ((one, zero, zero), (slope, one, zero)))


def _translate_x(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(images, ((one, zero, _whole(strength, images.shape[3])), (zero, one, zero)))


def _translate_y(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(images, ((one, zero, zero), (zero, one, _whole(strength, images.shape[2]))))


def _whole(strength: Tensor, side: int) -> Tensor:
    """A shift by whole pixels, the paper's largest being 150 of 331, in coordinates from -1 to 1."""
    return (strength * (150 / 331) * side).trunc() * (2 / side)


def _rotate(images: Tensor, strength: Tensor) -> Tensor:
    angle = strength * math.radians(30)
    zero = torch.zeros_like(strength)
    ratio = images.shape[2] / images.shape[3]
    return _affine(
        images,
        ((angle.cos(), -angle.sin() * ratio, zero), (angle.sin() / ratio, angle.cos(), zero)),
    )


# Colour: towards or away from a poorer image. -------------------------------------------------------------------------


def _brightness(images: Tensor, strength: Tensor) -> Tensor:
    return images * (1 + 0.9 * strength)


def _contrast(images: Tensor, strength: Tensor) -> Tensor:
    # One side after the other: both at once, torch adds a single plane up on several threads, in another order.
    mean = _gray(images).mean(3, keepdim=True).mean(2, keepdim=True)
    return torch.lerp(mean, images, 1 + 0.9 * strength)


def _color(images: Tensor, strength: Tensor) -> Tensor:
    return torch.lerp(_gray(images), images, 1 + 0.9 * strength)


def _sharpness(images: Tensor, strength: Tensor) -> Tensor:
    if min(images.shape[2:]) < 3:
        return images
    middle = images[:, :, 1:-1, 1:-1]
    soft = images.clone()
    soft[:, :, 1:-1, 1:-1] = (F.avg_pool2d(images, 3, 1) * 9 + 4 * middle) / 13
    return torch.lerp(soft, images, 1 + 0.9 * strength)


def _gray(images: Tensor) -> Tensor:
    """Luma on every channel, [n, C, H, W]; of other than 3 channels their mean."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True).expand_as(images)
    weights = images.new_tensor((0.2989, 0.587, 0.114)).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).expand_as(images)


# Levels: on the scale of 8 bits. --------------------------------------------------------------------------------------


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    step = 2 ** (4 * strength.abs()).round()
    cut = (images * 255).round().div(step, rounding_mode="floor").mul_(step).div_(255)
    return torch.where(step > 1, cut, images)


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    threshold = 256 / 255 * (1 - strength.abs())
    return torch.where(images >= threshold, 1 - images, images)


def _autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low), images)


def _equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Pillow's equalisation of each channel's histogram."""
    levels = (images * 255).round().long().flatten(2).flatten(0, 1)
    counts = torch.zeros(len(levels), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    last = levels.amax(1, keepdim=True)
    step = (levels.shape[1] - counts.gather(1, last)) // 255
    ranks = counts.cumsum(1) - counts
    table = ((ranks + step // 2) // step.clamp(min=1)).clamp_(max=255)
    equal = table.gather(1, levels).view_as(images) / 255
    return torch.where((step > 0).view(*images.shape[:2], 1, 1), equal, images)


OPERATIONS: dict[str, Operation] = {
    "identity": _identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _color,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""The operations by name, in the paper's order."""
