"""What every network checks of the images it is given, so that a wrong batch is one clear error."""

from __future__ import annotations

from torch import Tensor

from ..errors import ModelError

__all__ = ["check_images"]


def check_images(images: Tensor, channels: int, smallest: int = 1) -> None:
    """Insist on a batch that a network can take; looks at shapes alone, so tracing and compiling pass through it.

    Args:
        images: the batch, due as [N, channels, H, W].
        channels: how many channels the network's first convolution takes.
        smallest: the smallest height and width it takes, in pixels.

    Raises:
        ModelError: another number of dimensions or channels, or images that are too small.
    """
    if images.ndim != 4:
        raise ModelError(f"Expected a batch of images [N, {channels}, H, W], got a tensor of shape {_shape(images)}.")
    if images.shape[1] != channels:
        raise ModelError(
            f"The network takes images of {channels} channels, got a batch of shape {_shape(images)}. Convert the "
            f"images, or build the network with in_chans={images.shape[1]}."
        )
    if images.shape[2] < smallest or images.shape[3] < smallest:
        raise ModelError(
            f"The network takes images of {smallest}×{smallest} px and more, got {images.shape[2]}×{images.shape[3]}. "
            "Give it larger images."
        )


def _shape(images: Tensor) -> list[int]:
    return [int(side) for side in images.shape]
