"""Easy images first: training begins on the easiest ones and takes in harder ones by a pacing function.

Sources: Bengio et al., "Curriculum Learning" (ICML 2009); Hacohen and Weinshall, "On the Power of Curriculum Learning
in Training Deep Networks" (ICML 2019), scores of a trained network; Wu, Dyer and Neyshabur, "When Do Curricula Work?"
(ICLR 2021): the pacing functions, and the finding that the order adds nothing to them unless the budget is short or
labels are noisy, so that anti-curriculum and random order belong beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from .curriculum import Curriculum
from .samples.measures import Measure
from .samples.ranked import Order, Ranked
from .samples.rule import All
from .stage import Stage

__all__ = ["EasyToHard", "Pacing", "paced_share"]

Pacing = Literal["linear", "root", "step"]


def paced_share(pacing: Pacing, progress: float, start: float, full: float) -> float:
    """Return the share of images that are in the pool, by the pacing functions of Wu et al.

    Args:
        pacing: ``linear``, ``root`` (of the progress) or ``step`` (all at once).
        progress: the share of training that is done, 0 to 1.
        start: the share at the beginning, the paper's b.
        full: the share of training after which all images are in, the paper's a.
    """
    done = min(1.0, progress / full)
    grown = {"linear": done, "root": math.sqrt(done), "step": float(done >= 1)}[pacing]
    return start + (1 - start) * grown


@dataclass(frozen=True, kw_only=True)
class EasyToHard(Curriculum):
    """A pool of images that grows from the easiest to all of them; each epoch sees its pool once, in random order.

    The paper keeps the number of steps and repeats small pools; here an epoch of a small pool is short and cheap, and
    comparisons are at equal FLOPs.

    Attributes:
        scores: a file of scores by image, as ``curriculum-zoo score`` writes it. Where None, images are ranked by what
            this run saw last of them, and its first epoch sees all.
        by: the measure that this run then goes by.
        pacing: how the pool grows: ``"linear"``, ``"root"`` or ``"step"``.
        start: the share of the images at the beginning, above 0; the paper tries 0.0025 to 0.8.
        full: the share of training after which all images are in, above 0; the paper tries 0.01 to 1.6.
        order: which images come first: ``"easy"``; ``"hard"``, the anti-curriculum; or ``"random"``, the pacing alone.
    """

    paper = Paper(
        "whencurricula", "When Do Curricula Work?", "Xiaoxia Wu and Ethan Dyer and Behnam Neyshabur", "ICLR", 2021
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "anti-curriculum": {"order": "hard"},
        "random order": {"order": "random"},
    }

    scores: str | None = None
    by: Measure = "loss"
    pacing: Pacing = "linear"
    start: float = setting(0.2, above=0, high=1)
    full: float = setting(0.8, above=0)
    order: Order = "easy"

    def _stage(self, epoch: int) -> Stage:
        own = self.scores is None
        if own and epoch == 0:
            return Stage(name="full, scoring", samples=All(noted=(self.by,)))
        share = paced_share(self.pacing, epoch / self.epochs, self.start, self.full)
        if share == 1:
            return Stage(name="full")
        rule = Ranked(
            kept=share,
            order=self.order,
            measure=self.by if own and self.order != "random" else None,
            file=self.scores,
            noting=own,
            # The pool grows and never changes, in random order too.
            key=(self.seed,),
        )
        return Stage(name=str(rule), samples=rule)
