"""Differences, intervals and verdicts: against numbers worked by hand, against SciPy, and by what must hold always."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from curriculum_zoo.comparison.findings import Interval
from curriculum_zoo.comparison.statistics import (
    compare_arms,
    compare_with_baseline,
    judge,
    seeds_needed,
    summarize,
)
from curriculum_zoo.errors import ComparisonError, CurriculumZooError

ARM = dict(enumerate([0.91, 0.93, 0.92, 0.94, 0.95]))
BASELINE = dict(enumerate([0.90, 0.91, 0.92, 0.91, 0.93]))
T_4 = 2.776445  # Student's t, 4 degrees of freedom, 97.5 %, from a printed table

values_by_seed = st.dictionaries(
    st.integers(0, 9), st.integers(0, 10_000).map(lambda count: count / 10_000), min_size=1
)
margins = st.sampled_from([0.003, 0.05, 0.4])


def compare(arm, baseline, **settings):
    return compare_arms(arm, baseline, **({"margin": 0.003, "resamples": 0} | settings))


def p_of_four_degrees(t):
    """Two-sided p of Student's t with 4 degrees of freedom, which has a closed form (integrate its density)."""
    part = 1 + t**2 / 4
    return 1 - 0.75 * t / math.sqrt(part) * (1 - t**2 / part / 12)


def test_a_paired_comparison_is_the_one_worked_by_hand():
    # Differences, in points: 1 2 0 3 2; mean 8/5 = 1.6; squared deviations .36 + .16 + 2.56 + 1.96 + .16 = 5.2;
    # variance 5.2/4 = 1.3; standard error sqrt(1.3/5) = 0.509902; t = 1.6/0.509902 = 3.137858.
    # Half an interval: 2.776445 * 0.509902 = 1.415715. Correlation: sums of squares 10 and 5.2, of products 5.
    found = compare(ARM, BASELINE)
    assert (found.estimate.method, found.estimate.n, found.estimate.degrees_of_freedom) == ("paired", (5, 5), 4)
    assert found.estimate.difference == pytest.approx(0.016)
    assert found.estimate.standard_error == pytest.approx(0.00509902)
    assert found.estimate.interval.low == pytest.approx(0.016 - 0.01415715, abs=1e-8)
    assert found.estimate.interval.high == pytest.approx(0.016 + 0.01415715, abs=1e-8)
    assert found.estimate.p == pytest.approx(p_of_four_degrees(3.137858), abs=1e-6)
    assert found.correlation == pytest.approx(5 / math.sqrt(52))
    assert (found.verdict, found.within_margin, found.reason) == ("better", False, None)


def test_an_unpaired_comparison_is_the_one_worked_by_hand():
    # In points: 91 92 93 against 94 95 96, variances 1 and 1. Standard error sqrt(1/3 + 1/3) = 0.816497; degrees of
    # freedom (2/3)^2 / (2 * (1/3)^2 / 2) = 4; half an interval 2.776445 * 0.816497 = 2.266958; t = -3/0.816497.
    found = compare({0: 0.91, 1: 0.92, 2: 0.93}, {3: 0.94, 4: 0.95, 5: 0.96})
    assert (found.estimate.method, found.estimate.n) == ("welch", (3, 3))
    assert found.estimate.degrees_of_freedom == pytest.approx(4)
    assert found.estimate.interval.low == pytest.approx(-0.03 - 0.02266958, abs=1e-8)
    assert found.estimate.interval.high == pytest.approx(-0.03 + 0.02266958, abs=1e-8)
    assert found.estimate.p == pytest.approx(p_of_four_degrees(3 / 0.816497), abs=1e-6)
    assert (found.verdict, found.other, found.correlation) == ("worse", None, None)


def test_welchs_degrees_of_freedom_are_those_worked_by_hand():
    # Variances 4 and 1, three values each: (4/3 + 1/3)^2 / ((4/3)^2/2 + (1/3)^2/2) = (25/9) / (17/18) = 50/17.
    found = compare({0: 0.90, 1: 0.92, 2: 0.94}, {3: 0.94, 4: 0.95, 5: 0.96})
    assert found.estimate.degrees_of_freedom == pytest.approx(50 / 17)


def test_a_summary_is_the_one_worked_by_hand():
    # 91 93 92 94 95: mean 93, variance 10/4, half an interval 2.776445 * sqrt(2.5/5) = 1.963243.
    summary = summarize(ARM.values())
    assert (summary.n, summary.mean, summary.sd) == (5, pytest.approx(0.93), pytest.approx(math.sqrt(2.5) / 100))
    assert summary.interval.low == pytest.approx(0.93 - T_4 * math.sqrt(0.5) / 100, abs=1e-8)
    assert summary.interval.high == pytest.approx(0.93 + T_4 * math.sqrt(0.5) / 100, abs=1e-8)
    assert (summarize([0.5]).sd, summarize([0.5]).interval) == (None, None)
    assert (summarize([0.1] * 3).sd, summarize([0.1] * 3).interval) == (0, None)


