"""Progressive sharpening: training begins on blurred images and sharpens them step by step, up to the originals.

Source: Sahil Trivedi, "Optimisation with Progressive Sharpening" (2021), sections 3 and 4. The name now mostly stands
for something else, the growth of the Hessian's largest eigenvalue during training; that is not meant here.

The paper fixes the box kernels J_N/N², most blurred first and the original last. How many, for how long, and what lies
beyond the border it leaves open: the defaults are N = 5, 4, 3, 2, 1, equal shares and reflection, the optimiser kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..configuration import setting
from .stage import Curriculum, Stage, View, identity
from .views import BoxBlur, GaussianBlur, Portions

__all__ = ["ProgressiveSharpening"]


@dataclass(frozen=True, kw_only=True)
class ProgressiveSharpening(Curriculum):
    """Blurred images first, sharper ones stage by stage.

    Attributes:
        kernel: ``"box"``, as in the paper, or ``"gaussian"``, as in the visual-acuity curriculum (Raj et al. 2025).
        kernels: sides of the box kernels in pixels, one a stage, in order; 1 is the original.
        sigmas: standard deviations of the Gaussian ones in pixels, one a stage, in order; 0 is the original.
        stage_epochs: epochs of each stage but the last, which takes what is left; equal shares where empty.
        replay: share of each batch that shows the blurs of all earlier stages again, in equal parts (the first images
            of the shuffled batch), so that the network does not forget them; the visual-acuity curriculum replays its
            earlier phases too. 0, as in the paper, shows each stage's own blur alone.

    Raises:
        CurriculumError: fewer epochs than stages.
    """

    kernel: Literal["box", "gaussian"] = "box"
    kernels: tuple[int, ...] = setting((5, 4, 3, 2, 1), low=1)
    sigmas: tuple[float, ...] = setting((2.0, 1.0, 0.0), low=0)
    stage_epochs: tuple[int, ...] = setting((), low=1)
    replay: float = setting(0.0, low=0, below=1)

    def check(self) -> None:
        """Check that every stage gets an epoch."""
        field = "kernels" if self.kernel == "box" else "sigmas"
        stages = len(self._blurs())
        if not stages:
            self.fail(field, "must name at least one blur")
        if self.stage_epochs and len(self.stage_epochs) != stages - 1:
            self.fail(
                "stage_epochs",
                f"must have one number for each of the {stages} {field} but the last, {stages - 1} in all; "
                f"got {len(self.stage_epochs)}",
            )
        self.require_epochs(
            sum(self.stage_epochs) + 1 if self.stage_epochs else stages,
            f"each of its {stages} stages takes one or more",
        )

    def _blurs(self) -> tuple[View, ...]:
        if self.kernel == "box":
            return tuple(BoxBlur(size) if size > 1 else identity for size in self.kernels)
        return tuple(GaussianBlur(sigma) if sigma > 0 else identity for sigma in self.sigmas)

    def _stage(self, epoch: int) -> Stage:
        blurs = self._blurs()
        number = self._number(epoch, len(blurs))
        view = blurs[number]
        name = "full" if view is identity else _label(view)
        if number and self.replay:
            shares = (self.replay / number,) * number + (1 - self.replay,)
            view = Portions(blurs[: number + 1], shares)
            name = f"{name} + replay"
        return Stage(name=name, view=view)

    def _number(self, epoch: int, stages: int) -> int:
        if not self.stage_epochs:
            return epoch * stages // self.epochs
        ends = [sum(self.stage_epochs[: i + 1]) for i in range(stages - 1)]
        return sum(epoch >= end for end in ends)


def _label(blur: View) -> str:
    return f"box {blur.size}" if isinstance(blur, BoxBlur) else f"gaussian {getattr(blur, 'sigma', 0):g}"
