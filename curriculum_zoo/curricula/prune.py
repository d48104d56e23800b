"""Pruning: training on the part of the images that is worth it, by scores of a trained network or of the first epochs.

Sources: Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet" (NeurIPS 2021): the error's norm (EL2N) early in
training, of which the hardest half trains CIFAR-10 as well as all; Toneva et al., "An Empirical Study of Example
Forgetting during Deep Neural Network Learning" (ICLR 2019): images that are never forgotten can be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from .curriculum import Curriculum
from .samples.measures import Measure
from .samples.ranked import Ranked
from .samples.rule import All
from .stage import Stage

__all__ = ["Prune"]


@dataclass(frozen=True, kw_only=True)
class Prune(Curriculum):
    """The hardest images alone, or the easiest, once it is known which these are.

    Attributes:
        share: of the images that is kept, above 0. The paper keeps half of CIFAR-10.
        keep: the ``"hard"`` images, as both papers, the ``"easy"`` ones, or ``"random"`` ones as a control.
        scores: a file of scores by image, as ``curriculum-zoo score`` writes it: pruned from the start. Where None,
            this run scores the images itself.
        by: the measure that it then goes by.
        warmup: first epochs, in which all images are seen and scored. The papers score after 10 to 20 of 200 epochs,
            and take the mean of ten networks; this takes the last sight of one.
    """

    paper = Paper(
        "datadiet",
        "Deep Learning on a Data Diet: Finding Important Examples Early in Training",
        "Mansheej Paul and Surya Ganguli and Gintare Karolina Dziugaite",
        "NeurIPS",
        2021,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "easy images": {"keep": "easy"},
        "random images": {"keep": "random"},
    }

    share: float = setting(0.5, above=0, high=1)
    keep: Literal["hard", "easy", "random"] = "hard"
    scores: str | None = None
    by: Measure = "el2n"
    warmup: int = setting(2, low=1)

    def check(self) -> None:
        """Check that there are epochs after the first ones."""
        if self.scores is None:
            self.require_epochs(self.warmup + 1, f"the first {self.warmup} score the images")

    def _stage(self, epoch: int) -> Stage:
        if self.scores is None and epoch < self.warmup:
            return Stage(name="full, scoring", samples=All(noted=(self.by,)))
        measure = self.by if self.scores is None and self.keep != "random" else None
        rule = Ranked(kept=self.share, order=self.keep, measure=measure, file=self.scores, key=(self.seed,))
        return Stage(name=str(rule), samples=rule)