def test_correction_for_three_comparisons_is_bonferronis():
    alone, corrected = compare(ARM, BASELINE), compare(ARM, BASELINE, comparisons=3)
    assert corrected.estimate.interval == alone.estimate.interval == alone.estimate.corrected
    assert corrected.estimate.corrected_p == pytest.approx(3 * p_of_four_degrees(3.137858), abs=1e-6)
    half = corrected.estimate.corrected.high - corrected.estimate.difference
    assert p_of_four_degrees(half / corrected.estimate.standard_error) == pytest.approx(0.05 / 3)
    assert (alone.verdict, corrected.verdict) == ("better", "not distinguishable")
    assert compare(BASELINE, {**BASELINE, 0: 0.95}, comparisons=30).estimate.corrected_p == 1
    assert compare_with_baseline({"a": ARM, "b": BASELINE, "c": ARM}, BASELINE, margin=0.003, resamples=0)["a"] == (
        corrected
    )


@given(arm=values_by_seed, baseline=values_by_seed, confidence=st.sampled_from([0.5, 0.95, 0.999]))
def test_intervals_and_p_values_equal_scipys(arm, baseline, confidence):
    assume(min(len(arm), len(baseline)) > 1 and min(len(set(arm.values())), len(set(baseline.values()))) > 1)
    found = compare(arm, baseline, confidence=confidence, method="welch")
    theirs = stats.ttest_ind(list(arm.values()), list(baseline.values()), equal_var=False)
    ends = theirs.confidence_interval(confidence)
    assert found.estimate.p == pytest.approx(theirs.pvalue, abs=1e-9)
    assert found.estimate.degrees_of_freedom == pytest.approx(theirs.df)
    assert (found.estimate.interval.low, found.estimate.interval.high) == pytest.approx(tuple(ends), abs=1e-9)
    shared = sorted(arm.keys() & baseline.keys())
    pairs = [arm[seed] for seed in shared], [baseline[seed] for seed in shared]
    if found.other is not None:
        theirs = stats.ttest_rel(*pairs)
        ends = theirs.confidence_interval(confidence)
        assert found.other.p == pytest.approx(theirs.pvalue, abs=1e-9)
        assert (found.other.interval.low, found.other.interval.high) == pytest.approx(tuple(ends), abs=1e-9)
    if found.correlation is not None:
        assert found.correlation == pytest.approx(stats.pearsonr(*pairs).statistic)


@pytest.mark.parametrize("method", ["paired", "welch"])
def test_the_bootstrap_interval_is_scipys_and_repeatable(method):
    generator = np.random.default_rng(0)  # irregular values, so that another draw gives another interval
    arm, baseline = generator.normal(0.92, 0.01, 6), generator.normal(0.9, 0.02, 6)

    def statistic(*parts, axis=-1):
        return parts[0].mean(axis=axis) - (parts[1].mean(axis=axis) if len(parts) > 1 else 0)

    samples = [arm - baseline] if method == "paired" else [arm, baseline]
    drawn = stats.bootstrap(samples, statistic, n_resamples=499, method="BCa", rng=np.random.default_rng(7))
    found, again, another = (
        compare(dict(enumerate(arm)), dict(enumerate(baseline)), method=method, resamples=499, bootstrap_seed=seed)
        for seed in (7, 7, 8)
    )
    assert (found.bootstrap.low, found.bootstrap.high) == pytest.approx(tuple(drawn.confidence_interval))
    assert found == again
    assert found.bootstrap != another.bootstrap
    assert found.no_bootstrap is None


def test_a_bootstrap_that_cannot_be_had_says_why():
    assert compare(ARM, BASELINE).no_bootstrap == "not asked for"
    assert compare({0: 0.9, 1: 0.8}, {0: 0.7, 1: 0.75}, resamples=99).no_bootstrap == "fewer than three seeds"
    assert compare(ARM, ARM, resamples=99).no_bootstrap == "no spread among the seeds"


@given(arm=values_by_seed, baseline=values_by_seed, margin=margins)
def test_swapping_the_arms_turns_the_finding_round(arm, baseline, margin):
    one, other = compare(arm, baseline, margin=margin), compare(baseline, arm, margin=margin)
    assert one.estimate.difference == -other.estimate.difference
    assert one.estimate.p == other.estimate.p
    assert one.estimate.corrected == (other.estimate.corrected and other.estimate.corrected.negated())
    assert one.verdict == {"better": "worse", "worse": "better"}.get(other.verdict, other.verdict)
    assert (one.within_margin, one.n_needed, one.reason) == (other.within_margin, other.n_needed, other.reason)
    assert one.correlation == (other.correlation and pytest.approx(other.correlation))
    assert (one.arm, one.baseline) == (other.baseline, other.arm)


