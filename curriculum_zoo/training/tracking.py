"""A run's figures in TensorBoard, Weights & Biases, trackio or whatever else Accelerate has a tracker for.

The run's own ``metrics.jsonl`` is written in any case. Trackers get the same figures, stage, resolution and cost
included, keyed by the epoch counted from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..curricula import Stage
from ..errors import TrainingError
from ..evaluation.metrics import Scores
from ..recipes import Recipe
from ..registry import closest
from .progress import Figures, Reporter

__all__ = ["Tracking", "check_trackers"]

PROJECT = "curriculum-zoo"


class Tracking(Reporter):
    """Hands a run's figures to trackers, beside what another reporter shows.

    Args:
        shown: the other one.
        accelerator: Accelerate's.
        trackers: names of trackers that Accelerate knows, or trackers (``accelerate.tracking.GeneralTracker``).
    """

    def __init__(self, shown: Reporter, accelerator: Any, trackers: Sequence[Any]) -> None:
        self._shown, self._accelerator, self._trackers = shown, accelerator, list(trackers)

    def start(self, recipe: Recipe, folder: Path, epoch: int) -> None:
        """Start the trackers with the recipe as configuration; those that write files write into the run's folder."""
        from accelerate.tracking import filter_trackers

        self._shown.start(recipe, folder, epoch)
        accelerator, named = self._accelerator, {"name": folder.name}
        accelerator.project_configuration.logging_dir = str(folder)
        accelerator.log_with = filter_trackers(self._trackers, str(folder))
        options = {"wandb": {**named, "dir": str(folder)}, "trackio": named, "swanlab": named}
        accelerator.init_trackers(PROJECT, config=dict(_flat(recipe.to_dict())), init_kwargs=options)

    def describe_data(self, sentences: Iterable[str]) -> None:
        """Show what was taken for what in the data."""
        self._shown.describe_data(sentences)

    def start_epoch(self, epoch: int, stage: Stage, steps: int, step: int) -> None:
        """Show that an epoch starts."""
        self._shown.start_epoch(epoch, stage, steps, step)

    def step(self, images: int, seconds: float, figures: Figures) -> None:
        """Show that a step was made; trackers get no figure within an epoch, as that would make the host wait."""
        self._shown.step(images, seconds, figures)

    def end_epoch(self, line: dict[str, Any]) -> None:
        """Hand in an epoch's line of metrics, and its relative cost so far."""
        self._shown.end_epoch(line)
        figures = {name: value for name, value in line.items() if value is not None and name != "epoch"}
        figures["relative_flops"] = line["flops"] / line["full_flops"]
        self._accelerator.log(figures, step=line["epoch"] + 1)

    def finish(self, test: dict[str, Scores], relative_flops: float, seconds: float, folder: Path) -> None:
        """Hand in what the run came to."""
        self._shown.finish(test, relative_flops, seconds, folder)
        self._accelerator.log({f"test_accuracy_{which}": scores.top1 for which, scores in test.items()})

    def close(self) -> None:
        """End the trackers, and the other reporter."""
        # Accelerate's own end_training would also end the group of processes.
        for tracker in self._accelerator.trackers:
            tracker.finish()
        self._accelerator.trackers = []
        self._shown.close()


def check_trackers(trackers: Sequence[Any]) -> None:
    """Check that trackers are to be had.

    Args:
        trackers: names, or trackers.

    Raises:
        TrainingError: Accelerate knows no such tracker, or its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers

    for tracker in trackers:
        if not isinstance(tracker, str):
            continue
        if tracker not in LOGGER_TYPE_TO_CLASS:
            raise TrainingError(f"No tracker named '{tracker}'. {closest(tracker, LOGGER_TYPE_TO_CLASS)}")
        if not filter_trackers([tracker], "."):
            raise TrainingError(
                f"'{tracker}' cannot track a run: its package is missing. Install it: pip install {tracker}"
            )


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, bool | int | float | str]]:
    """Values by dotted names, of the types that trackers take."""
    flat: list[tuple[str, bool | int | float | str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat += _flat(value, f"{path}{name}.")
        else:
            flat.append((path + name, value if isinstance(value, (bool, int, float, str)) else json.dumps(value)))
    return flat
