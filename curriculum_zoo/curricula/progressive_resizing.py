"""Progressive resizing: small images first, growing evenly to the full size, and full size at the end.

Sources: Howard & Gugger's fast.ai (2018); MosaicML Composer's method card, whose defaults these are (initial scale 0.5,
first half at it, last fifth at full size, sides in multiples of 4 px). Composer grows by the batch, this by the epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..configuration import setting
from ..views import Interpolation, Resize
from .curriculum import Curriculum
from .stage import Stage

__all__ = ["ProgressiveResizing"]


@dataclass(frozen=True, kw_only=True)
class ProgressiveResizing(Curriculum):
    """Images whose side grows linearly over the middle of the training.

    Attributes:
        initial: the side at first, as a share of the full one.
        delay: the share of the training that stays at the initial side.
        final: the share of the training, at its end, that has the full side; with 0 the last
            epoch alone.
        size_multiple: sides are the nearest multiples of this many pixels.
        interpolation: how images are made smaller; Composer's is bilinear without antialiasing.
        scale_batch: whether batch size and learning rate grow with the pixels saved (`Stage.scaled_batch`).

    Raises:
        CurriculumError: more delay and final part than there is training, or fewer epochs than a final part takes.
    """

    initial: float = setting(0.5, above=0, high=1)
    delay: float = setting(0.5, low=0, high=1)
    final: float = setting(0.2, low=0, high=1)
    size_multiple: int = setting(4, low=1)
    interpolation: Interpolation = "bilinear"
    scale_batch: bool = False

    def check(self) -> None:
        """Check that delay and final part fit into the training, and that the final part gets an epoch."""
        if self.delay + self.final > 1 + 1e-9:
            self.fail("final", f"and delay must be at most 1 together, got {self.delay:g} + {self.final:g}")
        if self.final > 0:
            needed = math.ceil(1 / self.final - 1e-9)
            self.require_epochs(needed, f"the last {self.final:.0%} see full images, which takes one or more")

    def _stage(self, epoch: int) -> Stage:
        share = 1.0 if epoch == self.epochs - 1 else self._share(epoch / self.epochs)
        if share >= 1:
            return Stage(name="full")
        return Stage(
            name="small" if share == self.initial else "growing",
            view=Resize(share, self.interpolation, self.size_multiple),
            image_size=share,
            size_multiple=self.size_multiple,
            scale_batch=self.scale_batch,
        )

    def _share(self, elapsed: float) -> float:
        """The side after a share of the training has elapsed."""
        end = 1 - self.final
        # Sums of the likes of 0.1 and 0.2 must not put an epoch on the wrong side of a boundary.
        if elapsed >= end - 1e-9:
            return 1.0
        if elapsed <= self.delay:
            return self.initial
        return self.initial + (1 - self.initial) * (elapsed - self.delay) / (end - self.delay)
