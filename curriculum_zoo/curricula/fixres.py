"""FixRes: training at a lower resolution, then a few epochs at the full one in which BatchNorm and head alone learn.

Objects look larger in the random crops of training than in the centre crops of testing, and statistics gathered at one
resolution fit another one badly. Touvron, Vedaldi, Douze and Jégou, "Fixing the train-test resolution discrepancy"
(NeurIPS 2019), section 4.2, train at the lower resolution and then fine-tune the last layers at the resolution of
testing, which costs little, since nothing else gets gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..citation import Paper
from ..configuration import setting
from ..views import Interpolation, Resize
from .curriculum import Curriculum
from .freezing import Frozen
from .stage import Stage

__all__ = ["Fixres"]


@dataclass(frozen=True, kw_only=True)
class Fixres(Curriculum):
    """A lower resolution first, and at the end the full one, with all but normalisation layers and head frozen.

    Attributes:
        resolution: the lower side: in pixels where an integer, as a share of the full side where a float. The paper
            has 128 px for tests at 160, 224 for 288: shares of 0.8 and 0.78.
        tuned_epochs: epochs at the full resolution, out of all epochs.
        interpolation: how images are made smaller.
        fresh_optimizer: whether the optimiser is created again for them, as in the paper, where they are a training
            apart.

    Raises:
        CurriculumError: no epoch is left for the lower resolution, or it is none.
    """

    paper = Paper(
        "fixres",
        "Fixing the train-test resolution discrepancy",
        "Hugo Touvron and Andrea Vedaldi and Matthijs Douze and Hervé Jégou",
        "NeurIPS",
        2019,
    )

    resolution: int | float = 0.75
    tuned_epochs: int = setting(2, low=1)
    interpolation: Interpolation = "bilinear"
    fresh_optimizer: bool = True

    def check(self) -> None:
        """Check the resolution, and that the lower one gets an epoch."""
        if isinstance(self.resolution, float) and not 0 < self.resolution < 1:
            self.fail("resolution", f"as a share of the full side must lie between 0 and 1, got {self.resolution:g}")
        if self.resolution < 1 and isinstance(self.resolution, int):
            self.fail("resolution", f"must be at least 1 px, got {self.resolution}")
        self.require_epochs(
            self.tuned_epochs + 1, f"tuned_epochs takes {self.tuned_epochs}, and the lower resolution needs one or more"
        )

    def _stage(self, epoch: int) -> Stage:
        first = self.epochs - self.tuned_epochs
        if epoch < first:
            side = self.resolution
            name = f"{side} px" if isinstance(side, int) else f"{100 * side:.4g} %"
            return Stage(name=name, view=Resize(side, self.interpolation), image_size=side)
        return Stage(
            name="norms and head",
            frozen=(Frozen(depth=(0.0, 1.0), norms=False),),
            fresh_optimizer=self.fresh_optimizer and epoch == first,
        )
