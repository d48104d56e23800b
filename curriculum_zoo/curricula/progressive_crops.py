"""Progressive crops: training begins on small cut-outs at full resolution, which grow to the full image.

The other way to smaller tensors than `progressive_resizing`, at the same sides and the same FLOPs: details stay as they
are, and what lies around them goes. Touvron et al., "Fixing the Train-Test Resolution Discrepancy" (NeurIPS 2019), show
how much a crop changes the apparent size of objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..configuration import setting
from ..views.crops import RandomCrop
from .curriculum import Curriculum
from .progressive_resizing import ProgressiveResizing
from .stage import Stage

__all__ = ["ProgressiveCrops"]


@dataclass(frozen=True, kw_only=True)
class ProgressiveCrops(Curriculum):
    """Random cut-outs whose side grows linearly over the middle of the training.

    Attributes:
        initial: the side at first, as a share of the full one.
        delay: the share of the training that stays at the initial side.
        final: the share of the training, at its end, that sees full images.
        size_multiple: sides are the nearest multiples of this many pixels.
        scale_batch: whether batch size and learning rate grow with the pixels saved (`Stage.scaled_batch`).

    Raises:
        CurriculumError: more delay and final part than there is training, or fewer epochs than a final part takes.
    """

    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {"resizing": "progressive_resizing"}

    initial: float = setting(0.5, above=0, high=1)
    delay: float = setting(0.5, low=0, high=1)
    final: float = setting(0.2, low=0, high=1)
    size_multiple: int = setting(4, low=1)
    scale_batch: bool = False

    def check(self) -> None:
        """Check what `progressive_resizing` checks."""
        self._sizes()

    def _sizes(self) -> ProgressiveResizing:
        """The plan of sides, which is that of progressive resizing."""
        return ProgressiveResizing(
            epochs=self.epochs,
            seed=self.seed,
            initial=self.initial,
            delay=self.delay,
            final=self.final,
            size_multiple=self.size_multiple,
        )

    def _stage(self, epoch: int) -> Stage:
        sized = self._sizes().stage(epoch)
        if not isinstance(sized.image_size, float):
            return Stage(name="full")
        return Stage(
            name=sized.name,
            view=RandomCrop(sized.image_size, self.size_multiple, key=(self.seed, epoch)),
            image_size=sized.image_size,
            size_multiple=self.size_multiple,
            crops=True,
            scale_batch=self.scale_batch,
        )
