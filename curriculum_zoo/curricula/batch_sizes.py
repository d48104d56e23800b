"""Image sizes that change from batch to batch: `BatchSizes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from ..seeding import derive_seed
from ..views import Interpolation

__all__ = ["BatchSizes"]

_LOTS = 0xBA7C  # sets these draws apart from others of the same seed and epoch


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """The size of each batch of an epoch, drawn among several; the same on every process.

    Attributes:
        sizes: sides to draw among, as shares of the full side, or in pixels where integers.
        shares: how probable each is; together 1.
        interpolation: how images are made smaller.
        key: seed and epoch, which with the number of the step decide each draw.
    """

    sizes: tuple[int | float, ...]
    shares: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    key: tuple[int, ...] = field(default=(0,), compare=False)

    def size(self, step: int) -> int | float:
        """Return the size of a batch, by its number in the epoch, from 0."""
        lot = (derive_seed(*self.key, _LOTS, step) >> 10) / 2**53 * sum(self.shares)
        return next(
            (s for s, end in zip(self.sizes, accumulate(self.shares), strict=True) if lot < end), self.sizes[-1]
        )

    def __str__(self) -> str:
        drawn = zip(self.sizes, self.shares, strict=True)
        return ", ".join(f"{size:.3g} in {100 * share:.3g} %" for size, share in drawn if share)
