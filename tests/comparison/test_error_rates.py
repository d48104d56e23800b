"""Simulated experiments: verdicts are wrong as often as their intervals say, and right as often as n_needed says.

Each test draws 2,000 experiments of a fixed generator. Rates are judged by an exact binomial test at 0.1 %: of 2,000,
3.5 % to 6.6 % pass for 5 %.
"""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from curriculum_zoo.comparison.statistics import compare_arms, compare_with_baseline

GRIDS = 2000
SD = 0.003
DOUBT = 0.001


def accuracies(arms, seeds, *, correlation=0.0, gain=0.0, images=None, rng=0):
    """Accuracies of (grid, arm, seed); the last arm is the baseline, and the others gain over it.

    Runs of one seed correlate; a negative correlation is that of one arm with the baseline.
    """
    generator = np.random.default_rng(rng)
    shared, own = generator.standard_normal((GRIDS, 1, seeds)), generator.standard_normal((GRIDS, arms + 1, seeds))
    shared = shared * np.where(np.arange(arms + 1) == arms, 1, np.sign(correlation) or 1)[:, None]
    values = 0.9 + SD * (math.sqrt(abs(correlation)) * shared + math.sqrt(1 - abs(correlation)) * own)
    values[:, :-1] += gain
    return values if images is None else np.round(values * images) / images


def compared(values, **settings):
    """What is found of the first arm of each grid."""
    settings = {"margin": SD, "resamples": 0} | settings
    return [compare_arms(*(dict(enumerate(row)) for row in grid[[0, -1]].tolist()), **settings) for grid in values]


def is_rate(count, expected):
    return binomtest(count, GRIDS, expected).pvalue > DOUBT


def is_at_most(count, most):
    return binomtest(count, GRIDS, most, alternative="greater").pvalue > DOUBT


def is_above(count, least):
    return binomtest(count, GRIDS, least, alternative="greater").pvalue < DOUBT


@pytest.fixture(scope="module", params=[(3, 0.6), (5, 0.0)], ids=["3 seeds, r=0.6", "5 seeds, r=0"])
def null_grids(request):
    """What is found in grids of three arms that do nothing, by grid and arm."""
    seeds, correlation = request.param
    found = []
    for grid in accuracies(3, seeds, correlation=correlation, rng=1):
        *arms, baseline = (dict(enumerate(row)) for row in grid.tolist())
        arms = dict(zip("abc", arms, strict=True))
        found.append(list(compare_with_baseline(arms, baseline, margin=SD, resamples=0).values()))
    return found


def test_one_arm_that_does_nothing_errs_as_often_as_its_interval_says(null_grids):
    assert is_rate(sum(arm.estimate.p < 0.05 for arm, *_ in null_grids), 0.05)
    assert is_rate(sum(arm.estimate.interval.low > 0 for arm, *_ in null_grids), 0.025)
    assert is_rate(sum(arm.estimate.interval.high < 0 for arm, *_ in null_grids), 0.025)


def test_of_several_arms_that_do_nothing_any_is_called_better_or_worse_as_rarely_as_the_interval_says(null_grids):
    errs = sum(any(arm.verdict in ("better", "worse") for arm in arms) for arms in null_grids)
    assert is_at_most(errs, 0.05)
    assert is_above(errs, 0.03)  # the correction is no heavier than need be
    assert is_above(sum(any(arm.estimate.p < 0.05 for arm in arms) for arms in null_grids), 0.08)  # and it is needed


def test_pairs_err_rightly_where_welchs_interval_or_the_shorter_of_the_two_would_not():
    found = compared(accuracies(1, 5, correlation=-0.5, rng=2))
    assert np.mean([comparison.correlation for comparison in found]) == pytest.approx(-0.45, abs=0.05)
    assert is_rate(sum(comparison.verdict in ("better", "worse") for comparison in found), 0.05)
    assert is_above(sum(comparison.other.p < 0.05 for comparison in found), 0.065)
    both = [(comparison.estimate.interval, comparison.other.interval) for comparison in found]
    shorter = [min(intervals, key=lambda interval: interval.high - interval.low) for intervals in both]
    assert is_above(sum(not interval.low <= 0 <= interval.high for interval in shorter), 0.065)


@pytest.mark.parametrize(("arm", "baseline", "wider"), [(5, 5, 1), (4, 8, 3)])
def test_welchs_interval_keeps_its_word_for_arms_without_shared_seeds(arm, baseline, wider):
    generator = np.random.default_rng(3)
    errs = 0
    for _ in range(GRIDS):
        ours = dict(enumerate((0.9 + wider * SD * generator.standard_normal(arm)).tolist()))
        theirs = dict(enumerate((0.9 + SD * generator.standard_normal(baseline)).tolist(), start=100))
        found = compare_arms(ours, theirs, margin=SD, resamples=0)
        errs += found.verdict in ("better", "worse")
        assert found.estimate.method == "welch"
    assert is_rate(errs, 0.05)


def test_ties_of_few_test_images_are_not_taken_for_certainty():
    found = compared(accuracies(1, 2, images=1000, rng=4))
    tied = sum(comparison.reason is not None for comparison in found)
    assert is_at_most(sum(comparison.verdict in ("better", "worse") for comparison in found), 0.05)
    assert is_above(tied, 0.05)  # what a standard deviation of 0 would have made a finding


@pytest.mark.parametrize(("method", "correlation"), [("paired", 0.0), ("paired", 0.7), ("welch", 0.0)])
def test_the_seeds_needed_see_the_margin_in_four_of_five_experiments(method, correlation):
    # Two values x above and below a mean have the standard deviation x * sqrt(2).
    half = SD * math.sqrt(1 - correlation) if method == "paired" else SD / math.sqrt(2)
    pilot, baseline = {0: 0.9 + half, 1: 0.9 - half}, {0: 0.9, 1: 0.9}
    if method == "welch":
        baseline = pilot
    n = compare_arms(pilot, baseline, margin=SD, method=method).n_needed
    assert n > 5
    values = accuracies(1, n, correlation=correlation, gain=SD, rng=5)
    found = compared(values, method=method)
    assert 0.775 < np.mean([comparison.verdict == "better" for comparison in found]) < 0.86
    assert compare_arms(pilot, baseline, margin=SD, method=method, comparisons=3).n_needed > n


def test_an_arm_as_good_as_the_margin_is_called_equivalent_as_rarely_as_the_level_says():
    """Two one-sided tests at 2.5 %; 20 seeds, so that the interval is shorter than the two margins together."""
    found = compared(accuracies(1, 20, gain=SD, rng=6))
    assert is_rate(sum(comparison.verdict == "equivalent" for comparison in found), 0.025)
    assert is_rate(sum(comparison.within_margin for comparison in found), 0.025)


def test_an_arm_that_does_nothing_is_called_equivalent_when_there_are_seeds_enough():
    found = compared(accuracies(1, 40, rng=8)[:200])
    assert np.mean([comparison.verdict == "equivalent" for comparison in found]) > 0.9
