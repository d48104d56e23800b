"""The corruptions of CIFAR-10-C and ImageNet-C, in batches, on any device, drawn for each image.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019): fifteen kinds in four families, at five severities, and three of the four that the authors keep for validation
(all but spatter). The parameters are theirs (`severities`); how each kind differs from the published code is said where
it is made.

What goes in and what comes out has 8 bits, as the published images have: values are rounded to 255ths before and after,
where the published code cuts them off. In between numbers are computed by operations that every device rounds alike, so
that an image's corruption is a pure function of the image, kind, severity and seed: bit for bit the same in every
batch and place, on the CPU and on CUDA devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from ...errors import DataError, UnknownNameError
from ...registry import closest
from ..image_batches import check_batch, like, working_dtype
from .blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from .digital import contrast, elastic_transform, jpeg_compression, pixelate, saturate
from .drawn import Draws
from .filters import white
from .noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from .severities import SEVERITIES, parameters_of
from .weather import brightness, fog, frost, snow

__all__ = ["CORRUPTIONS", "EXTRA_CORRUPTIONS", "SEVERITIES", "corrupt", "corruption_names"]

_OPERATIONS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "noise": {"gaussian_noise": gaussian_noise, "shot_noise": shot_noise, "impulse_noise": impulse_noise},
    "blur": {
        "defocus_blur": defocus_blur,
        "glass_blur": glass_blur,
        "motion_blur": motion_blur,
        "zoom_blur": zoom_blur,
    },
    "weather": {"snow": snow, "frost": frost, "fog": fog, "brightness": brightness},
    "digital": {
        "contrast": contrast,
        "elastic_transform": elastic_transform,
        "pixelate": pixelate,
        "jpeg_compression": jpeg_compression,
    },
    "extra": {"speckle_noise": speckle_noise, "gaussian_blur": gaussian_blur, "saturate": saturate},
}

_BY_NAME = {name: operation for members in _OPERATIONS.values() for name, operation in members.items()}

CORRUPTIONS: Mapping[str, str] = MappingProxyType(
    {name: family for family, members in _OPERATIONS.items() for name in members if family != "extra"}
)
"""The fifteen kinds that the mean corruption error is taken over, in the published order, and the family of each:
``noise``, ``blur``, ``weather`` or ``digital``."""

EXTRA_CORRUPTIONS: Mapping[str, str] = MappingProxyType(
    {"speckle_noise": "noise", "gaussian_blur": "blur", "saturate": "digital"}
)
"""Kinds beside the fifteen, kept for validation, and the family that each resembles."""

_PIECE = 131_072
"""Pixels of a piece whose values stay in a core's cache."""

_STREAMS = 8
"""Sequences of random numbers that a kind has for itself, so that no two kinds share any."""


def corruption_names(selection: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of corruptions, each once, in the published order.

    Args:
        selection: names of corruptions and of families; ``"extra"`` means `EXTRA_CORRUPTIONS`. None of them means the
            fifteen of `CORRUPTIONS`.

    Raises:
        UnknownNameError: a name that is neither.
    """
    wanted: set[str] = set()
    for name in selection:
        if name not in _OPERATIONS and name not in _BY_NAME:
            near = closest(name, (*_OPERATIONS, *_BY_NAME))
            raise UnknownNameError(f"No corruption or family of corruptions named '{name}'. {near}")
        wanted.update(_OPERATIONS.get(name, (name,)))
    return tuple(name for name in _BY_NAME if name in (wanted or CORRUPTIONS))


@torch.no_grad()
def corrupt(images: Tensor, kind: str, severity: int, seeds: Tensor) -> Tensor:
    """Corrupt each image of a batch.

    Draws do not depend on the severity, so that severities differ by nothing but their strength.

    Args:
        images: a batch [N, C, H, W] of 1 or 3 channels, floating point in [0, 1]; it is left as it is.
        kind: name of a corruption, one of `CORRUPTIONS` or `EXTRA_CORRUPTIONS`.
        severity: 1, the mildest, to 5. The size of the images decides which published parameters that means: see
            `severities.published_side`.
        seeds: int64 [N], what each image's draws are keyed by.

    Returns:
        Images of the same shape, dtype and memory format: whole numbers of 255ths in [0, 1].

    Raises:
        CurriculumError: images that are no such batch.
        DataError: another number of channels, a severity that does not exist, or seeds that do not fit.
        UnknownNameError: a kind that does not exist.
    """
    check_batch(images)
    if images.shape[1] not in (1, 3):
        raise DataError(f"Corruptions are defined for images of 1 or 3 channels; these have {images.shape[1]}.")
    if kind not in _BY_NAME:
        raise UnknownNameError(f"No corruption named '{kind}'. {closest(kind, _BY_NAME)}")
    if severity not in SEVERITIES:
        raise DataError(f"{kind}: severity must be a whole number from 1 to 5, got {severity!r}.")
    if seeds.shape != images.shape[:1] or seeds.dtype != torch.int64:
        raise DataError(
            f"{kind}: seeds must be int64 [{len(images)}], one for each image; got {seeds.dtype} {list(seeds.shape)}."
        )
    operation = _BY_NAME[kind]
    parameters = parameters_of(kind, int(severity), min(images.shape[2:]))
    stream = _STREAMS * list(_BY_NAME).index(kind)
    seeds = seeds.to(images.device)
    count = math.ceil(images[:, 0].numel() / _PIECE) if images.device.type == "cpu" else 1
    result = torch.empty_like(images)
    for piece, some, seen in zip(images.chunk(count), seeds.chunk(count), result.chunk(count), strict=True):
        exact = _levels(piece.float().contiguous()) / white(piece, torch.float32)
        levels = _levels(operation(exact, Draws(some, stream), *parameters))
        seen.copy_(levels.to(working_dtype(images)) / white(piece, working_dtype(images)))
    return like(result, images)


def _levels(images: Tensor) -> Tensor:
    return images.clamp(0, 1).mul_(255).round_()
