"""Whether an arm of an experiment is better than its baseline, by how much, and how sure one may be.

An arm is a mapping from seed to value: one run, one number. Everything here is a pure function of such numbers.
Accuracies are shares, 0 to 1; sentences give them in points, of which a share of 1 has 100.

**Pairs.** Runs of one seed share initial weights and order of the data, so they are pairs by design. A comparison is
paired where more than half of each arm's seeds are shared, and then uses those alone; it is Welch's otherwise, over all
seeds. The rule looks at seeds, never at values. To take the shorter of the two intervals, or to pair where the
correlation seen is high, would be to choose by the outcome: of simulated comparisons without an effect, with five seeds
each and no correlation, that finds one in 6.8 % where 5 % is stated. The paired interval keeps to 5 % whatever the
correlation. Welch's, over seeds that are shared, is too long where the correlation is positive and too short where it
is negative: 9.5 % at -0.5 and five seeds. The price is degrees of freedom: pairing gives the shorter interval where the
correlation is above 0.58 with three seeds, 0.31 with five, 0.14 with ten. So a comparison gives the correlation and
what the other method says, and one who expects no correlation may state the method before the runs are seen.

**Several arms.** Bonferroni's correction: of m comparisons each is made at the level (1 - confidence) / m. It holds
however the arms depend on each other, as they do through their common baseline, and its intervals and p-values agree.
Dunnett's method assumes independent runs of equal variance, which pairs are not; Holm's has no such intervals.

**Verdict.** Read from the corrected interval of the gain, which is the difference with the sign that makes a better arm
positive, and from the margin: the least difference that matters, stated before the runs are seen.

===================================  ===================  =============  ========================================
corrected interval of the gain       verdict              within margin  in words
===================================  ===================  =============  ========================================
above 0, reaches margin or beyond    better               no             better by d
above 0, ends below margin           better               yes            better by d, less than the margin
below 0, reaches -margin or beyond   worse                no             worse by d
below 0, ends above -margin          worse                yes            worse by d, less than the margin
holds 0, inside (-margin, margin)    equivalent           yes            equivalent within the margin
holds 0, reaches -margin or margin   not distinguishable  no             with the seeds that would be needed
none: one seed, or no spread         not distinguishable  no             with the reason
===================================  ===================  =============  ========================================

So among all arms that do nothing any is called better or worse with a probability of 1 - confidence at most, half of it
on each side. "Within margin" is two one-sided tests (Schuirmann 1987) at (1 - confidence) / 2 each: at the usual 95 %
an arm whose true difference is the margin, or more, is said to be within it with a probability of 2.5 % at most.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy import special, stats

from ..errors import ComparisonError
from .findings import POINTS, Comparison, Estimate, Interval, Method, Summary, Verdict

__all__ = ["compare_arms", "compare_with_baseline", "judge", "seeds_needed", "summarize"]

Values = tuple[float, ...]

ROUNDING = 1e-12
"""Standard deviation, as a share of the values' size, up to which it is rounding and not spread."""
ONE_SEED = "one seed"
NO_SPREAD = "no spread among the seeds"


def summarize(values: Iterable[float], *, confidence: float = 0.95) -> Summary:
    """Number, mean, standard deviation and Student's interval of the mean of an arm's values.

    Args:
        values: one per run.
        confidence: of the interval, 0 to 1.

    Raises:
        ComparisonError: if there is no value, or one is not a finite number.
    """
    _check_confidence(confidence)
    sample = _Samples.of(tuple(_finite(dict(enumerate(values)), "the arm").values()))
    n, sd = len(sample.values[0]), sample.deviations[0]
    interval = None if sample.reason else sample.interval(confidence)
    return Summary(n, sample.difference, sd if n > 1 else None, interval)


