"""Low frequencies first: training begins on the centre of the images' spectrum and takes in more of it stage by stage.

Source: Wang et al., "EfficientTrain++: Generalized Curriculum Learning for Efficient Visual Backbone Training" (TPAMI
2024; EfficientTrain, ICCV 2023): the low-pass crop in the Fourier domain, which loses no more than the high frequencies
and shrinks the image by as much; sides of 96, 160 and 224 px; stages of equal compute; ever stronger augmentation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from ..views import LowFrequencyCrop, Resize, View, identity
from .curriculum import Curriculum
from .stage import Stage

__all__ = ["LowFrequency"]


@dataclass(frozen=True, kw_only=True)
class LowFrequency(Curriculum):
    """A low-pass crop that grows to the full image, and random augmentation that grows with it.

    Attributes:
        sizes: the crop's side of each stage in order, as a share of the full side. All stages get equal compute, so a
            stage of half the side lasts four times as long. By default the paper's 96, 160 and 224 of 224 px in 2, 4
            and 4 stages.
        augment_strength: magnitude of the random augmentation in the first and in the last stage, even steps between
            them; None leaves the run's own augmentation alone.
        downsampling: how images are made smaller: ``"low_pass"``, or plain ``"bilinear"`` resizing to the same sides,
            with antialiasing.
        scale_batch: whether batch size and learning rate grow with the pixels saved (`Stage.scaled_batch`).

    Raises:
        CurriculumError: too few epochs for every size to get one.
    """

    paper = Paper(
        "efficienttrain",
        "EfficientTrain++: Generalized Curriculum Learning for Efficient Visual Backbone Training",
        "Yulin Wang and others",
        "TPAMI",
        2024,
    )
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "without augmentation": {"augment_strength": None},
        "plain resizing": {"downsampling": "bilinear"},
    }

    sizes: tuple[float, ...] = setting((96 / 224,) * 2 + (160 / 224,) * 4 + (1.0,) * 4, above=0, high=1)
    augment_strength: tuple[float, float] | None = setting((0.0, 9.0), low=0, high=10)
    downsampling: Literal["low_pass", "bilinear"] = "low_pass"
    scale_batch: bool = False

    def check(self) -> None:
        """Check that every size gets an epoch."""
        if not self.sizes:
            self.fail("sizes", "must name at least one share of the full side")
        if not self._covers(self.epochs):
            # A stage's share of the epochs bounds how many it takes for one of them to fall into it.
            bound = round(2 * len(self.sizes) / min(self._shares())) + 2
            needed = next(epochs for epochs in range(self.epochs + 1, bound) if self._covers(epochs))
            self.require_epochs(needed, "each of its sizes takes one or more, at equal compute of all stages")

    def _shares(self) -> list[float]:
        """The share of the epochs that each stage lasts."""
        lengths = [size**-2 for size in self.sizes]
        return [length / sum(lengths) for length in lengths]

    def _number(self, epoch: int, epochs: int) -> int:
        """The stage in which the middle of an epoch falls."""
        ends = list(accumulate(self._shares()))
        return min(bisect_right(ends, (epoch + 0.5) / epochs), len(ends) - 1)

    def _covers(self, epochs: int) -> bool:
        return {self.sizes[self._number(epoch, epochs)] for epoch in range(epochs)} == set(self.sizes)

    def _stage(self, epoch: int) -> Stage:
        number = self._number(epoch, self.epochs)
        size = self.sizes[number]
        full = size == 1
        return Stage(
            name="full" if full else f"low {100 * size:.3g} %",
            view=identity if full else self._smaller(size),
            image_size=None if full else size,
            scale_batch=self.scale_batch,
            augment_strength=self._strength(number),
        )

    def _smaller(self, size: float) -> View:
        return LowFrequencyCrop(size) if self.downsampling == "low_pass" else Resize(size, "bilinear")

    def _strength(self, number: int) -> float | None:
        if self.augment_strength is None:
            return None
        first, last = self.augment_strength
        return first + (last - first) * number / max(1, len(self.sizes) - 1)
