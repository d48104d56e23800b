"""The first so many images in the order of their difficulty, or in random order: `Ranked`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ...errors import CurriculumError
from .measures import Measure
from .rule import SampleRule, Selection, ranks
from .score_file import read_scores

__all__ = ["Order", "Ranked", "stored_or_noted"]

Order = Literal["easy", "hard", "random"]


@dataclass(frozen=True, kw_only=True)
class Ranked(SampleRule):
    """A share of the images: the easiest, the hardest, or random ones.

    Attributes:
        kept: the share of the images, above 0 and at most 1; their number is the nearest whole one, at least 1.
        order: which come first: the easiest, the hardest, or images drawn by lot.
        measure: what this run saw of images, which they are ranked by; None where a file says it, or a lot.
        file: scores that they are ranked by.
        noting: whether the measure is noted in this epoch too. Images that are left out keep what was noted last.
        soft: whether weights fall linearly with the score, from 1 at the least score of all images to 0 at the first
            that is left out.
        key: seed, and epoch where ties and lots differ from epoch to epoch.
    """

    kept: float
    order: Order = "random"
    measure: Measure | None = None
    file: str | None = None
    noting: bool = False
    soft: bool = False
    key: tuple[int, ...] = field(default=(0,), compare=False)

    def select(self, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Selection:
        """Select the first ones.

        Raises:
            CurriculumError: the file cannot be read, or has scores of fewer images.
        """
        values = torch.zeros(len(numbers)) if self.order == "random" else stored_or_noted(self, numbers, scores)
        # What is not known yet is as hard as can be; it comes last of the easy ones and first of the hard ones.
        values = values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        places = ranks(-values if self.order == "hard" else values, numbers, self.key)
        count = max(1, round(self.kept * len(numbers)))
        kept = places < count
        return Selection(kept, _falling(values, kept) if self.soft else None)

    @property
    def notes(self) -> tuple[Measure, ...]:
        """The measure, where it is noted."""
        return (self.measure,) if self.noting and self.measure else ()

    @property
    def weighs(self) -> bool:
        """Whether weights are soft."""
        return self.soft

    @property
    def files(self) -> tuple[str, ...]:
        """The file of scores, where there is one."""
        return (self.file,) if self.file and self.order != "random" else ()

    @property
    def share(self) -> float:
        """The stated one."""
        return self.kept

    def __str__(self) -> str:
        words = {"easy": "easiest", "hard": "hardest", "random": "random"}[self.order]
        return f"{words} {100 * self.kept:.3g} %"


def stored_or_noted(rule: Ranked, numbers: Tensor, scores: Mapping[Measure, Tensor]) -> Tensor:
    """Return the scores that images are ranked by, float32 [N]: the file's, or this run's own.

    Raises:
        CurriculumError: neither is there.
    """
    if rule.file is not None:
        return read_scores(rule.file).of(numbers)
    if rule.measure is None or rule.measure not in scores:
        raise CurriculumError(
            f"Images are to be ranked by {rule.measure}, and nothing noted it. Give a file of scores, or let an "
            "earlier stage note it."
        )
    return scores[rule.measure]


def _falling(values: Tensor, kept: Tensor) -> Tensor:
    """Weights 1 - (v - least) / (first left out - least), float32 [N]; 1 where nothing is left out."""
    left_out = values[~kept & values.isfinite()]
    if not len(left_out):
        return torch.ones_like(values)
    least, bound = values.min(), left_out.min()
    return (1 - (values - least) / (bound - least).clamp_min(1e-12)).clamp_(0, 1)
