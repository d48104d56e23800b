"""Freezing alone: parts of a network that stay as they were loaded, for a while or to the end, on whole images.

``freeze`` is a linear probe: only the head learns. ``freeze(frozen_epochs=2)`` lets a new head settle before the rest
moves. ``freeze(parts=(conv1, layer1))`` keeps what the early layers know. Overlaid, as in ``freeze(parts=conv1)+trd``,
it freezes under any other curriculum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..configuration import setting
from .curriculum import Curriculum
from .freezing import Frozen
from .stage import Stage

__all__ = ["Freeze"]


@dataclass(frozen=True, kw_only=True)
class Freeze(Curriculum):
    """Some parts do not learn for the first epochs, or for all of them.

    Attributes:
        parts: patterns of their parameters' names (`Frozen.patterns`); None takes those in the range of `depth`.
        depth: the range of depth that is frozen (`Frozen.depth`) where no parts are named: everything but the head.
        frozen_epochs: for how many epochs; None for all.
        norms: whether normalisation layers among them are frozen too.
        statistics: whether running statistics of frozen BatchNorm layers stay as they are (``"hold"``), or ``"move"``.
        fresh_optimizer: whether the optimiser is created again when these parts begin to learn.

    Raises:
        CurriculumError: more epochs are to be frozen than there are.
    """

    parts: str | tuple[str, ...] | None = None
    depth: tuple[float, float] = setting((0.0, 1.0), low=0, high=1)
    frozen_epochs: int | None = setting(None, low=0)
    norms: bool = True
    statistics: Literal["hold", "move"] = "hold"
    fresh_optimizer: bool = False

    def check(self) -> None:
        """Check that the frozen epochs fit in, and that something is frozen."""
        if self.frozen_epochs is not None:
            self.require_epochs(self.frozen_epochs, f"frozen_epochs takes {self.frozen_epochs}")
        if self.parts == ():
            self.fail("parts", "must name at least one part, or be none for a range of depth")
        if self.depth[0] >= self.depth[1]:
            self.fail("depth", f"must be (low, high) with low below high, got {self.depth}")

    def _stage(self, epoch: int) -> Stage:
        if self.frozen_epochs is not None and epoch >= self.frozen_epochs:
            return Stage(name="full", fresh_optimizer=self.fresh_optimizer and epoch == self.frozen_epochs > 0)
        patterns = (self.parts,) if isinstance(self.parts, str) else self.parts or ()
        depth = None if patterns else self.depth
        return Stage(name="frozen", frozen=(Frozen(patterns, depth, self.statistics, norms=self.norms),))
