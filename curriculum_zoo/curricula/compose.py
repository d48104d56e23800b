"""Several curricula as one: ``a + b`` at once, ``a > b`` one after the other, in Python and in strings.

``a + b`` overlays: of the resolutions the smaller holds; the images are brought to it first and then pass the other
views, a's before b's; what either freezes is frozen; the optimiser is made anew when either asks for it; of the
augmentation strengths the stronger holds, of the processing levels the fewer.

``a > b`` follows on: a plans the first epochs, b the ones after, as if each were a training of its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from ..configuration import setting
from ..errors import CurriculumError
from .stage import Curriculum, Stage
from .views import Chain, LowFrequencyCrop, Resize, View, compose

__all__ = ["COMPOSITES", "FollowOn", "Overlay", "divide", "follow_on", "overlay"]


@dataclass(frozen=True, kw_only=True)
class Overlay(Curriculum):
    """Curricula at once; made by ``a + b``.

    Attributes:
        parts: the curricula, all of the same number of epochs.
    """

    parts: tuple[Curriculum, ...] = setting()

    def check(self) -> None:
        """Check that the parts can be overlaid in every epoch."""
        if len(self.parts) < 2:
            self.fail("parts", f"must be two curricula or more, got {len(self.parts)}")
        for part in self.parts:
            if part.epochs != self.epochs:
                self.fail("parts", f"must plan equal epochs: {part.name} plans {part.epochs}, not {self.epochs}")
        for epoch in range(self.epochs):
            self._stage(epoch)

    @property
    def name(self) -> str:
        """The names of the parts."""
        return "+".join(f"({part.name})" if isinstance(part, FollowOn) else part.name for part in self.parts)

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Tell the parts."""
        return replace(self, parts=tuple(part.with_learning_rate_drops(drops) for part in self.parts))

    def _stage(self, epoch: int) -> Stage:
        stages = [part.stage(epoch) for part in self.parts]
        return functools.reduce(functools.partial(_overlaid, self.name), stages)


