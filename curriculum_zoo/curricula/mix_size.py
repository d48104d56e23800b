"""Mixed sizes: each batch has images of a size of its own, drawn by lot; a schedule may move from small ones to large.

Sources: Hoffer et al., "Mix & Match: Training Convnets with Mixed Image Sizes for Improved Accuracy, Speed and Scale
Resiliency" (2019), sizes drawn for each batch, with batches that grow as images shrink; timm's scheduled sampler
(``timm/data/scheduled_sampler.py``), whose progressive schedule moves a Gaussian window over the sizes and mixes some
uniform draws in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from ..views import Interpolation
from .batch_sizes import BatchSizes
from .curriculum import Curriculum
from .stage import Stage

__all__ = ["MixSize"]


@dataclass(frozen=True, kw_only=True)
class MixSize(Curriculum):
    """Batches of several image sizes within each epoch.

    Attributes:
        sizes: the sides, as shares of the full one, smallest first. The papers' sizes are for 224 px; these are half,
            three quarters and all.
        schedule: ``"constant"``, all sizes alike in all epochs, or timm's ``"progressive"``, from first to last size.
        spread: standard deviation of the progressive window, in sizes; timm's default.
        random_mix: share of draws in the progressive schedule that are among all sizes alike; timm's default.
        by: whether each ``"batch"`` draws a size, or all batches of an ``"epoch"`` have one.
        final: last epochs at the full size.
        scale_batch: whether batch size and learning rate grow with the pixels saved (`Stage.scaled_batch`).
        interpolation: how images are made smaller.
    """

    paper = Paper(
        "mixsize",
        "Mix & Match: Training Convnets with Mixed Image Sizes for Improved Accuracy, Speed and Scale Resiliency",
        "Elad Hoffer and Berry Weinstein and Itay Hubara and Tal Ben-Nun and Torsten Hoefler and Daniel Soudry",
        "arXiv:1908.08986",
        2019,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "by epoch": {"by": "epoch"},
        "progressive": {"schedule": "progressive"},
    }

    sizes: tuple[float, ...] = setting((0.5, 0.75, 1.0), above=0, high=1)
    schedule: Literal["constant", "progressive"] = "constant"
    spread: float = setting(0.65, above=0)
    random_mix: float = setting(0.1, low=0, high=1)
    by: Literal["batch", "epoch"] = "batch"
    final: int = setting(1, low=0)
    scale_batch: bool = False
    interpolation: Interpolation = "bilinear"

    def check(self) -> None:
        """Check that there are sizes, and that the last epochs are there."""
        if not self.sizes:
            self.fail("sizes", "must name at least one share of the full side")
        self.require_epochs(self.final, f"final takes {self.final}")

    def shares(self, epoch: int) -> tuple[float, ...]:
        """Return how probable each size is in an epoch; together 1."""
        count = len(self.sizes)
        if self.schedule == "constant":
            return (1 / count,) * count
        centre = epoch / max(1, self.epochs - self.final - 1) * (count - 1)
        window = [math.exp(-0.5 * ((place - centre) / self.spread) ** 2) for place in range(count)]
        return tuple((1 - self.random_mix) * w / sum(window) + self.random_mix / count for w in window)

    def _stage(self, epoch: int) -> Stage:
        if epoch >= self.epochs - self.final:
            return Stage(name="full")
        drawn = BatchSizes(
            sizes=self.sizes, shares=self.shares(epoch), interpolation=self.interpolation, key=(self.seed, epoch)
        )
        stage = Stage(name="mixed sizes", batch_sizes=drawn, scale_batch=self.scale_batch)
        return stage if self.by == "batch" else stage.at_step(0)
