"""Random numbers for single images: each image's a pure function of its own seed, made a whole batch at a time.

Counters are mixed instead of a generator's state being moved on (Salmon et al. 2011), so what an image draws depends
neither on the batch it comes in nor on the device, and no image waits for another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..seeding import derive_seed

__all__ = ["image_seeds", "random_below", "random_bits"]

_STEP = 0x9E3779B9 - 2**32  # 2³² over the golden ratio, as a signed number: spreads counters over all bits
_FACTORS = 0x7FEB352D, 0x846CA68B - 2**32  # of the mixing function lowbias32 (Wellons 2018), as signed numbers


def image_seeds(count: int, *parts: int) -> Tensor:
    """Seeds for so many images, int64 [count] on the CPU, unrelated to each other.

    Args:
        count: number of images.
        *parts: what they depend on, such as ``(seed, epoch)``.
    """
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.empty(count, dtype=torch.int64).random_(generator=generator)


def random_bits(seeds: Tensor, count: int, stream: int = 0) -> Tensor:
    """Words of 32 random bits for each image, the same on every device.

    Args:
        seeds: int64 [n], one for each image.
        count: words for each image.
        stream: number of an independent sequence of the same seeds: one for each use.

    Returns:
        int32 [n, count], uniform over all values. ``.view(torch.int16)`` gives twice as many numbers of 16 bits.
    """
    low, high = _mixed((seeds + stream * _STEP).int()), (seeds >> 32).int()
    high = _mixed(high ^ low)
    low = _mixed(low + high)
    # Two keys go in, at different places, so that no two images share a sequence but for equal seeds.
    words = torch.arange(count, dtype=torch.int32, device=seeds.device).mul_(_STEP) + low[:, None]
    return _mixed(words, high[:, None])


def random_below(seeds: Tensor, bound: int, count: int, stream: int = 0) -> Tensor:
    """Random whole numbers from 0 to below `bound` for each image: int64 [n, count].

    Args:
        seeds: int64 [n], one for each image.
        bound: from 1 to 2³¹; each number's probability is 1 / bound but for less than 2⁻³².
        count: numbers for each image.
        stream: as in `random_bits`.
    """
    return ((random_bits(seeds, count, stream).long() & 0xFFFFFFFF) * bound) >> 32


def _mixed(words: Tensor, key: Tensor | int = 0) -> Tensor:
    """A permutation of all words, made in place, in which each bit depends on all bits; the key says which one."""
    # The shift keeps the sign, which the mask takes away again. One buffer for all saves a third of the time.
    shifted = (words >> 16).bitwise_and_(0xFFFF)
    words ^= shifted
    words *= _FACTORS[0]
    words ^= key
    torch.bitwise_right_shift(words, 15, out=shifted).bitwise_and_(0x1FFFF)
    words ^= shifted
    words *= _FACTORS[1]
    torch.bitwise_right_shift(words, 16, out=shifted).bitwise_and_(0xFFFF)
    words ^= shifted
    return words
