"""Selective backprop: a forward pass finds the images of greatest loss, and these alone are trained on.

Source: Jiang et al., "Accelerating Deep Learning by Focusing on the Biggest Losers" (2019), section 3: an image is kept
with the probability P(loss) = CDF(loss)^β, the CDF being that of recent losses; and Stale-SB, whose losses are up to so
many epochs old. The paper draws batch by batch; here the forward pass over all images stands before an epoch, so that
each image's lot depends on nothing but its own loss and those of the whole set, on any number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ..citation import Paper
from ..configuration import setting
from ..draws import seeds_of, uniform
from .curriculum import Curriculum
from .samples.measures import Measure
from .samples.rule import SampleRule, Selection, ranks
from .stage import Stage

__all__ = ["ByPercentile", "SelectiveBackprop"]

_LOTS = 0x5E1B  # sets these lots apart from others of the same seed, epoch and numbers


@dataclass(frozen=True, kw_only=True)
class ByPercentile(SampleRule):
    """Each image with a probability that is a power of its loss's percentile.

    Attributes:
        beta: the power.
        looking: whether a forward pass measures all images before the epoch; the last such pass's losses hold until
            the next.
        key: seed and epoch.
    """

    beta: float
    looking: bool
    key: tuple[int, ...] = field(default=(0,), compare=False)

    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Select by lot, image by image."""
        percentiles = (ranks(scores["loss"], numbers, self.key) + 1).double() / max(1, len(numbers))
        lots = uniform(seeds_of(numbers, *self.key, _LOTS), 1)[:, 0]
        return Selection(lots < percentiles**self.beta)

    @property
    def looks(self) -> tuple[Measure, ...]:
        """The loss, where this epoch looks."""
        return ("loss",) if self.looking else ()

    @property
    def share(self) -> float:
        """The mean of p^β over percentiles p, which are uniform."""
        return 1 / (1 + self.beta)

    def __str__(self) -> str:
        return f"by loss, {100 * self.share:.3g} %"


@dataclass(frozen=True, kw_only=True)
class SelectiveBackprop(Curriculum):
    """The images of greatest loss, by lot; what the forward passes cost that find them is counted.

    Attributes:
        beta: β, the power of the percentile: 1 keeps half of the images in expectation, 2 a third.
        refresh: epochs for which the losses of a forward pass hold; from 2 on it is the paper's Stale-SB.
        start: the share of training before which all images are seen.
        end: the share after which they are again. The paper has neither; Composer starts at 0.5 and ends at 0.9.
    """

    paper = Paper(
        "selectivebackprop",
        "Accelerating Deep Learning by Focusing on the Biggest Losers",
        "Angela H. Jiang and Daniel L.-K. Wong and Giulio Zhou and David G. Andersen and Jeffrey Dean and "
        "Gregory R. Ganger and Gauri Joshi and Michael Kaminsky and Michael Kozuch and Zachary C. Lipton and "
        "Padmanabhan Pillai",
        "arXiv:1910.00762",
        2019,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "stale losses": {"refresh": 3},
        # As many FLOPs: of a forward and backward pass, a forward pass is a third.
        "random images": "random_subset(share=0.8333)",
    }

    beta: float = setting(1.0, low=0)
    refresh: int = setting(1, low=1)
    start: float = setting(0.0, low=0, high=1)
    end: float = setting(1.0, low=0, high=1)

    def check(self) -> None:
        """Check that it ends after it starts."""
        if self.end <= self.start:
            self.fail("end", f"must lie above start {self.start:g}, got {self.end:g}")

    def _stage(self, epoch: int) -> Stage:
        first = round(self.start * self.epochs)
        if not first <= epoch < round(self.end * self.epochs):
            return Stage(name="full")
        looking = (epoch - first) % self.refresh == 0
        rule = ByPercentile(beta=self.beta, looking=looking, key=(self.seed, epoch))
        return Stage(name=str(rule), samples=rule)
