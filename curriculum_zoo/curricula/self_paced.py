"""Self-paced learning: each epoch learns from the images that the network finds easy by now, and then from harder ones.

Sources: Kumar, Packer and Koller, "Self-Paced Learning for Latent Variable Models" (NIPS 2010): hard weights, half of
the images at first; Jiang et al., "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia Search" (ACM MM
2014): linear weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from .curriculum import Curriculum
from .samples.ranked import Ranked
from .samples.rule import All
from .stage import Stage

__all__ = ["SelfPaced"]


@dataclass(frozen=True, kw_only=True)
class SelfPaced(Curriculum):
    """The images of least loss, as this run saw it last, and ever more of them.

    The paper keeps images whose loss lies below a threshold that grows by 1.3 each time the weights have converged.
    Epochs of a network do not converge, and its losses fall, so here the threshold is a quantile of the losses.

    Attributes:
        start: the share of the images after the first epochs, above 0; the paper's first threshold lets in half.
        full: the share of training after which all images are in, above 0; linear in between.
        weights: ``"hard"``, an image is in or out; or ``"linear"``, weights fall with the loss down to 0 at the first
            image that is left out.
        warmup: first epochs, which see all images.
        order: which images come first: those of least loss, ``"easy"``; of greatest, ``"hard"``; or ``"random"`` ones.
    """

    paper = Paper(
        "selfpaced",
        "Self-Paced Learning for Latent Variable Models",
        "M. Pawan Kumar and Benjamin Packer and Daphne Koller",
        "NIPS",
        2010,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "hard images first": {"order": "hard"},
        "random order": {"order": "random"},
    }

    start: float = setting(0.5, above=0, high=1)
    full: float = setting(0.8, above=0)
    weights: Literal["hard", "linear"] = "hard"
    warmup: int = setting(1, low=1)
    order: Literal["easy", "hard", "random"] = "easy"

    def check(self) -> None:
        """Check that there are epochs after the first ones, and that weights fit the order."""
        self.require_epochs(self.warmup, f"the first {self.warmup} see all images")
        if self.weights == "linear" and self.order != "easy":
            self.fail("weights", f"'linear' falls with the loss, which only order='easy' goes by; got '{self.order}'")

    def _stage(self, epoch: int) -> Stage:
        if epoch < self.warmup:
            return Stage(name="full, scoring", samples=All(noted=("loss",)))
        length = max(1e-9, self.full * self.epochs - self.warmup)
        share = self.start + (1 - self.start) * min(1.0, (epoch - self.warmup) / length)
        if share == 1:
            return Stage(name="full")
        rule = Ranked(
            kept=share,
            order=self.order,
            measure="loss",
            noting=True,
            soft=self.weights == "linear",
            key=(self.seed, epoch),
        )
        return Stage(name=str(rule), samples=rule)
