"""Two stages at once: of the resolutions the smaller holds, what either freezes is frozen, and so on.

The images are brought to the smaller resolution first and then pass the other views, the first stage's before the
second's; what either freezes is frozen; the optimiser is created again when either asks for it; of the augmentation
strengths the stronger holds, of the processing levels the fewer; of the images those are seen that both choose.
"""

from __future__ import annotations

from typing import Any

from ..errors import CurriculumError
from ..views import Chain, LowFrequencyCrop, RandomCrop, Resize, View, compose
from .samples.rule import Both
from .stage import Stage

__all__ = ["overlaid"]


def overlaid(whole: str, first: Stage, second: Stage) -> Stage:
    """Return the stage that is both.

    Args:
        whole: name of the curriculum that has both, for messages.
        first: the stage whose views come first.
        second: the other stage.

    Raises:
        CurriculumError: the two cannot be combined; the text says why.
    """
    sized = [stage for stage in (first, second) if stage.batch_sizes is not None]
    if len(sized) == 2 or (sized and (first.image_size is not None or second.image_size is not None)):
        raise CurriculumError(
            f"{whole}: one curriculum gives each batch a size, and the other gives sizes too. Leave the resolution to "
            "one of them; one can follow on the other ('>')."
        )
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
        crops=smaller.crops,
        size_multiple=smaller.size_multiple,
        scale_batch=first.scale_batch or second.scale_batch,
        frozen=tuple(dict.fromkeys(first.frozen + second.frozen)),
        fresh_optimizer=first.fresh_optimizer or second.fresh_optimizer,
        levels=_either(min, first.levels, second.levels),
        level_weights=_weights(whole, first, second),
        augment_strength=_either(max, first.augment_strength, second.augment_strength),
        lr_scales=_lr_scales(whole, first, second),
        samples=_either(lambda one, two: Both(first=one, second=two), first.samples, second.samples),
        batch_sizes=first.batch_sizes or second.batch_sizes,
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
        resizing: list[View] = [view for view in views if isinstance(view, Resize | LowFrequencyCrop | RandomCrop)]
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
