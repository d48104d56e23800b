"""Costs of a target and values at a cost, against loops and straight lines."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.comparison.budget import interpolate_at_cost, time_to_target
from curriculum_zoo.errors import ComparisonError

FRONT = [(30.0, 0.90), (10.0, 0.80), (20.0, 0.88)]
shares = st.integers(0, 20).map(lambda twentieths: twentieths / 20)


def test_the_first_time_counts_only_if_it_is_kept():
    curve = [(1, 0.5), (2, 0.91), (3, 0.89), (4, 0.9), (5, 0.95)]
    assert time_to_target(curve, 0.9) == 4
    assert time_to_target(curve, 0.5) == 1
    assert time_to_target(curve, 0.96) is None
    assert time_to_target([*curve, (6, 0.89)], 0.9) is None
    assert time_to_target([(1, 2.0), (2, 0.4), (3, 0.3)], 0.4, higher_is_better=False) == 2


@given(values=st.lists(shares, min_size=1, max_size=12), target=shares)
def test_the_cost_of_a_target_equals_that_of_a_plain_search(values, target):
    curve = [(10.0 * epoch, value) for epoch, value in enumerate(values, start=1)]
    kept = [10.0 * (start + 1) for start in range(len(values)) if all(value >= target for value in values[start:])]
    assert time_to_target(curve, target) == (kept[0] if kept else None)
    losses = [(cost, -value) for cost, value in curve]
    assert time_to_target(losses, -target, higher_is_better=False) == time_to_target(curve, target)


def test_values_between_two_lengths_lie_on_the_line():
    assert interpolate_at_cost(FRONT, 15) == pytest.approx(0.84)
    assert interpolate_at_cost(FRONT, 27.5) == pytest.approx(0.895)
    assert [interpolate_at_cost(FRONT, cost) for cost in (10, 20, 30)] == [0.80, 0.88, 0.90]
    assert interpolate_at_cost([(5, 0.7)], 5) == 0.7


@pytest.mark.parametrize("cost", [9.99, 30.01, 0, -5, math.inf, math.nan])
def test_nothing_is_said_beyond_the_lengths_that_were_run(cost):
    with pytest.raises(ComparisonError, match=r"lies outside the front, which goes from 10 to 30"):
        interpolate_at_cost(FRONT, cost)


def test_a_cost_that_rounding_moves_past_the_end_is_that_end():
    assert interpolate_at_cost(FRONT, np.nextafter(30.0, 31)) == 0.90
    assert interpolate_at_cost(FRONT, np.nextafter(10.0, 9)) == 0.80


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_to_target([], 0.9), "The curve has no points"),
        (lambda: time_to_target([(1, math.nan)], 0.9), "The curve has the value nan at the cost 1"),
        (lambda: time_to_target([(2, 0.5), (1, 0.6)], 0.9), "falls from one epoch to the next"),
        (lambda: time_to_target([(1, 0.5)], math.nan), "target=nan"),
        (lambda: interpolate_at_cost([], 1), "The front has no points"),
        (lambda: interpolate_at_cost([(math.inf, 0.5)], 1), "at the cost inf"),
        (lambda: interpolate_at_cost([(1, 0.5), (1, 0.6)], 1), "same cost"),
    ],
)
def test_curves_without_meaning_are_one_clear_error(call, message):
    with pytest.raises(ComparisonError, match=message):
        call()
