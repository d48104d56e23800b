"""What every view asks of a batch of images, and how it gives one back: shape, dtype, memory format."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CurriculumError

__all__ = ["check_batch", "like", "on_channels", "working_dtype"]


def check_batch(images: Tensor) -> None:
    """Raise if this is no batch of images.

    Raises:
        CurriculumError: it is not [N, C, H, W], or not floating point, or empty.
    """
    if images.ndim != 4 or not images.is_floating_point() or not images.numel():
        raise CurriculumError(
            f"A view takes a batch of images [N, C, H, W], floating point in [0, 1]; got {tuple(images.shape)} of "
            f"{images.dtype}. Divide 8-bit images by 255, and add a first dimension to a single image."
        )


def working_dtype(images: Tensor) -> torch.dtype:
    """What arithmetic on the images is done in: float32, or float64 where they are."""
    return torch.float64 if images.dtype == torch.float64 else torch.float32


def like(result: Tensor, images: Tensor) -> Tensor:
    """The result in the dtype and memory format of the images."""
    channels_last = not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
    format = torch.channels_last if channels_last else torch.contiguous_format
    return result.to(images.dtype).contiguous(memory_format=format)


def on_channels(plane: Tensor, images: Tensor) -> Tensor:
    """A plane [N, H, W] on as many channels as the images have."""
    return like(plane[:, None].to(images.dtype).expand_as(images), images)