@given(arm=values_by_seed, baseline=values_by_seed, constant=st.integers(-20, 20), margin=margins)
def test_adding_a_constant_to_all_runs_changes_nothing(arm, baseline, constant, margin):
    moved = [{seed: value + constant / 10 for seed, value in values.items()} for values in (arm, baseline)]
    before, after = compare(arm, baseline, margin=margin), compare(*moved, margin=margin)
    assert after.estimate.difference == pytest.approx(before.estimate.difference, abs=1e-12)
    assert (after.verdict, after.reason, after.n_needed) == (before.verdict, before.reason, before.n_needed)
    if before.estimate.interval:
        assert after.estimate.interval.low == pytest.approx(before.estimate.interval.low, abs=1e-9)
        assert after.estimate.p == pytest.approx(before.estimate.p, abs=1e-9)


@given(arm=values_by_seed, baseline=values_by_seed, shuffle=st.randoms())
def test_the_order_in_which_runs_come_changes_nothing(arm, baseline, shuffle):
    def mixed(values):
        items = list(values.items())
        shuffle.shuffle(items)
        return dict(items)

    found = compare_arms(arm, baseline, margin=0.01, resamples=50)
    assert compare_arms(mixed(arm), mixed(baseline), margin=0.01, resamples=50) == found


@given(arm=values_by_seed, baseline=values_by_seed, margin=margins)
def test_lower_is_better_judges_as_if_all_values_had_the_other_sign(arm, baseline, margin):
    negative = [{seed: -value for seed, value in values.items()} for values in (arm, baseline)]
    found, mirror = compare(arm, baseline, margin=margin, higher_is_better=False), compare(*negative, margin=margin)
    assert (found.verdict, found.within_margin) == (mirror.verdict, mirror.within_margin)
    assert found.estimate.difference == -mirror.estimate.difference


@given(arm=values_by_seed, baseline=values_by_seed, margin=margins, comparisons=st.integers(1, 5))
def test_verdict_corrected_interval_and_corrected_p_agree(arm, baseline, margin, comparisons):
    found = compare(arm, baseline, margin=margin, comparisons=comparisons)
    estimate = found.estimate
    assert (estimate.interval is None) == (found.reason is not None) == (found.n_needed is None)
    if estimate.interval is None:
        assert found.verdict == "not distinguishable"
        return
    assert (found.verdict in ("better", "worse")) == (estimate.corrected_p < 0.05)
    assert estimate.corrected.low <= estimate.interval.low <= estimate.interval.high <= estimate.corrected.high


@pytest.mark.parametrize(
    ("low", "high", "verdict", "within"),
    [
        (0.1, 2.0, "better", False),
        (1.5, 2.0, "better", False),
        (0.1, 1.0, "better", False),
        (0.1, 0.9, "better", True),
        (-2.0, -0.1, "worse", False),
        (-2.0, -1.5, "worse", False),
        (-1.0, -0.1, "worse", False),
        (-0.9, -0.1, "worse", True),
        (-0.9, 0.9, "equivalent", True),
        (0.0, 0.9, "equivalent", True),
        (-0.9, 0.0, "equivalent", True),
        (-0.9, 1.0, "not distinguishable", False),
        (-1.0, 0.9, "not distinguishable", False),
        (-2.0, 2.0, "not distinguishable", False),
    ],
)
def test_the_table_of_verdicts_leaves_no_interval_out(low, high, verdict, within):
    assert judge(Interval(low, high, 0.95), 1.0) == (verdict, within)


@pytest.mark.parametrize(
    ("arm", "baseline", "method"),
    [
        ([0, 1, 2], [0, 1, 2], "paired"),
        ([0, 1, 2, 3], [0, 1, 2, 4], "paired"),
        ([0, 1, 2], [0, 1, 2, 3, 4], "paired"),
        ([0, 1], [0, 1, 2, 3], "welch"),
        ([0, 1, 2], [2, 3, 4], "welch"),
        ([0, 1, 2], [3, 4, 5], "welch"),
        ([7], [7], "paired"),
    ],
)
def test_pairs_are_made_where_most_seeds_are_shared(arm, baseline, method):
    found = compare({seed: 0.9 + seed**2 / 1000 for seed in arm}, {seed: 0.8 + seed / 100 for seed in baseline})
    assert found.estimate.method == method
    shared = len({*arm} & {*baseline})
    assert found.estimate.n == ((shared, shared) if method == "paired" else (len(arm), len(baseline)))
    assert (found.arm.n, found.baseline.n) == (len(arm), len(baseline))


