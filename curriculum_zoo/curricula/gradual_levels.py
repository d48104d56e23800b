"""Gradual learning: a network with processing levels is allowed one level more at each stage, and the pixels it takes.

Source: "Image Classification through Top-Down Image Pyramid Traversal", section 4 (gradual learning, equation 5, and
multi-level learning, equation 6) and appendix A.5.2. Weights are carried on from stage to stage; the first stage allows
2 levels, and where there is a session at the base resolution before, as in the paper's experiments, 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..citation import Paper
from ..configuration import setting
from ..views import Interpolation, Resize, identity
from .curriculum import Curriculum, divide
from .stage import Stage

__all__ = ["GradualLevels"]


@dataclass(frozen=True, kw_only=True)
class GradualLevels(Curriculum):
    """One processing level more at each stage, each stage at the resolution that goes with its levels.

    Images of a stage with z of L levels have `ratio` to the power of L - z times the full side: the paper sees no
    difference between fewer levels and smaller images, and with ``interpolation="area"``, by which the glimpse pyramid
    itself makes images smaller, there is none.

    Attributes:
        levels: processing levels of the last stage, at full resolution.
        first: processing levels of the first stage; 1 begins with the base resolution alone.
        shares: the share of the epochs that each stage gets; equal ones where empty.
        level_weights: multi-level learning: weights of the losses after 1, 2, … levels, λ_z of equation (6). One list
            holds for all stages, each taking as many as it has levels; a list of lists has one for each stage. Empty
            leaves the loss after the last level alone.
        fresh_optimizer: whether the optimiser is created again at each stage but the first, as where every stage is a
            session of its own. Gradual learning itself keeps it.
        set_levels: whether stages state their levels. False leaves that to the resolution, which serves the fully
            convolutional networks too that the glimpse pyramid is compared with.
        ratio: the side of a region's candidate locations as a share of its own; one half in the paper.
        interpolation: how images are made smaller.

    Raises:
        CurriculumError: fewer epochs than stages, shares or weights that do not go with the stages.
    """

    paper = Paper(
        "pyramid",
        "Image classification through top-down image pyramid traversal",
        where="anonymous, under double-blind review",
    )

    levels: int = setting(3, low=1)
    first: int = setting(2, low=1)
    shares: tuple[float, ...] = ()
    level_weights: tuple[float, ...] | tuple[tuple[float, ...], ...] = setting((), low=0)
    fresh_optimizer: bool = False
    set_levels: bool = True
    ratio: float = setting(0.5, above=0, below=1)
    interpolation: Interpolation = "area"

    def check(self) -> None:
        """Check that shares and weights go with the stages, and that every stage gets an epoch."""
        if self.first > self.levels:
            self.fail("first", f"must be at most levels, which is {self.levels}; got {self.first}")
        if self.shares and len(self.shares) != self._stages:
            self.fail(
                "shares",
                f"must have one number for each of the {self._stages} stages, of {self.first} to {self.levels} levels; "
                f"got {len(self.shares)}",
            )
        self.require_epochs(self._stages, f"each of its {self._stages} stages takes one or more")
        self._boundaries()
        if self.level_weights and not self.set_levels:
            self.fail("level_weights", "weighs levels, and set_levels=false leaves them open; leave one of them out")
        for stage in range(self._stages):
            self._check_weights(self.first + stage)

    @property
    def _stages(self) -> int:
        return self.levels - self.first + 1

    def _boundaries(self) -> list[int]:
        """The first epochs of the stages after the first."""
        if self._stages == 1:
            return []
        parts = divide(self.epochs, self.shares or (1 / self._stages,) * self._stages)
        return [sum(parts[:number]) for number in range(1, self._stages)]

    def _check_weights(self, levels: int) -> None:
        if not self.level_weights:
            return
        weights = self._weights(levels)
        if len(weights) != levels or not any(weights):
            self.fail(
                "level_weights",
                f"must have a weight for each of {levels} levels, not all of them 0; got {list(weights)}",
            )

    def _weights(self, levels: int) -> tuple[float, ...]:
        number = levels - self.first
        nested = [weights for weights in self.level_weights if isinstance(weights, tuple)]
        if nested:
            return nested[number] if len(nested) == self._stages else ()
        return tuple(weight for weight in self.level_weights if isinstance(weight, float))[:levels]

    def _stage(self, epoch: int) -> Stage:
        boundaries = self._boundaries()
        levels = self.first + sum(epoch >= boundary for boundary in boundaries)
        share = self.ratio ** (self.levels - levels)
        return Stage(
            name=f"{levels} level{'s' * (levels > 1)}",
            view=identity if levels == self.levels else Resize(share, self.interpolation),
            image_size=None if levels == self.levels else share,
            levels=levels if self.set_levels else None,
            level_weights=self._weights(levels) if self.level_weights else (),
            fresh_optimizer=self.fresh_optimizer and epoch in boundaries,
        )