@dataclass(frozen=True, kw_only=True)
class FollowOn(Curriculum):
    """Curricula one after the other; made by ``a > b``.

    Attributes:
        parts: the curricula, whose epochs add up to this one's.
    """

    parts: tuple[Curriculum, ...] = setting()

    def check(self) -> None:
        """Check that the epochs add up."""
        if len(self.parts) < 2:
            self.fail("parts", f"must be two curricula or more, got {len(self.parts)}")
        total = sum(part.epochs for part in self.parts)
        if total != self.epochs:
            self.fail("parts", f"must plan {self.epochs} epochs together, got {total}")

    @property
    def name(self) -> str:
        """The names of the parts."""
        return ">".join(part.name for part in self.parts)

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Tell the parts, each in its own count of epochs."""
        told = tuple(
            part.with_learning_rate_drops(tuple(drop - start for drop in drops))
            for part, start in zip(self.parts, self._starts(), strict=True)
        )
        return replace(self, parts=told)

    def __bool__(self) -> bool:
        """Refuse: Python reads ``a > b > c`` as ``a > b and b > c``, which would quietly drop a."""
        raise CurriculumError("Write (a > b) > c, or a.then(b).then(c): Python takes a > b > c apart")

    def _starts(self) -> list[int]:
        return [0, *accumulate(part.epochs for part in self.parts[:-1])]

    def _stage(self, epoch: int) -> Stage:
        number = sum(epoch >= start for start in self._starts()) - 1
        return self.parts[number].stage(epoch - self._starts()[number])


COMPOSITES: dict[str, type[Curriculum]] = {"+": Overlay, ">": FollowOn}
"""What stands under ``"name"`` when a composition is described by `Curriculum.to_dict`."""


def overlay(*curricula: Curriculum) -> Curriculum:
    """All curricula at once, in this order of views.

    Raises:
        CurriculumError: they cannot be combined; the text says why.
    """
    parts = tuple(p for c in curricula for p in (c.parts if isinstance(c, Overlay) else (c,)))
    return Overlay(epochs=parts[0].epochs, seed=parts[0].seed, parts=parts)


def follow_on(curricula: tuple[Curriculum, ...], shares: tuple[float, ...] | None = None) -> Curriculum:
    """Curricula one after the other.

    Args:
        curricula: the curricula.
        shares: the share of the epochs that each gets; they must then all plan the same number, which stays the
            total. Without shares each keeps its own epochs.

    Raises:
        CurriculumError: a share leaves a curriculum fewer epochs than it needs, or the epochs differ.
    """
    if shares is not None:
        epochs = curricula[0].epochs
        if any(curriculum.epochs != epochs for curriculum in curricula):
            raise CurriculumError("Shares divide one number of epochs: create both curricula with the same epochs")
        planned = zip(curricula, divide(epochs, shares), strict=True)
        curricula = tuple(replace(curriculum, epochs=part) for curriculum, part in planned)
    parts = tuple(p for c in curricula for p in (c.parts if isinstance(c, FollowOn) else (c,)))
    return FollowOn(epochs=sum(part.epochs for part in parts), seed=parts[0].seed, parts=parts)


def divide(epochs: int, shares: tuple[float, ...]) -> list[int]:
    """Whole epochs for each share, each boundary at the nearest epoch.

    Raises:
        CurriculumError: shares that do not add up to 1, or one that comes to no epoch.
    """
    if any(not 0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise CurriculumError(f"Shares must each lie between 0 and 1 and add up to 1; got {_listed(shares)}")
    ends = [round(epochs * end) for end in accumulate(shares)]
    parts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if min(parts) < 1:
        raise CurriculumError(f"{epochs} epochs are too few for shares of {_listed(shares)}: each needs one or more")
    return parts


def _listed(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{share:g}" for share in shares)


# Overlaying two stages ------------------------------------------------------------------------------------------------


def _overlaid(whole: str, first: Stage, second: Stage) -> Stage:
    smaller = _smaller(whole, first, second)
    for stage in (first, second):
        if stage.levels is not None and stage is not smaller and stage.image_size != smaller.image_size:
            raise CurriculumError(
                f"{whole}: stage '{stage.name}' needs the resolution that goes with its {stage.levels} processing "
                "levels, and the other curriculum lowers it. Leave the resolution to one of them; one can follow on "
                "the other ('>')."
            )
    shrinking, others = _views(whole, first, second, smaller)
    return Stage(
        name=_joined(first.name, second.name),
        view=compose(*shrinking, *others),
        image_size=smaller.image_size,
        size_multiple=smaller.size_multiple,
        scale_batch=first.scale_batch or second.scale_batch,
        frozen=tuple(dict.fromkeys(first.frozen + second.frozen)),
        fresh_optimizer=first.fresh_optimizer or second.fresh_optimizer,
        levels=_either(min, first.levels, second.levels),
        level_weights=_weights(whole, first, second),
        augment_strength=_either(max, first.augment_strength, second.augment_strength),
        lr_scales=_lr_scales(whole, first, second),
    )


def _smaller(whole: str, first: Stage, second: Stage) -> Stage:
    """The stage of the lower resolution; the first where both are equal."""
    a, b = first.image_size, second.image_size
    if a is None or b is None:
        return second if a is None else first
    if isinstance(a, int) is not isinstance(b, int):
        raise CurriculumError(
            f"{whole}: one resolution is in pixels and the other a share of the full side ({a} and {b}), and which is "
            "smaller depends on the images. State both as pixels (an integer) or both as shares."
        )
    return first if a <= b else second


def _views(whole: str, first: Stage, second: Stage, smaller: Stage) -> tuple[list[View], list[View]]:
    """What shrinks the images to the lower resolution, and all else in order."""
    shrinking: list[View] = []
    others: list[View] = []
    for stage in (first, second):
        views = stage.view.views if isinstance(stage.view, Chain) else (stage.view,)
        resizing: list[View] = [view for view in views if isinstance(view, Resize | LowFrequencyCrop)]
        if stage is smaller:
            shrinking = resizing
        elif stage.image_size is not None and not resizing:
            raise CurriculumError(
                f"{whole}: the view of stage '{stage.name}' lowers the resolution in a way of its own, and the other "
                "curriculum goes lower still. Make its view from views.Resize, which can be left out."
            )
        others += [view for view in views if view not in resizing]
    return shrinking, others


def _joined(first: str, second: str) -> str:
    names = dict.fromkeys(name for joined in (first, second) for name in joined.split(" + "))
    return " + ".join(name for name in names if name != "full") or "full"


def _either(choose: Any, first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return choose(first, second)


def _weights(whole: str, first: Stage, second: Stage) -> tuple[float, ...]:
    if first.level_weights and second.level_weights and first.level_weights != second.level_weights:
        raise CurriculumError(
            f"{whole}: both weigh the losses of the processing levels, in different ways "
            f"({first.level_weights} and {second.level_weights}). Leave one of them out."
        )
    return first.level_weights or second.level_weights


def _lr_scales(whole: str, first: Stage, second: Stage) -> tuple[tuple[str, float], ...]:
    if first.lr_scales and second.lr_scales and first.lr_scales != second.lr_scales:
        raise CurriculumError(
            f"{whole}: both change the learning rates of parts, in different ways ({first.lr_scales} and "
            f"{second.lr_scales}). Leave one of them out."
        )
    return first.lr_scales or second.lr_scales
