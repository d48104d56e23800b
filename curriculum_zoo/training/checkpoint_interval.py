"""`CheckpointInterval`: how often a run writes a checkpoint, by time and by steps."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import TrainingError

__all__ = ["CheckpointInterval"]


@dataclass(frozen=True)
class CheckpointInterval:
    """The longest time, and the most steps, without a checkpoint.

    Attributes:
        seconds: the time; 0 for a checkpoint after every step.
        steps: the number of steps; None for any number.

    Raises:
        TrainingError: one of them is out of range.
    """

    seconds: float = 600.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise TrainingError(f"checkpoint_minutes must be 0 or more, got {self.seconds / 60:g}.")
        if self.steps is not None and self.steps < 1:
            raise TrainingError(f"checkpoint_steps must be 1 or more, got {self.steps}.")

    def reached(self, seconds: float, steps: int) -> bool:
        """Return whether it is time for a checkpoint.

        Args:
            seconds: since the last one.
            steps: since the last one.
        """
        return seconds >= self.seconds or (self.steps is not None and steps >= self.steps)

    def most_steps(self, steps: int) -> int | None:
        """Return the number of steps, at least 1, after which it must be asked again; None for any number.

        Args:
            steps: since the last checkpoint.
        """
        if self.seconds == 0:
            return 1
        return None if self.steps is None else max(1, self.steps - steps)
