"""Temporally Resolution Decrement: in some epochs, drawn by lot, the network sees all images at a lower resolution.

Source: "Temporally Resolution Decrement: Utilizing the Shape Consistency for Higher Computational Efficiency",
section 3, table 3 (the variants) and appendix A (the draw, and learning-rate drops).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from ..seeding import derive_seed
from ..views import Interpolation, ReducedShare, Resize, pixels
from .curriculum import Curriculum
from .stage import Stage

__all__ = ["TRD"]

PARTICIPATION, RESOLUTION = 0x7D, 0x7E
"""What a draw is for, so that the two of one epoch are independent of each other and of other draws from its seed."""

NEIGHBOURHOOD = 2
"""Epochs before a learning-rate drop, and after it, that keep the full resolution (appendix A)."""


@dataclass(frozen=True, kw_only=True)
class TRD(Curriculum):
    """Epochs at a reduced resolution among epochs at the full one.

    One number u is drawn from U(0, 1) for each epoch, and the epoch is reduced if u < participation. The draw depends
    on seed and epoch alone, so that all processes and resumed runs share it.

    Attributes:
        resolution: the reduced side: in pixels where an integer, as a share of the full side where a float; half the
            full side where None.
        participation: the share of epochs that are reduced, the paper's participation rate.
        variant: the paper's table 3. ``"random"``, the method itself; ``"regular"``, the same share at even steps,
            every even epoch for one half; ``"three"``, reduced epochs draw between the resolution and the middle
            between it and the full one; ``"mixed"``, reduced epochs draw anything from the resolution up to the full
            one; ``"batch"``, in every epoch each image is reduced with that probability, and brought back to the full
            side so that a batch stays one tensor (the paper does not say how; this costs as much as the baseline). The
            paper reduces that share of each batch; see `ReducedShare` for why this draws for each image.
        interpolation: how images are made smaller. The paper does not say; bilinear with antialiasing.
        drops: first epochs with a lower learning rate, under a step schedule: the two epochs before and the two from
            there on stay at full resolution. None takes them from the recipe's scheduler.
        final: last epochs that stay at full resolution. 0, as in the paper, may end on reduced images, to which
            BatchNorm's statistics then fit better than to full ones (`Curriculum.warnings` says so).
        scale_batch: whether batch size and learning rate grow with the pixels saved (`Stage.scaled_batch`).
    """

    paper = Paper(
        "trd", "Temporally Resolution Decrement: Utilizing the Shape Consistency for Higher Computational Efficiency"
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "regular": {"variant": "regular"},
        "batch": {"variant": "batch"},
    }

    resolution: int | float | None = None
    participation: float = setting(0.5, low=0, high=1)
    variant: Literal["random", "regular", "three", "mixed", "batch"] = "random"
    interpolation: Interpolation = "bilinear"
    drops: tuple[int, ...] | None = None
    final: int = setting(0, low=0)
    scale_batch: bool = False

    def check(self) -> None:
        """Check the resolution, that the variant can do with it, and that the last epochs are there."""
        self.require_epochs(self.final, f"final takes {self.final}")
        if isinstance(self.resolution, int) and self.resolution < 1:
            self.fail("resolution", f"must be at least 1 px, got {self.resolution}")
        if isinstance(self.resolution, float) and not 0 < self.resolution < 1:
            self.fail("resolution", f"as a share of the full side must lie between 0 and 1, got {self.resolution:g}")
        if isinstance(self.resolution, int) and self.variant in ("three", "mixed"):
            self.fail(
                "resolution",
                f"must be a share of the full side with variant='{self.variant}', whose other resolutions lie between "
                f"it and the full one, which no curriculum knows; write 0.5 rather than 16 of 32 px; got "
                f"{self.resolution}",
            )

    def reduced(self, epoch: int) -> bool:
        """Return whether an epoch is at a reduced resolution; always False for the batch-wise variant."""
        if self.variant == "batch" or self.protected(epoch):
            return False
        if self.variant == "regular":
            share = Fraction(repr(self.participation))
            return math.ceil((epoch + 1) * share) > math.ceil(epoch * share)
        return self._draw(epoch, PARTICIPATION) < self.participation

    def protected(self, epoch: int) -> bool:
        """Return whether an epoch keeps the full resolution: one of the last, or near a drop of the learning rate."""
        near = (drop - NEIGHBOURHOOD <= epoch < drop + NEIGHBOURHOOD for drop in self.drops or ())
        return epoch >= self.epochs - self.final or any(near)

    def expected_cost(self, image_size: int) -> float:
        """Return the mean of `relative_cost` over all seeds.

        Without drops (1 − p) + p·(r′/r)² for the method itself, which times the FLOPs of one image at full resolution
        is the paper's mFLOPs.

        Args:
            image_size: the full side r of the images, in pixels.
        """
        if self.variant == "regular":
            return self.relative_cost(image_size)
        reducible = sum(not self.protected(epoch) for epoch in range(self.epochs)) / self.epochs
        return 1 - self.participation * reducible * (1 - self._reduced_cost(image_size))

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Keep the full resolution around these drops, unless the user stated others."""
        return replace(self, drops=drops) if self.drops is None else self

    @property
    def _side(self) -> int | float:
        return 0.5 if self.resolution is None else self.resolution

    def _stage(self, epoch: int) -> Stage:
        if self.variant == "batch" and not self.protected(epoch):
            part = ReducedShare(self.participation, self._side, self.interpolation, key=(self.seed, epoch))
            return Stage(name="mixed batches", view=part)
        if not self.reduced(epoch):
            return Stage(name="full")
        side = self._reduced_side(epoch)
        name = f"{side} px" if isinstance(side, int) else f"{100 * side:.4g} %"
        view = Resize(side, self.interpolation)
        return Stage(name=name, view=view, image_size=side, scale_batch=self.scale_batch)

    def _reduced_side(self, epoch: int) -> int | float:
        side, draw = self._side, self._draw(epoch, RESOLUTION)
        if self.variant == "three":
            return side if draw < 0.5 else (1 + side) / 2
        return side + draw * (1 - side) if self.variant == "mixed" else side

    def _reduced_cost(self, image_size: int) -> float:
        """The mean cost of a reduced epoch."""
        side = self._side
        if self.variant == "batch":
            return 1.0
        if self.variant == "three":
            return sum((pixels(s, image_size) / image_size) ** 2 for s in (side, (1 + side) / 2)) / 2
        if self.variant == "mixed":
            # The mean of s² for s uniform in [side, 1], pixels taken for continuous.
            return (1 + side + side**2) / 3
        return (pixels(side, image_size) / image_size) ** 2

    def _draw(self, epoch: int, purpose: int) -> float:
        """A number from U(0, 1) that depends on seed, epoch and purpose alone."""
        return (derive_seed(self.seed, epoch, purpose) >> 10) / 2**53
