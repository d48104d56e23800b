"""Plain training that notes how hard each image is, for curricula that go by scores of another run."""

from __future__ import annotations

from dataclasses import dataclass

from ..configuration import setting
from .curriculum import Curriculum
from .samples.measures import Measure
from .samples.rule import All
from .stage import Stage

__all__ = ["Watch"]


@dataclass(frozen=True, kw_only=True)
class Watch(Curriculum):
    """All images in all epochs; ``curriculum-zoo score RUN --by forgetting`` reads what was noted.

    Attributes:
        by: the measures that are noted.
    """

    by: tuple[Measure, ...] = setting(("forgetting",))

    def check(self) -> None:
        """Check that there is a measure."""
        if not self.by:
            self.fail("by", "must name at least one measure")

    def _stage(self, epoch: int) -> Stage:
        return Stage(name="full", samples=All(noted=tuple(dict.fromkeys(self.by))))
