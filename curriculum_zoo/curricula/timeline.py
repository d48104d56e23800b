"""A curriculum's plan as a table: which epochs see what, what does not learn, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Self

from ..views import Chain, Portions, View, identity
from .stage import Stage

__all__ = ["Timeline", "TimelineRow"]


@dataclass(frozen=True)
class TimelineRow:
    """A run of epochs with equal stages.

    Attributes:
        first: its first epoch, counted from 0.
        last: its last epoch.
        name: the stage's name.
        resolution: what the network sees, in words: pixels, a share of the full side, or ``"full"``.
        frozen: what does not learn, in words; empty where everything learns.
        view: what is done to the images, in words; empty where nothing is.
        cost: FLOPs of an epoch as a share of a full-resolution one's, by pixels and images; None where that takes the
            full side and it is not known.
        notes: the rest: a fresh optimiser, processing levels, augmentation, which images, batch size.
    """

    first: int
    last: int
    name: str
    resolution: str
    frozen: str
    view: str
    cost: float | None
    notes: str


class Timeline(list[TimelineRow]):
    """The rows in order; as a string, a table for a terminal.

    Attributes:
        warnings: sentences that stand below the table.
    """

    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, stages: Iterable[Stage], image_size: int | None = None, warnings: tuple[str, ...] = ()) -> Self:
        """Return the timeline of a plan.

        Args:
            stages: the stage of each epoch, in order.
            image_size: the full side of the images in pixels, for which sizes and costs are then stated.
            warnings: what to say below the table.
        """
        stages = [stage if image_size is None else stage.at_full_size(image_size) for stage in stages]
        runs: list[list[int]] = []
        before: Stage | None = None
        for epoch, stage in enumerate(stages):
            if before is not None and stage == replace(before, fresh_optimizer=False):
                runs[-1].append(epoch)
            else:
                runs.append([epoch])
            before = stage
        timeline = cls(_row(run[0], run[-1], stages[run[0]], image_size) for run in runs)
        timeline.warnings = warnings
        return timeline

    def __str__(self) -> str:
        head = ("epochs", "stage", "resolution", "cost", "frozen", "view", "notes")
        lines = [head, *(_cells(row) for row in self)]
        kept = [column for column in zip(*lines, strict=True) if any(column[1:])]
        widths = [max(map(len, column)) for column in kept]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in zip(*kept, strict=True)
        ]
        return "\n".join((table[0], "─" * max(map(len, table)), *table[1:], *self.warnings))


def _row(first: int, last: int, stage: Stage, image_size: int | None) -> TimelineRow:
    return TimelineRow(
        first=first,
        last=last,
        name=stage.name,
        resolution=_resolution(stage, image_size),
        frozen="; ".join(map(str, stage.frozen)),
        view=describe(stage.view),
        cost=_cost(stage, image_size),
        notes=", ".join(_notes(stage, image_size)),
    )


def _cells(row: TimelineRow) -> tuple[str, ...]:
    epochs = str(row.first) if row.first == row.last else f"{row.first}–{row.last}"
    cost = "" if row.cost is None else f"{row.cost:.0%}"
    return epochs, row.name, row.resolution, cost, row.frozen, row.view, row.notes


def _resolution(stage: Stage, image_size: int | None) -> str:
    if image_size is not None:
        return f"{stage.pixels(image_size)} px"
    if stage.image_size is None:
        return "full"
    return f"{stage.image_size} px" if isinstance(stage.image_size, int) else f"{stage.image_size:.3g} of full"


def _cost(stage: Stage, image_size: int | None) -> float | None:
    if image_size is not None:
        return stage.relative_cost(image_size)
    if isinstance(stage.image_size, int) or stage.batch_sizes is not None:
        return None
    return (1.0 if stage.image_size is None else stage.image_size**2) * stage.sample_cost


def _notes(stage: Stage, image_size: int | None) -> Iterable[str]:
    if stage.fresh_optimizer:
        yield "fresh optimizer"
    if stage.levels is not None:
        yield "1 level" if stage.levels == 1 else f"{stage.levels} levels"
    if stage.augment_strength is not None:
        yield f"augmentation {stage.augment_strength:.3g}"
    if stage.batch_sizes is not None:
        yield f"batches of {stage.batch_sizes} of full"
    if stage.samples is not None:
        yield f"images: {stage.samples}"
    yield from (f"{pattern} rate ×{scale:g}" for pattern, scale in stage.lr_scales)
    if stage.scale_batch and image_size is not None:
        yield f"batch ×{stage.batch_scale(image_size):.3g}"


def describe(view: View) -> str:
    """Return a view in words; the empty string where it leaves images as they are."""
    if view is identity:
        return ""
    if isinstance(view, Chain):
        return " → ".join(map(describe, view.views))
    if isinstance(view, Portions):
        shares = zip(view.shares, view.views, strict=True)
        return " | ".join(f"{share:.0%} {describe(part) or 'as is'}" for share, part in shares)
    if not is_dataclass(view):
        return getattr(view, "__name__", repr(view))
    stated = ((field, getattr(view, field.name)) for field in fields(view) if field.compare)
    values = [f"{value:.3g}" if isinstance(value, float) else str(value) for f, value in stated if value != f.default]
    return f"{type(view).__name__}({', '.join(values)})" if values else type(view).__name__
