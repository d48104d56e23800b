"""Random numbers for single images: each image's a pure function of its own seed, made a whole batch at a time.

Counters are mixed instead of a generator's state being moved on (Salmon et al. 2011), so what an image draws depends
neither on the batch it comes in nor on the device, and no image waits for another.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .seeding import derive_seed

__all__ = ["content_seeds", "image_seeds", "random_below", "random_bits", "seeds_of", "uniform"]

_STEP = 0x9E3779B9 - 2**32  # 2³² over the golden ratio, as a signed number: spreads counters over all bits
_FACTORS = 0x7FEB352D, 0x846CA68B - 2**32  # of the mixing function lowbias32 (Wellons 2018), as signed numbers

# splitmix64 (Steele, Lea and Flood 2014), as signed numbers: a permutation of all 64-bit words.
_STEP64 = 0x9E3779B97F4A7C15 - 2**64
_FACTORS64 = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def image_seeds(count: int, *parts: int) -> Tensor:
    """Seeds for so many images, int64 [count] on the CPU, unrelated to each other.

    Args:
        count: number of images.
        *parts: what they depend on, such as ``(seed, epoch)``.
    """
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.empty(count, dtype=torch.int64).random_(generator=generator)


def seeds_of(numbers: Tensor, *parts: int) -> Tensor:
    """Return a seed per image from the images' numbers, each a pure function of its own number and of the parts.

    Which images stand beside it in a batch, how many there are and which device computes do not matter.

    Args:
        numbers: int64 [n], the images' numbers in their set.
        *parts: what else the seeds depend on, such as ``(seed, epoch, purpose)``.

    Returns:
        int64 [n] on the numbers' device, uniform over all values; equal for equal numbers and parts alone.
    """
    return _mixed64(numbers * _STEP64 + derive_seed(*parts))


def content_seeds(images: Tensor, *parts: int) -> Tensor:
    """Return a seed per image from the images' pixels, for callers that know no numbers of them.

    It depends on the image's 8-bit levels, in integer arithmetic, and on the parts: neither on the batch, nor on memory
    format, nor on the device. Images that are equal have equal seeds.

    Args:
        images: a batch [n, C, H, W], floating point in [0, 1].
        *parts: what else the seeds depend on, such as ``(seed, epoch, purpose)``.

    Returns:
        int64 [n] on the images' device.
    """
    levels = images.float().mul(255).round_().clamp_(0, 255).to(torch.uint8).flatten(1)
    words = F.pad(levels, (0, -levels.shape[1] % 8)).view(torch.int64)  # eight levels a word
    places = torch.arange(words.shape[1], device=images.device) * _STEP64
    # Sums wrap, and words are mixed before, so that neither their order of addition nor one of their bits is lost.
    return seeds_of(_mixed64(words + _mixed64(places)).sum(1), *parts)


def _mixed64(words: Tensor) -> Tensor:
    """A permutation of all 64-bit words in which each bit depends on all bits."""
    for shift, factor in zip((30, 27), _FACTORS64, strict=True):
        words = (words ^ _shifted(words, shift)) * factor
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Logical right shift of 64-bit words; torch's own keeps the sign."""
    return (words >> bits) & (2 ** (64 - bits) - 1)


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


def uniform(seeds: Tensor, count: int, stream: int = 0) -> Tensor:
    """Return random numbers from the uniform distribution over [0, 1) for each image: float32 [n, count].

    They are multiples of 2⁻²⁴, so that all of them are exact.

    Args:
        seeds: int64 [n], one for each image.
        count: numbers for each image.
        stream: as in `random_bits`.
    """
    return ((random_bits(seeds, count, stream) >> 8) & 0xFFFFFF).float().mul_(2**-24)


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
