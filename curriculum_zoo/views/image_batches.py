"""What all views share: the check of a batch, exact products, and a result's dtype and memory format."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import CurriculumError

__all__ = ["beside", "check_batch", "exact_products", "like", "on_channels", "working_dtype"]

# Where a program allows matrix products of float32 fewer bits than float32 has, by type of device.
_PRECISIONS: dict[str, Any] = {
    "cuda": torch.backends.cuda.matmul,
    "cpu": torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
}


def check_batch(images: Tensor) -> None:
    """Raise if this is not a batch of images.

    Raises:
        CurriculumError: it is not [N, C, H, W], or not floating point, or empty.
    """
    if images.ndim != 4 or not images.is_floating_point() or not images.numel():
        raise CurriculumError(
            f"A view takes a batch of images [N, C, H, W], floating point in [0, 1]; got {tuple(images.shape)} of "
            f"{images.dtype}. Divide 8-bit images by 255, and add a first dimension to a single image."
        )


def working_dtype(images: Tensor) -> torch.dtype:
    """Return the dtype of arithmetic on these images: float32, or float64 where they are."""
    return torch.float64 if images.dtype == torch.float64 else torch.float32


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Compute matrix products in their tensors' own precision inside a ``with`` block.

    Autocast, and the TF32 or bfloat16 that a program may allow products of float32, speed up training; of an image
    they would leave 7 to 10 bits, and of a coordinate at 224 px a tenth of a pixel.

    Args:
        device: where the products are computed.
    """
    matmul = _PRECISIONS.get(device.type)
    allowed = "ieee" if matmul is None else matmul.fp32_precision
    with torch.autocast(device.type, enabled=False):
        if matmul is None or allowed in ("ieee", "none"):
            yield
            return
        matmul.fp32_precision = "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = allowed


def like(result: Tensor, images: Tensor) -> Tensor:
    """Return the result in the dtype and memory format of the images."""
    channels_last = not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
    format = torch.channels_last if channels_last else torch.contiguous_format
    return result.to(images.dtype).contiguous(memory_format=format)


def beside(small: Tensor, images: Tensor) -> Tensor:
    """Return a small tensor from the CPU on the images' device, without waiting for what that device computes."""
    return small.to(images.device, non_blocking=True)


def on_channels(plane: Tensor, images: Tensor) -> Tensor:
    """Return a plane [N, H, W] repeated over as many channels as the images have."""
    return like(plane[:, None].to(images.dtype).expand_as(images), images)
