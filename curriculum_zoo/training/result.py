"""`Result`: what a finished run came to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.metrics import Scores

__all__ = ["Result", "best_epoch", "measured"]


@dataclass(frozen=True)
class Result:
    """What a finished run came to.

    Attributes:
        folder: the run's folder.
        metrics: one dictionary per epoch, as in ``metrics.jsonl``.
        test: scores on the test images, keyed by ``last`` and ``best``, of the last and of the best epoch's weights.
        best_epoch: the best epoch on validation images, counted from 0.
        flops: forward and backward FLOPs of the whole training.
        relative_flops: those as a share of a full-resolution training of equal length.
        seconds: time spent training, validation left out.
    """

    folder: Path
    metrics: list[dict[str, Any]]
    test: dict[str, Scores]
    best_epoch: int
    flops: int
    relative_flops: float
    seconds: float

    @classmethod
    def of(cls, folder: Path, metrics: list[dict[str, Any]], test: dict[str, Scores], best: int) -> Result:
        """Return the result of a run from the lines of its epochs.

        Args:
            folder: the run's.
            metrics: the lines.
            test: scores on the test images.
            best: the best epoch.
        """
        last = metrics[-1]
        relative = last["flops"] / last["full_flops"]
        return cls(folder, metrics, test, best, last["flops"], relative, last["seconds"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as ``results.json`` has it: without folder and metrics, which stand beside it."""
        facts = dataclasses.asdict(self) | {"test": {which: scores.to_dict() for which, scores in self.test.items()}}
        return {name: value for name, value in facts.items() if name not in ("folder", "metrics")}


def best_epoch(metrics: Sequence[Mapping[str, Any]], by: str) -> int:
    """Return the best epoch on validation images, the first of equals; the last one where none are held out.

    An epoch whose loss is not finite is not the best one. Where all are such, the last one stands in.

    Args:
        metrics: a line per epoch.
        by: ``accuracy`` or ``loss``.
    """
    epochs = [epoch for epoch, line in enumerate(metrics) if measured(line)]
    if not epochs:
        return len(metrics) - 1
    if by == "loss":
        return min(epochs, key=lambda epoch: metrics[epoch]["validation_loss"])
    return max(epochs, key=lambda epoch: metrics[epoch]["validation_accuracy"])


def measured(line: Mapping[str, Any]) -> bool:
    """Return whether an epoch's line has a loss on validation images, and a finite one."""
    return line["validation_loss"] is not None and math.isfinite(line["validation_loss"])
