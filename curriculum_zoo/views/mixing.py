"""Mixup and cutmix, image by image: each with a partner, a share and a box of its own.

Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018); Yun et al., "CutMix: Regularization
Strategy to Train Strong Classifiers with Localizable Features" (ICCV 2019), section 3.1. Boxes are drawn and cut off at
the borders as timm does it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..draws import random_below, uniform
from .image_batches import beside

if TYPE_CHECKING:
    from ..recipes import Mixing

__all__ = ["beta_quantiles", "mix"]

_WHETHER, _KIND, _SHARE, _ROW, _COLUMN = range(5)  # streams of an image's random numbers
_INTERVALS = 4096  # of a table of quantiles


@torch.no_grad()
def mix(
    images: Tensor,
    labels: Tensor,
    partner_images: Tensor,
    partner_labels: Tensor,
    seeds: Tensor,
    mixing: Mixing,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Mix each image with its partner, by draws of its own.

    Args:
        images: a batch [N, C, H, W], floating point, normalised or not.
        labels: class numbers, int64 [N].
        partner_images: the image that each is mixed with, [N, C, H, W].
        partner_labels: class numbers of those, int64 [N].
        seeds: int64 [N], one for each image; on the CPU they keep nobody waiting for a GPU.
        mixing: alphas of mixup and cutmix, each image's probability to be mixed, and of those mixed, where both are on,
            its probability to get cutmix.
        num_classes: number of classes.

    Returns:
        The images, and target distributions [N, num_classes]: of cutmix by the area of the box.
    """
    height, width = images.shape[2:]
    share, cut = _shares(seeds.cpu(), mixing)
    top, bottom = _ends(seeds.cpu(), share, height, _ROW)
    left, right = _ends(seeds.cpu(), share, width, _COLUMN)
    area = (bottom - top) * (right - left) / (height * width)
    kept = torch.where(cut, 1 - area, share)

    def each(values: Tensor) -> Tensor:
        return beside(values, images).view(-1, 1, 1, 1)

    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    inside = ((rows >= each(top)) & (rows < each(bottom))).mT & (columns >= each(left)) & (columns < each(right))
    weights = torch.where(each(cut), inside.to(images.dtype), each(1 - share).to(images.dtype))
    mixed = torch.lerp(images, partner_images, weights)
    targets, partners = (F.one_hot(some, num_classes).to(images.dtype) for some in (labels, partner_labels))
    return mixed, torch.lerp(partners, targets, beside(kept, images).to(images.dtype)[:, None])


def _shares(seeds: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """The share that each image keeps of itself, float32 [N], 1 where it is not mixed; and whether it gets cutmix."""
    mixed = uniform(seeds, 1, _WHETHER)[:, 0] < mixing.probability
    kind = uniform(seeds, 1, _KIND)[:, 0] < mixing.switch
    cut = kind if mixing.cutmix > 0 and mixing.mixup > 0 else torch.full_like(kind, mixing.cutmix > 0)
    chances = uniform(seeds, 1, _SHARE)[:, 0]
    share = torch.ones_like(chances)
    for alpha, which in ((mixing.mixup, mixed & ~cut), (mixing.cutmix, mixed & cut)):
        if alpha > 0:
            share = torch.where(which, beta_quantiles(chances, alpha), share)
    return share, mixed & cut


def _ends(seeds: Tensor, share: Tensor, side: int, stream: int) -> tuple[Tensor, Tensor]:
    """First and last pixel, the latter excluded, of cutmix's box along one side; int64 [N] each."""
    centre = random_below(seeds, side, 1, stream)[:, 0]
    half = (side * (1 - share).sqrt()).long() // 2
    return (centre - half).clamp_(min=0), (centre + half).clamp_(max=side)


def beta_quantiles(chances: Tensor, alpha: float) -> Tensor:
    """Return quantiles of the distribution Beta(alpha, alpha), by a table.

    Args:
        chances: float32 [N] in [0, 1), on the CPU; uniform ones make random numbers of the distribution.
        alpha: above 0.

    Returns:
        float32 [N] in [0, 1], within 10⁻⁵ of the exact quantiles.
    """
    sides, cumulated = _half_of_beta(alpha)
    # The distribution is symmetrical: the table holds its lower half.
    lower = 2 * torch.minimum(chances, 1 - chances).double()
    above = torch.searchsorted(cumulated, lower, right=True).clamp_(1, _INTERVALS)
    before, after = cumulated[above - 1], cumulated[above]
    weight = ((lower - before) / (after - before)).nan_to_num_(0).clamp_(0, 1)
    quantiles = 0.5 * torch.lerp(sides[above - 1], sides[above], weight) ** max(1, 1 / alpha)
    return torch.where(chances < 0.5, quantiles, 1 - quantiles).float()


@lru_cache(maxsize=8)
def _half_of_beta(alpha: float) -> tuple[Tensor, Tensor]:
    """Points s in [0, 1], and how likely Beta(alpha, alpha) is to lie below s^max(1, 1/alpha) / 2, given below 1/2.

    In s the density is bounded, whatever alpha is, and smooth enough for trapezoids.
    """
    power = max(1, 1 / alpha)
    points = torch.linspace(0, 1, _INTERVALS + 1, dtype=torch.float64)
    density = points ** max(alpha - 1, 0) * (1 - 0.5 * points**power) ** (alpha - 1)
    cumulated = F.pad((density[1:] + density[:-1]).cumsum(0), (1, 0))
    return points, cumulated / cumulated[-1]
