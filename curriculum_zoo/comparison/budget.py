"""What an accuracy costs, and which accuracy a budget buys: on curves of one run, and on a front of several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from ..errors import ComparisonError

__all__ = ["interpolate_at_cost", "time_to_target"]

SAME_COST = 1e-9
"""Relative difference up to which two costs are one, as they were added up in different orders."""


def time_to_target(
    curve: Iterable[tuple[float, float]], target: float, *, higher_is_better: bool = True
) -> float | None:
    """Cost at which a run first reaches a target and keeps it to its end; None if it never does.

    Args:
        curve: cost so far and value, an epoch each, by rising cost; the cost in FLOPs, seconds or epochs.
        target: the value to be reached; equal to it counts.
        higher_is_better: False for losses.

    Raises:
        ComparisonError: if the curve is empty, a number is not finite, or a cost falls.
    """
    if not math.isfinite(target):
        raise ComparisonError(f"target={target}: give the value to be reached as a finite number.")
    points = _finite(curve, "curve")
    if any(later < earlier for (earlier, _), (later, _) in itertools.pairwise(points)):
        raise ComparisonError("A cost of the curve falls from one epoch to the next: give costs summed from the start.")
    kept = None
    for cost, value in reversed(points):
        if not (value >= target if higher_is_better else value <= target):
            break
        kept = cost
    return kept


def interpolate_at_cost(front: Iterable[tuple[float, float]], cost: float) -> float:
    """Value that plain training reaches at a cost, on straight lines between the lengths that were run.

    Accuracy rises ever slower, so that it lies above the line between two lengths and the line flatters what is
    compared with it: run lengths near the cost in question, or that very one.

    Args:
        front: cost and mean value of each length of plain training, in any order.
        cost: where the value is wanted, in the same unit.

    Raises:
        ComparisonError: if the front is empty, a number is not finite, two lengths have one cost, or the cost lies
            outside all of them.
    """
    costs, values = zip(*sorted(_finite(front, "front")), strict=True)
    if any(math.isclose(left, right, rel_tol=SAME_COST) for left, right in itertools.pairwise(costs)):
        raise ComparisonError("Two points of the front have the same cost: give one mean value per length of training.")
    low, high = costs[0], costs[-1]
    inside = low <= cost <= high or any(math.isclose(cost, end, rel_tol=SAME_COST) for end in (low, high))
    if not inside:
        raise ComparisonError(
            f"The cost {cost:g} lies outside the front, which goes from {low:g} to {high:g}, and nothing is known "
            "there: run plain training of that cost as well."
        )
    return float(np.interp(cost, costs, values))


def _finite(points: Iterable[tuple[float, float]], what: str) -> list[tuple[float, float]]:
    """Points as floats, all of them finite, of which there is at least one."""
    checked = [(float(cost), float(value)) for cost, value in points]
    if not checked:
        raise ComparisonError(f"The {what} has no points: give a cost and a value each.")
    for cost, value in checked:
        if not (math.isfinite(cost) and math.isfinite(value)):
            raise ComparisonError(f"The {what} has the value {value} at the cost {cost}: both must be finite numbers.")
    return checked
