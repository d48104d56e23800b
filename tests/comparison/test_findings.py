"""The sentence that says what one may conclude: each row of the table of verdicts, in words."""

import pytest

from curriculum_zoo.comparison.findings import Interval
from curriculum_zoo.comparison.statistics import compare_arms

BASELINE = dict(enumerate([0.90, 0.91, 0.92, 0.91, 0.93]))
ARM = dict(enumerate([0.91, 0.93, 0.92, 0.94, 0.95]))
NEAR = dict(enumerate([0.9001, 0.9102, 0.9198, 0.9099, 0.93]))
SLIGHTLY = dict(enumerate([0.9010, 0.9112, 0.9209, 0.9108, 0.9311]))


def sentence(arm, baseline, **settings):
    return str(compare_arms(arm, baseline, **({"margin": 0.003, "resamples": 0} | settings)))


def test_better_and_worse_give_size_interval_method_seeds_and_correlation():
    basis = "(95 % interval 0.18 to 3.02, paired, n=5, r=0.69)"
    assert sentence(ARM, BASELINE) == f"better by 1.60 points {basis}"
    assert sentence(BASELINE, ARM) == f"worse by 1.60 points {basis}"
    assert sentence(BASELINE, ARM, higher_is_better=False) == f"better by 1.60 points {basis}"


def test_less_than_the_margin_is_said():
    basis = "(95 % interval 0.08 to 0.12, paired, n=5, r=1.00)"
    assert sentence(SLIGHTLY, BASELINE) == f"better by 0.10 points, less than the margin of 0.30 points {basis}"
    assert sentence(BASELINE, SLIGHTLY) == f"worse by 0.10 points, less than the margin of 0.30 points {basis}"


def test_equivalent_names_the_margin():
    expected = (
        "equivalent within 0.30 points (difference +0.00 points, 95 % interval -0.02 to 0.02, paired, n=5, r=1.00)"
    )
    assert sentence(NEAR, BASELINE) == expected
    assert "difference +0.00 points" in sentence(BASELINE, NEAR)


def test_not_distinguishable_says_how_many_seeds_would_be_needed():
    assert sentence(ARM, BASELINE, comparisons=3) == (
        "not distinguishable (difference +1.60 points, 95 % interval -0.42 to 3.62 for all 3 comparisons, paired, "
        "n=5, r=0.69); about n=155 would be needed to see 0.30 points"
    )


def test_no_interval_gives_the_reason():
    assert sentence({0: 0.92}, {0: 0.91}) == "not distinguishable: one seed (difference +1.00 points, paired, n=1)"
    assert sentence({0: 0.91}, BASELINE).startswith(
        "not distinguishable: one seed (difference -0.40 points, Welch, n=1 and"
    )


def test_other_units_are_printed_as_they_are():
    losses = [{seed: 10 * value for seed, value in values.items()} for values in (ARM, BASELINE)]
    basis = "(95 % interval 0.01843 to 0.3016, paired, n=5, r=0.69)"
    assert sentence(*losses, higher_is_better=False, unit="nats") == f"worse by 0.16 nats {basis}"
    assert sentence(*losses, unit="") == f"better by 0.16 {basis}"


def test_digits_are_the_readers_choice():
    assert compare_arms(ARM, BASELINE, margin=0.003, resamples=0).sentence(digits=1) == (
        "better by 1.6 points (95 % interval 0.2 to 3.0, paired, n=5, r=0.69)"
    )


@pytest.mark.parametrize("ends", [(-1.0, 2.0), (0.0, 0.0)])
def test_an_interval_twice_negated_is_itself(ends):
    interval = Interval(*ends, 0.95)
    assert interval.negated().negated() == interval
    assert (interval.negated().low, interval.negated().high) == (-ends[1], -ends[0])
