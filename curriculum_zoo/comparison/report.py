"""What a comparison's folder shows, whatever ran it: each arm in short, and what one may conclude of it."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ComparisonError
from .budget import time_to_target
from .findings import Comparison, Summary
from .folder import ComparisonFolder, PlannedArm, Statement
from .outcomes import FinishedCell, Outcome, read_outcome
from .statistics import compare_arms, summarize

__all__ = ["Against", "ArmReport", "Report", "TargetCost", "read_report"]


Runs = tuple[FinishedCell, ...]


@dataclass(frozen=True)
class Against:
    """An arm beside another one.

    Attributes:
        label: the other one.
        finding: what one may conclude of their difference.
        flops_ratio: the arm's training FLOPs as a multiple of the other one's, means over the seeds of the report.
    """

    label: str
    finding: Comparison
    flops_ratio: float


@dataclass(frozen=True)
class TargetCost:
    """What it cost until validation accuracy reached a target and kept it.

    Attributes:
        seeds: how many runs there are.
        reached: how many of them reached it.
        flops: mean training FLOPs until then, over those; None where none did.
        seconds: mean training time until then, over those.
    """

    seeds: int
    reached: int
    flops: float | None
    seconds: float | None


@dataclass(frozen=True)
class ArmReport:
    """One arm in short, over its finished runs of the seeds that the report is about.

    Attributes:
        label: what to call it.
        kind: ``stated``, ``ablation`` or ``matched``.
        baseline: label of the arm that it is measured against; None where it is that itself.
        runs: those runs, by rising seed; at least one.
        accuracy: test accuracy, of the weights that verdicts are about.
        last: test accuracy of the last epoch's weights.
        best: test accuracy of the best epoch's.
        relative_flops: its training FLOPs as a multiple of its baseline's.
        to_baseline: its difference to the baseline; None of a baseline itself, and of its shorter trainings.
        at_equal_flops: its difference to the baseline trained for its FLOPs; None where there is none.
        target: what the target cost; None where none was stated.
        conditions: accuracy under each condition.
        under_conditions: its difference to the baseline under each.
    """

    label: str
    kind: str
    baseline: str | None
    runs: tuple[FinishedCell, ...] = field(repr=False)
    accuracy: Summary
    last: Summary
    best: Summary
    relative_flops: float
    to_baseline: Against | None = None
    at_equal_flops: Against | None = None
    target: TargetCost | None = None
    conditions: Mapping[str, Summary] = field(default_factory=dict)
    under_conditions: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def epochs(self) -> float:
        """Mean length of its trainings."""
        return statistics.fmean(run.record.recipe.epochs for run in self.runs)

    @property
    def best_epoch(self) -> float:
        """Mean number of the best epoch on validation images, counted from 1."""
        return statistics.fmean(run.best_epoch for run in self.runs)

    @property
    def flops(self) -> float:
        """Mean training FLOPs, forward and backward."""
        return _mean_flops(self.runs)

    @property
    def seconds(self) -> float:
        """Mean time spent training."""
        return statistics.fmean(run.seconds for run in self.runs)

    @property
    def peak_memory(self) -> float:
        """Mean of the most memory in use, in bytes."""
        return statistics.fmean(run.peak_memory for run in self.runs)


@dataclass(frozen=True)
class Report:
    """What a comparison's folder shows.

    Attributes:
        statement: what was stated, and when.
        arms: those with a finished run, in order of the grid; a matched baseline after the arms.
        cells: what became of every cell, by label of its arm.
    """

    statement: Statement
    arms: tuple[ArmReport, ...]
    cells: Mapping[str, tuple[Outcome, ...]] = field(repr=False)

    @property
    def unfinished(self) -> list[tuple[str, Outcome]]:
        """Label and outcome of each cell that is not finished, or whose evaluation failed."""
        return [
            (arm, cell)
            for arm, cells in self.cells.items()
            for cell in cells
            if cell.status != "finished" or cell.error
        ]

    def arm(self, label: str) -> ArmReport:
        """The arm of that label.

        Raises:
            ComparisonError: it has no finished run, or there is none.
        """
        for arm in self.arms:
            if arm.label == label:
                return arm
        raise ComparisonError(
            f"No arm '{label}' has a finished run. There are: {', '.join(a.label for a in self.arms)}."
        )


def read_report(folder: str | Path) -> Report:
    """What a comparison's folder shows, from its files alone.

    Of a comparison that is not finished, those seeds are reported that all arms with a finished run have done; a cell
    that failed holds up no seed.

    Raises:
        ComparisonError: no comparison was begun in it.
    """
    statement = ComparisonFolder(Path(folder)).read()
    if statement is None:
        raise ComparisonError(f"{folder} holds no comparison: there is no comparison.json in it.")
    cells = {
        arm.label: tuple(read_outcome(Path(folder), cell, statement.grid.figure) for cell in arm.cells)
        for arm in statement.arms
    }
    arms: list[ArmReport] = []
    for baseline in [arm for arm in statement.arms if arm.baseline is None]:
        block = [arm for arm in statement.arms if baseline.label in (arm.label, arm.baseline)]
        arms += _Block(statement, block, cells).reports()
    order = {arm.label: place for place, arm in enumerate(statement.arms)}
    return Report(statement, tuple(sorted(arms, key=lambda arm: order[arm.label])), cells)


@dataclass(frozen=True)
class _Block:
    """A baseline with all arms that are measured against it."""

    statement: Statement
    arms: list[PlannedArm]
    cells: Mapping[str, tuple[Outcome, ...]]

    def reports(self) -> list[ArmReport]:
        used = self._used()
        return [self._report(arm, used) for arm in self.arms if used.get(arm.label)]

    def _used(self) -> dict[str, Runs]:
        """Finished runs by arm, of the seeds that no arm has still to do."""
        begun = [arm.label for arm in self.arms if any(cell.status == "finished" for cell in self.cells[arm.label])]
        open_seeds = {
            cell.cell.seed for label in begun for cell in self.cells[label] if cell.status in ("interrupted", "missing")
        }
        return {
            label: tuple(
                cell.finished for cell in self.cells[label] if cell.finished and cell.finished.seed not in open_seeds
            )
            for label in begun
        }

    def _report(self, arm: PlannedArm, used: Mapping[str, Runs]) -> ArmReport:
        grid, runs = self.statement.grid, used[arm.label]
        baseline = used.get(arm.baseline or arm.label, ())
        matched = used.get(arm.matched or "", ())
        rivals = [other for other in self.arms if other.baseline is not None and other.kind != "matched"]
        compared = arm in rivals
        names = [condition.name for condition in grid.evaluate]
        return ArmReport(
            label=arm.label,
            kind=arm.kind,
            baseline=arm.baseline,
            runs=runs,
            accuracy=self._summary(runs, operator.methodcaller("accuracy", grid.figure)),
            last=self._summary(runs, operator.methodcaller("accuracy", "last")),
            best=self._summary(runs, operator.methodcaller("accuracy", "best")),
            relative_flops=_mean_flops(runs) / _mean_flops(baseline or runs),
            to_baseline=self._against(arm.baseline, runs, baseline, len(rivals)) if compared else None,
            at_equal_flops=self._against(
                arm.matched, runs, matched, sum(other.matched is not None for other in rivals)
            ),
            target=_target_cost(runs, grid.target) if grid.target is not None else None,
            conditions={
                name: self._summary(evaluated, operator.methodcaller("accuracy_under", name))
                for name in names
                if (evaluated := _evaluated(runs, name))
            },
            under_conditions={
                name: self._finding(runs, baseline, len(rivals) * len(names), name)
                for name in names
                if compared and _evaluated(runs, name) and _evaluated(baseline, name)
            },
        )

    def _against(self, label: str | None, runs: Runs, others: Runs, comparisons: int) -> Against | None:
        if label is None or not others:
            return None
        return Against(label, self._finding(runs, others, comparisons), _mean_flops(runs) / _mean_flops(others))

    def _finding(self, runs: Runs, others: Runs, comparisons: int, condition: str | None = None) -> Comparison:
        grid = self.statement.grid

        def values(some: Runs) -> dict[int, float]:
            if condition is None:
                return {run.seed: run.accuracy(grid.figure) for run in some}
            return {run.seed: run.accuracy_under(condition) for run in _evaluated(some, condition)}

        return compare_arms(
            values(runs),
            values(others),
            margin=grid.margin / 100,
            confidence=grid.confidence,
            comparisons=comparisons,
        )

    def _summary(self, runs: Runs, value: Callable[[FinishedCell], float]) -> Summary:
        return summarize(map(value, runs), confidence=self.statement.grid.confidence)


def _evaluated(runs: Runs, condition: str) -> Runs:
    return tuple(run for run in runs if condition in run.evaluations)


def _mean_flops(runs: Runs) -> float:
    return statistics.fmean(run.flops for run in runs)


def _target_cost(runs: Runs, target: float) -> TargetCost:
    spent: list[tuple[float, float]] = []
    for run in runs:
        values = [line["validation_accuracy"] for line in run.metrics]
        if None in values:
            continue
        flops, seconds = (
            time_to_target([(line[cost], value) for line, value in zip(run.metrics, values, strict=True)], target)
            for cost in ("flops", "seconds")
        )
        if flops is not None and seconds is not None:
            spent.append((flops, seconds))
    if not spent:
        return TargetCost(len(runs), 0, None, None)
    flops, seconds = map(statistics.fmean, zip(*spent, strict=True))
    return TargetCost(len(runs), len(spent), flops, seconds)
