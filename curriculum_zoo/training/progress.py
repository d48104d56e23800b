"""What a person sees while training runs: a bar on a terminal, a line per epoch elsewhere, nothing when asked."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..console import printable
from ..curricula import Stage
from ..evaluation.metrics import Scores
from ..recipes import Recipe

__all__ = ["Bar", "Figures", "Lines", "Reporter", "make_reporter"]

Figures = Callable[[], tuple[float, float]]

REFRESH_SECONDS = 0.5


class Reporter:
    """Follows a run and shows its progress; this one shows nothing."""

    def start(self, recipe: Recipe, folder: Path, epoch: int) -> None:
        """Show that training starts, or goes on, at an epoch."""

    def describe_data(self, sentences: Iterable[str]) -> None:
        """Show what the data set was taken for, what was passed over, and which images repeat others."""

    def start_epoch(self, epoch: int, stage: Stage, steps: int, step: int) -> None:
        """Show that an epoch of so many steps starts, or goes on, at a step."""

    def step(self, images: int, seconds: float, figures: Figures) -> None:
        """Show that a step was made.

        Args:
            images: trained on in this epoch so far.
            seconds: spent on it so far.
            figures: returns mean loss and accuracy of the epoch so far; calling it makes the host wait for the device.
        """

    def end_epoch(self, line: dict[str, Any]) -> None:
        """Show an epoch's line of metrics."""

    def finish(self, test: dict[str, Scores], relative_flops: float, seconds: float, folder: Path) -> None:
        """Show what the run came to."""

    def close(self) -> None:
        """Leave the terminal as it was; training is over, with or without an error."""


class Lines(Reporter):
    """A plain line per epoch, for logs."""

    def __init__(self) -> None:
        self._epochs = 0

    def start(self, recipe: Recipe, folder: Path, epoch: int) -> None:
        """Print what is trained, and where its results go."""
        self._epochs = recipe.epochs
        going_on = f" from epoch {epoch + 1}" if epoch else ""
        calibrated = (
            f"; BatchNorm is calibrated on {recipe.calibrate_batchnorm} batches before each figure"
            if recipe.calibrate_batchnorm
            else ""
        )
        self._print(
            f"{recipe.model} on {recipe.data}, curriculum {recipe.curriculum}, {recipe.epochs} epochs{going_on}, "
            f"seed {recipe.seed}, {recipe.precision} -> {folder}{calibrated}"
        )

    def describe_data(self, sentences: Iterable[str]) -> None:
        """Print a line each."""
        for sentence in sentences:
            self._print(f"data: {sentence}")

    def end_epoch(self, line: dict[str, Any]) -> None:
        """Print the epoch's figures."""
        self._print(self.sentence(line))

    def finish(self, test: dict[str, Scores], relative_flops: float, seconds: float, folder: Path) -> None:
        """Print the test figures and the cost."""
        figures = ", ".join(f"{which} {scores.top1:.2%}" for which, scores in test.items())
        self._print(
            f"test accuracy: {figures}; {relative_flops:.2f}x the FLOPs of full resolution; trained for "
            f"{_clock(seconds)}; everything is in {folder}"
        )

    def sentence(self, line: dict[str, Any]) -> str:
        """Return one epoch's figures as a line."""
        validation = ""
        if line["validation_loss"] is not None:
            validation = f", validation {line['validation_loss']:.3f} {line['validation_accuracy']:6.2%}"
        attended = f", attended {line['attended']:.2f} of {line['attended_target']:g}" if "attended" in line else ""
        left = (self._epochs - line["epoch"] - 1) * line["seconds"] / (line["epoch"] + 1)
        number = f"{line['epoch'] + 1:>{len(str(self._epochs))}}/{self._epochs}"
        return (
            f"epoch {number} {line['stage']} {line['image_size']} px: "
            f"train {line['train_loss']:.3f} {line['train_accuracy']:6.2%}{attended}{validation}, "
            f"{line['images_per_second']:,.0f} images/s, about {_clock(left)} left"
        )

    def _print(self, text: str) -> None:
        print(printable(text, sys.stdout), flush=True)


class Bar(Lines):
    """A bar within the epoch, and a line for each epoch done."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(),  # rich's own, shared one keeps the width that the terminal had when it was made
            transient=True,
        )
        self._task = self._bar.add_task("", total=1, figures="")
        self._epochs_left = 0
        self._steps = self._done = 0
        self._shown = 0.0

    def start(self, recipe: Recipe, folder: Path, epoch: int) -> None:
        """Show the bar."""
        super().start(recipe, folder, epoch)
        self._bar.start()

    def start_epoch(self, epoch: int, stage: Stage, steps: int, step: int) -> None:
        """Put the bar back to the epoch's first step."""
        self._epochs_left = self._epochs - epoch - 1
        self._steps, self._done = steps, step
        description = f"epoch {epoch + 1}/{self._epochs} {stage.name}"
        self._bar.reset(self._task, description=description, total=steps, completed=step, figures="")

    def step(self, images: int, seconds: float, figures: Figures) -> None:
        """Move the bar on, and now and then the figures beside it."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if self._done == self._steps or time.monotonic() - self._shown > REFRESH_SECONDS:
            loss, accuracy = figures()
            left = seconds / self._done * (self._steps - self._done + self._epochs_left * self._steps)
            shown = f"loss {loss:.3f}, {accuracy:.2%}, {images / seconds:,.0f} images/s, about {_clock(left)} left"
            self._bar.update(self._task, figures=shown)
            self._shown = time.monotonic()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def _print(self, text: str) -> None:
        self._bar.console.print(printable(text, self._bar.console.file), highlight=False, markup=False)


def make_reporter(shown: bool = True) -> Reporter:
    """Return a bar on a terminal, lines elsewhere.

    Args:
        shown: whether there is anything to show; False on all processes but the first.
    """
    if not shown:
        return Reporter()
    return Bar() if sys.stdout.isatty() else Lines()


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
