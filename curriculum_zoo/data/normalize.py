"""Images in [0, 1] to the values that a network takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Normalize", "mean_std"]


class Normalize:
    """Subtract a mean and divide by a standard deviation, by channel, in one pass over memory.

    Args:
        mean: of each channel.
        std: of each channel.
        device: where the images lie.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu") -> None:
        self.mean = tuple(mean)
        self.std = tuple(std)
        scale = 1 / torch.tensor(self.std, dtype=torch.float64)
        shift = -torch.tensor(self.mean, dtype=torch.float64) * scale
        self._scale, self._shift = (t.float().reshape(1, -1, 1, 1).to(device) for t in (scale, shift))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a batch [N, C, H, W] in [0, 1]."""
        return torch.addcmul(self._shift, images, self._scale)


def mean_std(pieces: Iterable[npt.NDArray[np.uint8]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Exact up to the last rounding, since computed from counts of the 256 values. A channel that is constant gets the
    deviation 1, so that normalisation leaves it finite.

    Args:
        pieces: images, uint8 [N, H, W, C], a few at a time; at least one image in all.
    """
    counts: npt.NDArray[np.int64] | int = 0
    for piece in pieces:
        channels = [piece[..., channel].ravel() for channel in range(piece.shape[3])]
        counts = counts + np.stack([np.bincount(channel, minlength=256) for channel in channels])
    counts = np.asarray(counts)
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt((weights * (values - mean[:, None]) ** 2).sum(axis=1))
    std[(counts > 0).sum(axis=1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
