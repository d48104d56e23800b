"""The demonstration: a comparison of minutes, on images that come with the package, and what it lets one conclude."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from .executors import Resources, running_on
from .findings import Comparison, Verdict
from .folder import ComparisonFolder
from .grid import Grid
from .report import Against, ArmReport, Report
from .runner import compare
from .statistics import seeds_needed

__all__ = ["FIGURE", "conclusion", "demo_grid", "run_demo"]

FIGURE = "conditions.png"
"""The report's figure that shows the demonstration's result."""

SAME_FLOPS = 0.005
"""Relative difference of FLOPs up to which they are called equal."""

_WORDS: dict[Verdict, str] = {
    "better": "better than {other}",
    "worse": "worse than {other}",
    "equivalent": "equivalent to {other} within {margin}",
    "not distinguishable": "not distinguishable from {other}",
}
"""Verdicts in the order in which they are told."""


def demo_grid() -> Grid:
    """What the demonstration compares, as ``demo.toml`` beside this file states it."""
    return Grid.load(Path(__file__).with_name("demo.toml"))


def run_demo(
    folder: str | Path, *, seeds: tuple[int, ...] | None = None, device: str | None = None, place: str = "local"
) -> Report:
    """Run the demonstration's comparison, or what is left of it.

    Args:
        folder: where it lies, or is to lie.
        seeds: of its runs, those that lie there included; None for those, and for the grid's own where none do.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        place: where its runs are, as `curriculum_zoo.comparison.executors.executor_for` has it.

    Raises:
        ComparisonError: another comparison lies there, or seeds are left out that have finished runs.
    """
    folder, grid = Path(folder), demo_grid()
    if seeds is None:
        statement = ComparisonFolder(folder).read()
        seeds = grid.seeds if statement is None else statement.grid.seeds
    with running_on(place, Resources(), folder) as executor:
        return compare(replace(grid, seeds=seeds), folder, executor=executor, device=device)


def conclusion(report: Report) -> str:
    """One sentence of what one may conclude of a comparison under conditions: its verdicts, in words.

    Each verdict is the report's, read from an interval that is corrected for all conditions of all arms. A difference
    that is not distinguishable comes with the number of seeds in which the arm was ahead.

    Args:
        report: of a comparison; with several arms the sentence has a part for each.
    """
    arms = [arm for arm in report.arms if arm.to_baseline is not None and arm.under_conditions]
    if not arms:
        return "Nothing may be concluded yet: no seed is finished and evaluated both with the baseline and another arm."
    return "; ".join(_of_arm(arm, report) for arm in arms) + "."


def _of_arm(arm: ArmReport, report: Report) -> str:
    """What one may conclude of one arm."""
    against = arm.to_baseline
    assert against is not None
    found: dict[Verdict, list[str]] = {}
    for name, finding in arm.under_conditions.items():
        found.setdefault(finding.verdict, []).append(_difference(name, finding, arm, report.arm(against.label)))
    margin = _count(report.statement.grid.margin, "point")
    parts = [
        f"{words.format(other=against.label, margin=margin)} on {_listed(found[verdict])}"
        for verdict, words in _WORDS.items()
        if verdict in found
    ]
    corrected = next(iter(arm.under_conditions.values())).comparisons
    intervals = f"{100 * report.statement.grid.confidence:g} % intervals"
    together = f" that hold for all {corrected} comparisons together" if corrected > 1 else ""
    return (
        f"At {_cost(against)} and with {_seeds(arm, report.arm(against.label))}, {arm.label} is {'; '.join(parts)}"
        f" ({intervals}{together}){_needed(arm)}{_at_equal_flops(arm)}{_missing(arm, report)}"
    )


def _difference(name: str, finding: Comparison, arm: ArmReport, baseline: ArmReport) -> str:
    """A condition with the difference, its interval, and the seeds that went up where that leaves the sign open."""
    estimate = finding.estimate
    size = f"{100 * estimate.difference:+z.1f} points"
    if estimate.corrected is None:
        spread = f"no interval: {finding.reason}"
    else:
        spread = f"{100 * estimate.corrected.low:z.1f} to {100 * estimate.corrected.high:z.1f}"
    note = ""
    if finding.verdict == "not distinguishable":
        note = f", {_directions(name, arm, baseline)}"
    elif finding.within_margin and finding.verdict != "equivalent":
        note = f", less than the margin of {100 * finding.margin:g}"
    return f"{name} images ({size}, {spread}{note})"


def _directions(name: str, arm: ArmReport, baseline: ArmReport) -> str:
    """In how many of the shared seeds an arm was ahead of its baseline."""
    ours, theirs = (
        {run.seed: run.accuracy_under(name) for run in one.runs if name in run.evaluations} for one in (arm, baseline)
    )
    shared = ours.keys() & theirs.keys()
    ahead = sum(ours[seed] > theirs[seed] for seed in shared)
    return f"ahead in {ahead} of {_count(len(shared), 'seed')}"


def _needed(arm: ArmReport) -> str:
    """How many seeds would tell the largest difference that these do not, if the spread is the one seen."""
    unsure = {
        name: finding
        for name, finding in arm.under_conditions.items()
        if finding.verdict == "not distinguishable" and finding.estimate.corrected and finding.estimate.difference
    }
    if not unsure:
        return ""
    name = max(unsure, key=lambda name: abs(unsure[name].estimate.difference))
    finding, estimate = unsure[name], unsure[name].estimate
    assert estimate.standard_error is not None
    assert estimate.corrected is not None
    deviations = (
        [estimate.standard_error * math.sqrt(estimate.n[0])]
        if estimate.method == "paired"
        else [finding.arm.sd or 0.0, finding.baseline.sd or 0.0]
    )
    level = 1 - (1 - estimate.corrected.confidence) / finding.comparisons
    count = seeds_needed(abs(estimate.difference), deviations, confidence=level)
    return f"; about n={count} would be needed to see a difference as large as that on {name} images"


def _seeds(arm: ArmReport, baseline: ArmReport) -> str:
    ours, theirs = len(arm.runs), len(baseline.runs)
    return _count(ours, "seed") if ours == theirs else f"{ours} and {theirs} seeds"


def _at_equal_flops(arm: ArmReport) -> str:
    """The finding against the baseline trained for the arm's FLOPs, where that is another arm."""
    against = arm.at_equal_flops
    if against is None or against.label == arm.baseline:
        return ""
    return f"; and against {against.label}, at {_cost(against)}, it is {against.finding.sentence(1)} on clean images"


def _missing(arm: ArmReport, report: Report) -> str:
    names = [condition.name for condition in report.statement.grid.evaluate]
    missing = [f"{name} images" for name in names if name not in arm.under_conditions]
    return f"; there is no figure on {_listed(missing)}" if missing else ""


def _cost(against: Against) -> str:
    ratio = against.flops_ratio
    return "equal FLOPs" if abs(ratio - 1) <= SAME_FLOPS else f"{ratio:.2f} times its FLOPs"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _count(number: float, thing: str) -> str:
    return f"{number:g} {thing}" if number == 1 else f"{number:g} {thing}s"
