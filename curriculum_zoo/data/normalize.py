"""Images in [0, 1] to the values that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Normalize"]


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
