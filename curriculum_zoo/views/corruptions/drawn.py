"""What chance gives to each image: uniform and normal numbers, fractal clouds, keyed by the image's own seed.

Numbers come from words of 16 random bits by tables, and everything else from single additions, multiplications and
divisions: no logarithm, no sum over an order that a device chooses, hence the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor

from ...draws import random_below, random_bits

__all__ = ["Draws", "constant", "plasma"]

_WORDS = 1 << 16


def constant(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep what a function of hashable arguments returns, so that a table is made once for each device."""

    @lru_cache(maxsize=8)
    @wraps(build)
    def made(*arguments: Any) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return build(*arguments)

    return made


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch of images, each image's a pure function of its seed.

    Attributes:
        seeds: int64 [n], one for each image.
        stream: number of the first of the sequences that are drawn from; `use` in the methods counts on from it.
    """

    seeds: Tensor
    stream: int = 0

    def words(self, count: int, use: int = 0) -> Tensor:
        """Words of 32 random bits, int32 [n, count], uniform over all values."""
        return random_bits(self.seeds, count, self.stream + use)

    def halves(self, count: int, use: int = 0) -> Tensor:
        """Words of 16 random bits, int32 [n, count], uniform from 0 to 65,535."""
        return self.words((count + 1) // 2, use).view(torch.int16)[:, :count].int().bitwise_and_(_WORDS - 1)

    def below(self, bound: int, count: int, use: int = 0) -> Tensor:
        """Whole numbers from 0 to below `bound`, int64 [n, count]."""
        return random_below(self.seeds, bound, count, self.stream + use)

    def uniform(self, count: int, use: int = 0) -> Tensor:
        """Numbers between -1 and 1, float32 [n, count]: the middles of 65,536 equal cells."""
        return self.halves(count, use).float().mul_(2 / _WORDS).add_(1 / _WORDS - 1)

    def normal(self, count: int, use: int = 0) -> Tensor:
        """Standard normal numbers, float32 [n, count]: the medians of 65,536 cells of equal probability."""
        halves = self.halves(count, use)
        return _normal_quantiles(halves.device).index_select(0, halves.flatten()).view(halves.shape)


@constant
def _normal_quantiles(device: torch.device) -> Tensor:
    middles = (torch.arange(_WORDS, dtype=torch.float64) + 0.5) / _WORDS
    return torch.special.ndtri(middles).float().to(device)


def plasma(draws: Draws, use: int, sides: tuple[int, int], decay: float) -> Tensor:
    """A fractal cloud for each image, float32 [n, H, W] in [0, 1], by diamonds and squares (Fournier et al. 1982).

    The cloud is made on a torus whose side is the least power of two that holds the image, from the coarsest points on:
    each point between is the mean of its four neighbours, displaced by chance. The whole cloud, of which the image gets
    the top left, stretches from 0 to 1.

    Args:
        draws: what the displacements come from.
        use: number of the sequence.
        sides: height and width.
        decay: square root of what the displacements shrink by from scale to half the scale.
    """
    size = max(2, 1 << (max(sides) - 1).bit_length())
    noise = draws.uniform(size * size, use).view(-1, size, size)
    cloud = torch.zeros_like(noise)
    step, reach = size, 1.0
    while step >= 2:
        half = step // 2
        corners, middles = (slice(None, None, step), slice(None, None, step)), (slice(half, None, step),) * 2
        across, down = (corners[0], middles[1]), (middles[0], corners[1])

        def fill(points: tuple[slice, slice], total: Tensor, reach: float = reach) -> None:
            at = (slice(None), *points)
            cloud[at] = total * 0.25 + noise[at] * reach

        square = cloud[(slice(None), *corners)]
        pairs = square + square.roll(-1, 1)
        fill(middles, pairs + pairs.roll(-1, 2))
        centre = cloud[(slice(None), *middles)]
        fill(across, (centre + centre.roll(1, 1)) + (square + square.roll(-1, 2)))
        fill(down, (centre + centre.roll(1, 2)) + (square + square.roll(-1, 1)))
        step, reach = half, reach / decay**2
    cloud -= cloud.amin((1, 2), keepdim=True)
    cloud /= cloud.amax((1, 2), keepdim=True)
    return cloud[:, : sides[0], : sides[1]]
