"""The line of ``metrics.jsonl`` that an epoch leaves: what was seen, how well it went, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..curricula import Stage
from ..evaluation.metrics import Scores
from .epoch_totals import EpochTotals
from .peak_memory import peak_memory
from .run_parts import RunParts

__all__ = ["metrics_line"]


def metrics_line(
    parts: RunParts,
    epoch: int,
    stage: Stage,
    image_stages: Sequence[tuple[Stage, int]],
    totals: EpochTotals,
    validation: Scores | None,
    before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return an epoch's figures; FLOPs and seconds are those of the run up to its end.

    Args:
        parts: the run's.
        epoch: number of the epoch.
        stage: its stage.
        image_stages: the stages that its batches had, each with its number of images; see `samples.image_stages`.
        totals: of all processes.
        validation: the figures on held-out images; None where there are none.
        before: the lines of the epochs before.
    """
    spent: Mapping[str, Any] = before[-1] if before else {"flops": 0, "full_flops": 0, "seconds": 0.0}
    images, seconds = totals.images, totals.seconds / parts.accelerator.num_processes
    means = totals.means()
    return {
        "epoch": epoch,
        "stage": stage.name,
        "image_size": stage.pixels(parts.image_size),
        "train_loss": means.pop("loss"),
        "train_accuracy": totals.right / max(1, totals.rows),
        "validation_loss": validation.loss if validation else None,
        "validation_accuracy": validation.top1 if validation else None,
        "images_per_second": images / seconds,
        "flops": spent["flops"] + _flops(parts, image_stages, images, means) + _look_flops(parts, stage),
        "full_flops": spent["full_flops"] + _images_of_all(parts, stage, images) * parts.cost.full(),
        "seconds": spent["seconds"] + seconds,
        "peak_memory_bytes": peak_memory(parts.device),
        # A GPU computes while the host goes on, so there this share cannot be read off the host's clock.
        "overhead": 1 - totals.compute_seconds / totals.seconds if parts.device.type == "cpu" else None,
        **({} if stage.samples is None else {"images": images}),
        **means,
    }


def _flops(parts: RunParts, image_stages: Sequence[tuple[Stage, int]], images: int, means: Mapping[str, float]) -> int:
    """FLOPs of an epoch's training images, by the stages that their batches had."""
    total = sum(count for _, count in image_stages)
    return sum(round(images * count / total) * parts.cost.of(stage, means) for stage, count in image_stages)


def _look_flops(parts: RunParts, stage: Stage) -> int:
    """FLOPs of the forward passes that were made to choose an epoch's images."""
    if stage.samples is None or not stage.samples.looks:
        return 0
    return len(parts.train_indices) * parts.cost.of_look(stage)


def _images_of_all(parts: RunParts, stage: Stage, images: int) -> int:
    """Images that an epoch would see if none were left out by choice."""
    return images if stage.samples is None else sum(parts.loaders.training(stage).sizes)
