"""A random subset of the images in each epoch: the control of every method that chooses images, at the same FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from ..configuration import setting
from .curriculum import Curriculum
from .samples.ranked import Ranked
from .stage import Stage

__all__ = ["RandomSubset"]


@dataclass(frozen=True, kw_only=True)
class RandomSubset(Curriculum):
    """The same share of the images in every epoch, drawn by lot.

    Attributes:
        share: of the images, above 0.
        fixed: whether all epochs see the same subset, as if the data set were smaller; otherwise each draws its own.
        final: last epochs that see all images.
    """

    share: float = setting(0.5, above=0, high=1)
    fixed: bool = False
    final: int = setting(0, low=0)

    def check(self) -> None:
        """Check that the last epochs are there."""
        self.require_epochs(self.final, f"final takes {self.final}")

    def _stage(self, epoch: int) -> Stage:
        if epoch >= self.epochs - self.final:
            return Stage(name="full")
        key = (self.seed,) if self.fixed else (self.seed, epoch)
        return Stage(name=f"{100 * self.share:.3g} % of the images", samples=Ranked(kept=self.share, key=key))
