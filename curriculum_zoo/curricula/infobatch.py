"""InfoBatch: well-learnt images are left out at random, and those of them that stay count for the others too.

Source: Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning" (ICLR 2024), section 2: of
the images whose loss lies below the mean, a share r is left out in each epoch, by lot; the loss of the rest of them is
multiplied by 1 / (1 - r), so that gradients keep their expectation; the last epochs, from a share δ of training on, see
all images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..citation import Paper
from ..configuration import setting
from ..draws import seeds_of, uniform
from .curriculum import Curriculum
from .samples.measures import Measure
from .samples.rule import All, SampleRule, Selection, ranks
from .stage import Stage

__all__ = ["BelowMean", "Infobatch"]

_LOTS = 0x1BA7  # sets these lots apart from others of the same seed, epoch and numbers


@dataclass(frozen=True, kw_only=True)
class BelowMean(SampleRule):
    """All images whose loss was at least the mean, and some of the others, drawn by lot image by image.

    Attributes:
        ratio: the probability that one of the others is left out.
        order: ``"easy"``, or ``"random"`` for as many images drawn by lot in the place of those below the mean.
        rescale: whether the losses of those that stay are multiplied by 1 / (1 - ratio).
        key: seed and epoch.
    """

    ratio: float
    order: Literal["easy", "random"] = "easy"
    rescale: bool = True
    key: tuple[int, ...] = field(default=(0,), compare=False)

    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Select by the losses that were noted; an image without one is kept."""
        losses = scores["loss"].double()
        below = losses < losses[losses.isfinite()].mean()  # never true of NaN, nor where there is no loss at all
        if self.order == "random":
            below = ranks(torch.zeros(len(numbers)), numbers, self.key) < below.sum()
        lots = uniform(seeds_of(numbers, *self.key, _LOTS), 1)[:, 0]
        weights = torch.where(below, 1 / (1 - self.ratio), 1.0).float() if self.rescale else None
        return Selection(~below | (lots >= self.ratio), weights)

    @property
    def notes(self) -> tuple[Measure, ...]:
        """The loss of the images that are seen; the others keep theirs."""
        return ("loss",)

    @property
    def weighs(self) -> bool:
        """As stated."""
        return self.rescale

    @property
    def share(self) -> None:
        """Not known before: it depends on how many losses lie below the mean."""
        return None

    def __str__(self) -> str:
        which = "those below the mean loss" if self.order == "easy" else "as many as lie below the mean loss"
        return f"{100 * (1 - self.ratio):.3g} % of {which}"


@dataclass(frozen=True, kw_only=True)
class Infobatch(Curriculum):
    """Fewer of the images whose loss is below the mean, at a greater weight; all of them in the end.

    Attributes:
        ratio: r, the probability that an image below the mean is left out of an epoch.
        delta: δ, the share of training after which all images are seen.
        rescale: whether the losses of those that stay are multiplied by 1 / (1 - r).
        order: which images are left out: ``"easy"``, those below the mean; or ``"random"``, as many drawn by lot.
    """

    paper = Paper(
        "infobatch",
        "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning",
        "Ziheng Qin and Kai Wang and Zangwei Zheng and Jianyang Gu and Xiangyu Peng and Zhaopan Xu and Daquan Zhou "
        "and Lei Shang and Baigui Sun and Xuansong Xie and Yang You",
        "ICLR",
        2024,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "without rescaling": {"rescale": False},
        "random images": {"order": "random"},
    }

    ratio: float = setting(0.5, low=0, below=1)
    delta: float = setting(0.875, low=0, high=1)
    rescale: bool = True
    order: Literal["easy", "random"] = "easy"

    def _stage(self, epoch: int) -> Stage:
        if epoch >= int(self.delta * self.epochs):
            return Stage(name="full")
        if epoch == 0:
            return Stage(name="full, scoring", samples=All(noted=("loss",)))
        rule = BelowMean(ratio=self.ratio, order=self.order, rescale=self.rescale, key=(self.seed, epoch))
        return Stage(name="below the mean, fewer", samples=rule)
