"""Noise: each value of each channel changed on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from .drawn import Draws, constant

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]


def gaussian_noise(images: Tensor, draws: Draws, sigma: float) -> Tensor:
    """Add normal noise of this standard deviation."""
    return images + _normal(images, draws).mul_(sigma)


def speckle_noise(images: Tensor, draws: Draws, sigma: float) -> Tensor:
    """Add normal noise of this standard deviation times the value."""
    return images + _normal(images, draws).mul_(sigma).mul_(images)


def _normal(images: Tensor, draws: Draws) -> Tensor:
    return draws.normal(images[0].numel()).view(images.shape)


def shot_noise(images: Tensor, draws: Draws, photons: int) -> Tensor:
    """Replace each value by a Poisson variable of that mean, in units of one photon.

    A level of 8 bits is 16 a + b, and Poisson variables add up: two draws from quantiles of 16 means each do for all
    256 means, where quantiles of every level would fill 32 MB.

    Args:
        images: float32 [n, C, H, W], whole numbers of 255ths.
        draws: where chance comes from.
        photons: how many of them make white.
    """
    level = (images * 255).round_().int().flatten(1)
    words = draws.words(level.shape[1])
    quantiles = _poisson_quantiles(photons, images.device)
    low = (level & 15).bitwise_left_shift_(16).bitwise_or_(words & 0xFFFF)
    high = (level >> 4).bitwise_or_(16).bitwise_left_shift_(16).bitwise_or_((words >> 16).bitwise_and_(0xFFFF))
    count = quantiles.index_select(0, low.flatten()) + quantiles.index_select(0, high.flatten())
    return (count.float() * (1 / photons)).view(images.shape)


@constant
def _poisson_quantiles(photons: int, device: torch.device) -> Tensor:
    """Quantiles of 65,536 cells for the means of levels 0, 1, … 15, then 0, 16, … 240; int16 [32 · 65,536]."""
    rows = []
    for level in (*range(16), *range(0, 256, 16)):
        mean = torch.tensor(photons * level / 255, dtype=torch.float64)
        number = torch.arange(int(mean + 12 * mean.sqrt()) + 20, dtype=torch.float64)
        probability = torch.exp(torch.special.xlogy(number, mean) - mean - torch.lgamma(number + 1))
        ends = (probability.cumsum(0) * (1 << 16)).round_().long().clamp_(max=1 << 16)
        ends[-1] = 1 << 16
        rows.append(torch.repeat_interleave(number.short(), ends.diff(prepend=ends.new_zeros(1))))
    return torch.cat(rows).to(device)


def impulse_noise(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Replace this share of the values, half of them by black and half by white."""
    words = draws.words(images[0].numel()).view(images.shape)
    reach = round(share / 2 * 2**32)
    return images.masked_fill(words < reach - 2**31, 0).masked_fill_(words >= 2**31 - reach, 1)
