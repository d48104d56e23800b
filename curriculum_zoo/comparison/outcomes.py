"""What became of each cell, read from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..documents import read_json
from ..errors import ComparisonError
from ..runs.record import RunRecord
from ..weights.folder import Which
from .cell import FAILURE
from .conditions import read_evaluations
from .folder import PlannedCell

__all__ = ["FinishedCell", "Outcome", "Status", "failure_of", "read_outcome"]

Status = Literal["finished", "failed", "interrupted", "missing"]


@dataclass(frozen=True)
class FinishedCell:
    """The figures of a cell that is finished.

    Attributes:
        seed: its training seed.
        record: what its run recorded.
        evaluations: scores by name of condition.
    """

    seed: int
    record: RunRecord = field(repr=False)
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def accuracy(self, which: Which) -> float:
        """Top-1 accuracy on the test images, 0 to 1, of the ``last`` or the ``best`` epoch's weights."""
        return self.record.finished_results().top1(which)

    def accuracy_under(self, condition: str) -> float:
        """Top-1 accuracy on the test images under a condition, 0 to 1."""
        return float(self.evaluations[condition]["top1"])

    @property
    def metrics(self) -> tuple[Mapping[str, Any], ...]:
        """A dictionary an epoch, as in ``metrics.jsonl``."""
        return self.record.metrics

    @property
    def best_epoch(self) -> int:
        """The best epoch on validation images, counted from 1."""
        return self.record.finished_results().best_epoch + 1

    @property
    def flops(self) -> float:
        """Forward and backward FLOPs of the whole training."""
        return self.record.finished_results().flops

    @property
    def seconds(self) -> float:
        """Time spent training, validation left out."""
        return self.record.finished_results().seconds

    @property
    def peak_memory(self) -> float:
        """Most memory in use, in bytes; on a CPU that of the whole process, other cells in it included."""
        return float(max(line["peak_memory_bytes"] for line in self.metrics))


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: which one.
        status: ``finished``; ``failed``, with an error; ``interrupted``, with a checkpoint; ``missing``, not begun.
        error: why it failed, or its evaluation did.
        finished: its figures, where it is finished.
    """

    cell: PlannedCell
    status: Status
    error: str = ""
    finished: FinishedCell | None = None


def read_outcome(folder: Path, cell: PlannedCell, which: str = "last") -> Outcome:
    """Read what became of a cell.

    Args:
        folder: the comparison's.
        cell: which one.
        which: whose weights' evaluations are wanted.

    Raises:
        CheckpointError: a file of its run is damaged.
    """
    run = folder / cell.folder
    begun = (run / "recipe.json").is_file()
    record = RunRecord.read(run) if begun else None
    error = failure_of(run)
    if record is not None and record.finished:
        lines = [line for line in read_evaluations(run) if line["which"] == which]
        evaluations = {line["condition"]["name"]: line["scores"] for line in lines}
        return Outcome(cell, "finished", error, FinishedCell(cell.seed, record, evaluations))
    if error:
        return Outcome(cell, "failed", error)
    return Outcome(cell, "interrupted" if begun else "missing")


def failure_of(run: Path) -> str:
    """Return the error of a run's failure, in one line; empty where there was none.

    Raises:
        ComparisonError: its record is damaged.
    """
    path = run / FAILURE
    if not path.is_file():
        return ""
    try:
        failure = read_json(path)
        return " ".join(f"{failure['error']}: {failure['message']}".split())
    except (ValueError, TypeError, KeyError) as error:
        raise ComparisonError(f"{path} is damaged ({error}). Delete it, and run the comparison again.") from error