@pytest.mark.parametrize(("arm", "baseline"), [([0.9], [0.1]), ([0.9], [0.1, 0.2, 0.3]), ([0.9, 0.8, 0.7], [0.1])])
def test_one_seed_is_no_evidence(arm, baseline):
    found = compare(dict(enumerate(arm)), dict(enumerate(baseline)), resamples=99)
    assert (found.verdict, found.reason) == ("not distinguishable", "one seed")
    assert (found.estimate.p, found.n_needed, found.within_margin, found.bootstrap) == (None, None, False, None)


def test_equal_differences_are_no_certainty_even_if_rounding_sets_them_apart():
    arm, baseline = {0: 0.94, 1: 0.64}, {0: 0.93, 1: 0.63}
    assert arm[0] - baseline[0] != arm[1] - baseline[1]
    found = compare(arm, baseline)
    assert (found.verdict, found.reason, found.estimate.p) == ("not distinguishable", "no spread among the seeds", None)
    assert found.other is not None  # Welch's has spread; a rule that may not look at values does not turn to it
    assert compare(ARM, ARM).reason == "no spread among the seeds"
    assert compare({0: 0.9, 1: 0.9}, {2: 0.8, 3: 0.8}).reason == "no spread among the seeds"
    assert compare({0: 0.9, 1: 0.9}, {2: 0.8, 3: 0.81}).estimate.degrees_of_freedom == pytest.approx(1)


@pytest.mark.parametrize(
    ("effect", "deviations", "power", "needed"),
    [(0.5, [1], 0.8, 34), (0.8, [1], 0.8, 15), (0.5, [1, 1], 0.8, 64), (0.8, [1, 1], 0.8, 26), (0.5, [1, 1], 0.9, 86)],
)
def test_seeds_needed_are_those_of_printed_tables(effect, deviations, power, needed):
    """Cohen 1988, table 2.4.1, for two arms (0.5: 64 and 85, by an approximation); G*Power 3.1 for all."""
    assert seeds_needed(effect, deviations, power=power) == needed


def test_seeds_needed_bear_extremes():
    assert seeds_needed(1.0, [1e-9]) == 2
    assert seeds_needed(1e-4, [1.0]) == pytest.approx((1.959964 + 0.841621) ** 2 * 1e8, rel=1e-6)
    assert seeds_needed(0.5, [1.0, 0.0]) == seeds_needed(0.5, [1.0])
    for effect, deviations in [(0, [1]), (-1, [1]), (math.nan, [1]), (1, [0, 0]), (1, [])]:
        with pytest.raises(ComparisonError, match="effect above 0 and a spread"):
            seeds_needed(effect, deviations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": {}}, "There is no value of the arm"),
        ({"baseline": {}}, "There is no value of the baseline"),
        ({"arm": {0: 0.9, 3: math.nan}}, "Seed 3 of the arm has the value nan"),
        ({"baseline": {4: math.inf}}, "Seed 4 of the baseline has the value inf"),
        ({"arm": {0: None}}, "Seed 0 of the arm has the value None"),
        ({"arm": {9: 0.9}, "method": "paired"}, "share no seed"),
        ({"margin": 0}, "margin=0"),
        ({"margin": math.nan}, "margin=nan"),
        ({"margin": math.inf}, "margin=inf"),
        ({"confidence": 95}, "confidence=95"),
        ({"comparisons": 0}, "comparisons=0"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(change, message):
    with pytest.raises(ComparisonError, match=message):
        compare(**({"arm": ARM, "baseline": BASELINE} | change))


def test_errors_of_several_arms_name_the_arm():
    assert issubclass(ComparisonError, CurriculumZooError)
    with pytest.raises(ComparisonError, match="Seed 1 of arm 'HRT' has the value nan"):
        compare_with_baseline({"TRD": ARM, "HRT": {1: math.nan}}, BASELINE, margin=0.003)
    with pytest.raises(ComparisonError, match="no arm to compare"):
        compare_with_baseline({}, BASELINE, margin=0.003)
    with pytest.raises(ComparisonError, match="no value"):
        summarize([])
    with pytest.raises(ComparisonError, match="confidence=0"):
        summarize([1.0], confidence=0)


def test_numpys_numbers_serve_and_the_finding_goes_to_json():
    narrow = {seed: np.float32(value) for seed, value in ARM.items()}
    found = compare_arms(narrow, dict(enumerate(np.array([0.90, 0.91, 0.92, 0.91, 0.93]))), margin=0.003)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["estimate"]["corrected"]["low"] == pytest.approx(found.estimate.corrected.low)
    assert read["verdict"] == "better"