def compare_arms(
    arm: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    margin: float,
    confidence: float = 0.95,
    comparisons: int = 1,
    method: Method | None = None,
    higher_is_better: bool = True,
    unit: str = POINTS,
    resamples: int = 9999,
    bootstrap_seed: int = 0,
) -> Comparison:
    """Compare an arm with its baseline, as the head of this module explains.

    All settings belong to the experiment's design: state them before the runs are seen. A run that failed has no value
    and is left out with its seed; if it failed because of its arm, the finding is about the runs that do not fail.

    Args:
        arm: value by seed.
        baseline: value by seed.
        margin: least difference that matters, as a difference of values: 0.003 is 0.3 points of accuracy.
        confidence: of all intervals, 0 to 1.
        comparisons: how many arms are compared with this baseline, this one among them.
        method: None for the rule that looks at seeds.
        higher_is_better: False for losses, times and the like.
        unit: of the values, for sentences; ``"points"`` are hundredths of a share, any other is printed as it is.
        resamples: of the bootstrap; 0 for none.
        bootstrap_seed: of the bootstrap's generator.

    Raises:
        ComparisonError: if an arm has no value or one that is not a finite number, if pairs are asked for and no seed
            is shared, or if a setting is out of range.
    """
    _check_confidence(confidence)
    if not 0 < margin < math.inf:
        raise ComparisonError(f"margin={margin}: state the least difference that matters, above 0, such as 0.003.")
    if comparisons < 1:
        raise ComparisonError(f"comparisons={comparisons}: count the arms compared with the baseline, from 1.")
    ours, theirs = _finite(arm, "the arm"), _finite(baseline, "the baseline")
    shared = sorted(ours.keys() & theirs.keys())
    paired = 2 * len(shared) > max(len(ours), len(theirs)) if method is None else method == "paired"
    if paired and not shared:
        raise ComparisonError("The arm and the baseline share no seed, so there are no pairs: use method='welch'.")

    pairs = tuple(ours[seed] for seed in shared), tuple(theirs[seed] for seed in shared)
    samples, others = _Samples.of_pairs(*pairs), _Samples.of(tuple(ours.values()), tuple(theirs.values()))
    if not paired:
        samples, others = others, samples
    estimate, level = _estimate(samples, confidence, comparisons), _level(confidence, comparisons)
    gain = estimate.corrected if higher_is_better or estimate.corrected is None else estimate.corrected.negated()
    verdict, within_margin = judge(gain, margin)
    bootstrap = _bootstrap(samples, confidence, resamples, bootstrap_seed)
    return Comparison(
        arm=summarize(ours.values(), confidence=confidence),
        baseline=summarize(theirs.values(), confidence=confidence),
        estimate=estimate,
        other=None if others.reason else _estimate(others, confidence, comparisons),
        correlation=_correlation(*pairs),
        bootstrap=bootstrap if isinstance(bootstrap, Interval) else None,
        no_bootstrap=bootstrap if isinstance(bootstrap, str) else None,
        verdict=verdict,
        within_margin=within_margin,
        reason=samples.reason,
        n_needed=None if samples.reason else seeds_needed(margin, samples.deviations, confidence=level),
        margin=margin,
        comparisons=comparisons,
        higher_is_better=higher_is_better,
        unit=unit,
    )


def compare_with_baseline(
    arms: Mapping[str, Mapping[int, float]], baseline: Mapping[int, float], *, margin: float, **settings: Any
) -> dict[str, Comparison]:
    """Compare several arms with one baseline, corrected for their number; keyed by arm.

    Args:
        arms: value by seed, by arm.
        baseline: value by seed.
        margin: least difference that matters.
        settings: further settings of `compare_arms`, the same for all arms.

    Raises:
        ComparisonError: as `compare_arms` does, naming the arm, or if there is none.
    """
    if not arms:
        raise ComparisonError("There is no arm to compare with the baseline: give at least one.")
    found = {}
    for name, arm in arms.items():
        _finite(arm, f"arm '{name}'")
        found[name] = compare_arms(arm, baseline, margin=margin, comparisons=len(arms), **settings)
    return found


def judge(gain: Interval | None, margin: float) -> tuple[Verdict, bool]:
    """Verdict, and whether the interval lies within the margin, by the table at the head of this module.

    Args:
        gain: corrected interval of the difference, positive where the arm is better; None where there is none.
        margin: least difference that matters.
    """
    if gain is None:
        return "not distinguishable", False
    within = -margin < gain.low and gain.high < margin
    if gain.low > 0:
        return "better", within
    if gain.high < 0:
        return "worse", within
    return ("equivalent" if within else "not distinguishable"), within


def seeds_needed(effect: float, deviations: Sequence[float], *, confidence: float = 0.95, power: float = 0.8) -> int:
    """Seeds an arm with which a true difference is found, with its sign, in a given share of experiments.

    The power of Student's or Welch's t under normal values, from the noncentral t distribution (Cohen 1988, chapter 2).

    Args:
        effect: the true difference, without sign.
        deviations: standard deviation of the differences by seed, or those of the two arms.
        confidence: of the interval that is to leave out 0, 0 to 1.
        power: share of experiments, 0 to 1.

    Raises:
        ComparisonError: if the effect is not above 0, or there is no spread.
    """
    if not (effect > 0 and any(deviations)):
        raise ComparisonError(f"No number of seeds for effect={effect}: there must be an effect above 0 and a spread.")
    total = math.fsum(deviation**2 for deviation in deviations)
    freedom = total**2 / math.fsum(deviation**4 for deviation in deviations)  # for each seed beyond the first
    ratio = effect / math.sqrt(total)
    n = max(2, math.ceil(((special.ndtri((1 + confidence) / 2) + special.ndtri(power)) / ratio) ** 2))

    def power_of(seeds: int) -> float:
        degrees = freedom * (seeds - 1)
        critical = special.stdtrit(degrees, (1 + confidence) / 2)
        return 1 - float(special.nctdtr(degrees, ratio * math.sqrt(seeds), critical))

    while power_of(n) < power:  # t needs a few more than the normal distribution, from which the search starts
        n += 1
    return n


