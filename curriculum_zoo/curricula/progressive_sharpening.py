"""Progressive sharpening: training begins on blurred images and sharpens them step by step, up to the originals.

Source: Sahil Trivedi, "Optimisation with Progressive Sharpening" (2021), sections 3 and 4. The name now mostly stands
for something else, the growth of the Hessian's largest eigenvalue during training; that is not meant here.

The paper fixes the box kernels J_N/N², most blurred first and the original last. How many, for how long, and what lies
beyond the border it leaves open: the defaults are N = 5, 4, 3, 2, 1, equal shares and reflection, the optimiser kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from ..views import BoxBlur, GaussianBlur, Portions, View, identity
from .curriculum import Curriculum
from .stage import Stage

__all__ = ["ProgressiveSharpening"]


@dataclass(frozen=True, kw_only=True)
class ProgressiveSharpening(Curriculum):
    """Blurred images first, sharper ones stage by stage.

    Attributes:
        kernel: ``"box"``, as in the paper, or ``"gaussian"``, as in the visual-acuity curriculum (Raj et al. 2025).
        kernels: sides of the box kernels in pixels, one a stage, in order; 1 is the original.
        sigmas: standard deviations of the Gaussian ones in pixels, one a stage, in order; 0 is the original.
        stage_epochs: epochs of each stage but the last, which takes what is left; equal shares where empty.
        replay: the probability with which an image is shown through the blur of an earlier stage, all of them equally
            likely, so that the network does not forget them; the visual-acuity curriculum replays its earlier phases
            too. 0, as in the paper, shows each stage's own blur alone.
        order: ``"sharpening"``, in the order of the kernels; ``"blurring"``, the same epochs from the last to the
            first, so that training ends on the most blurred images; ``"constant"``, one blur, the middle one of those
            before the last, for as many epochs as all of them, and then the last; ``"mixed"``, every blur in every
            epoch, with the share that it has of the whole training: augmentation by blur, without a curriculum.

    Raises:
        CurriculumError: fewer epochs than stages.
    """

    paper = Paper("sharpening", "Optimisation with Progressive Sharpening", "Sahil Trivedi", year=2021)
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "reversed": {"order": "blurring"},
        "constant blur, then sharp": {"order": "constant"},
        "same blurs, mixed": {"order": "mixed"},
        "without replay": {"replay": 0.0},
    }

    kernel: Literal["box", "gaussian"] = "box"
    kernels: tuple[int, ...] = setting((5, 4, 3, 2, 1), low=1)
    sigmas: tuple[float, ...] = setting((2.0, 1.0, 0.0), low=0)
    stage_epochs: tuple[int, ...] = setting((), low=1)
    replay: float = setting(0.0, low=0, below=1)
    order: Literal["sharpening", "blurring", "constant", "mixed"] = "sharpening"

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

    def _stages(self) -> list[tuple[View, int]]:
        """Blur and number of epochs of each stage, in order of training."""
        blurs = self._blurs()
        if self.stage_epochs:
            lengths = [*self.stage_epochs, self.epochs - sum(self.stage_epochs)]
        else:
            starts = [-(-self.epochs * number // len(blurs)) for number in range(len(blurs) + 1)]
            lengths = [end - start for start, end in pairwise(starts)]
        stages = list(zip(blurs, lengths, strict=True))
        if self.order == "constant" and len(stages) > 1:
            return [(blurs[(len(blurs) - 1) // 2], sum(lengths[:-1])), stages[-1]]
        return stages[::-1] if self.order == "blurring" else stages

    def _stage(self, epoch: int) -> Stage:
        stages = self._stages()
        if self.order == "mixed" and len(stages) > 1:
            blurs, shares = tuple(blur for blur, _ in stages), self._overall_shares(stages)
            return Stage(name="mixed blurs", view=Portions(blurs, shares, key=(self.seed, epoch)))
        number = bisect_right(list(accumulate(length for _, length in stages)), epoch)
        blurs = tuple(blur for blur, _ in stages[: number + 1])
        name = "full" if blurs[-1] is identity else _label(blurs[-1])
        if len(blurs) == 1 or not self.replay:
            return Stage(name=name, view=blurs[-1])
        return Stage(name=f"{name} + replay", view=Portions(blurs, self._shares(number), key=(self.seed, epoch)))

    def _shares(self, number: int) -> tuple[float, ...]:
        """The share of the images that each blur up to that of stage ``number`` has in it."""
        return (self.replay / number,) * number + (1 - self.replay,) if number else (1.0,)

    def _overall_shares(self, stages: list[tuple[View, int]]) -> tuple[float, ...]:
        """The share of all images of all epochs that each blur has."""
        shares = [0.0] * len(stages)
        for number, (_, length) in enumerate(stages):
            for blur, share in enumerate(self._shares(number)):
                shares[blur] += share * length / self.epochs
        return tuple(shares)


def _label(blur: View) -> str:
    return f"box {blur.size}" if isinstance(blur, BoxBlur) else f"gaussian {getattr(blur, 'sigma', 0):g}"
