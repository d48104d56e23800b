"""The curriculum that is none: full images and the whole network, in every epoch; what the others are held against."""

from __future__ import annotations

from dataclasses import dataclass

from .curriculum import Curriculum
from .stage import Stage

__all__ = ["Baseline"]


@dataclass(frozen=True, kw_only=True)
class Baseline(Curriculum):
    """Ordinary training."""

    def _stage(self, epoch: int) -> Stage:
        return Stage(name="full")