@dataclass(frozen=True)
class _Samples:
    """One sample, or two independent ones of whose means the difference is wanted.

    Attributes:
        values: one sample, or the arm's and the baseline's.
        deviations: their standard deviations, n - 1 in the denominator; 0 for one value, or where all are equal.
    """

    values: tuple[Values, ...]
    deviations: Values

    @classmethod
    def of(cls, *values: Values) -> _Samples:
        return cls(values, tuple(_deviation(sample, _size(sample)) for sample in values))

    @classmethod
    def of_pairs(cls, arm: Values, baseline: Values) -> _Samples:
        differences = tuple(left - right for left, right in zip(arm, baseline, strict=True))
        return cls((differences,), (_deviation(differences, _size(arm + baseline)),))

    @property
    def reason(self) -> str | None:
        """Why there is no interval; None where there is one."""
        if min(map(len, self.values)) < 2:
            return ONE_SEED
        return None if any(self.deviations) else NO_SPREAD

    @cached_property
    def difference(self) -> float:
        """Mean of the first sample minus that of the second; of one sample, its mean."""
        first, *second = map(statistics.fmean, self.values)
        return first - sum(second)

    @cached_property
    def standard_error(self) -> float:
        return math.sqrt(sum(self._shares))

    @cached_property
    def degrees_of_freedom(self) -> float:
        """By Welch and Satterthwaite; of one sample, n - 1."""
        parts = zip(self._shares, self.values, strict=True)
        return sum(self._shares) ** 2 / sum(share**2 / (len(sample) - 1) for share, sample in parts)

    @cached_property
    def _shares(self) -> list[float]:
        """What each sample adds to the variance of the difference."""
        return [deviation**2 / len(sample) for deviation, sample in zip(self.deviations, self.values, strict=True)]

    def interval(self, confidence: float, level: float | None = None) -> Interval:
        """Student's, or Welch's, at a level of its own where it is one of several, stated as of confidence."""
        width = special.stdtrit(self.degrees_of_freedom, (1 + (level or confidence)) / 2) * self.standard_error
        return Interval(self.difference - float(width), self.difference + float(width), confidence)


def _estimate(samples: _Samples, confidence: float, comparisons: int) -> Estimate:
    method: Method = "paired" if len(samples.values) == 1 else "welch"
    n = len(samples.values[0]), len(samples.values[-1])
    if samples.reason:
        return Estimate(method, n, samples.difference)
    error, freedom = samples.standard_error, samples.degrees_of_freedom
    p = 2 * float(special.stdtr(freedom, -abs(samples.difference) / error))
    return Estimate(
        method,
        n,
        samples.difference,
        standard_error=error,
        degrees_of_freedom=freedom,
        interval=samples.interval(confidence),
        p=p,
        corrected=samples.interval(confidence, _level(confidence, comparisons)),
        corrected_p=min(1.0, comparisons * p),
    )


def _level(confidence: float, comparisons: int) -> float:
    """Confidence of one comparison with which all of them together have a given one, by Bonferroni."""
    return 1 - (1 - confidence) / comparisons


def _bootstrap(samples: _Samples, confidence: float, resamples: int, seed: int) -> Interval | str:
    """Bias-corrected and accelerated interval of the difference, or why there is none."""
    if not resamples:
        return "not asked for"
    if min(map(len, samples.values)) < 3:
        return "fewer than three seeds"
    if samples.reason:
        return samples.reason
    ends = stats.bootstrap(
        samples.values,
        _difference_of_means,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(ends.low), float(ends.high), confidence)


def _difference_of_means(*samples: np.ndarray, axis: int = -1) -> Any:
    first, *second = (np.mean(sample, axis=axis) for sample in samples)
    return first - sum(second)


def _correlation(arm: Values, baseline: Values) -> float | None:
    """Pearson's, of pairs; None for fewer than three, or where one side has no spread."""
    if len(arm) < 3 or not all(_Samples.of(arm, baseline).deviations):
        return None
    return min(1.0, max(-1.0, statistics.correlation(arm, baseline)))  # rounding may leave the range


def _deviation(values: Values, size: float) -> float:
    """Standard deviation; 0 for fewer than two values, or where it is what rounding leaves of numbers of a size."""
    if len(values) < 2:
        return 0.0
    mean = statistics.fmean(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return deviation if deviation > ROUNDING * size else 0.0


def _size(values: Values) -> float:
    return max(map(abs, values), default=0.0)


def _finite(values: Mapping[int, float], whose: str) -> dict[int, float]:
    """Values as floats by rising seed; all of them finite, and at least one."""
    if not values:
        raise ComparisonError(f"There is no value of {whose}: give one by seed, for one run or more.")
    for seed, value in values.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ComparisonError(
                f"Seed {seed} of {whose} has the value {value!r}, with which nothing can be compared: give a finite "
                "number, or leave the seed out and state that the run failed."
            )
    return {seed: float(values[seed]) for seed in sorted(values)}


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ComparisonError(f"confidence={confidence}: give a share between 0 and 1, such as 0.95.")
