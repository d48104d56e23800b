"""What a comparison finds: intervals, summaries, differences by a method, and the sentence that says it all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["POINTS", "Comparison", "Estimate", "Interval", "Method", "Summary", "Verdict"]

Verdict = Literal["better", "worse", "equivalent", "not distinguishable"]
Method = Literal["paired", "welch"]

POINTS = "points"
"""Unit of values that are shares, 0 to 1: they are printed as hundredths."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: its lower end.
        high: its upper end.
        confidence: share of such intervals that hold the true value, 0 to 1; of a corrected interval, share of
            experiments in which the intervals of all comparisons do.
    """

    low: float
    high: float
    confidence: float

    def negated(self) -> Interval:
        """The interval of the same quantity with the other sign."""
        return Interval(-self.high, -self.low, self.confidence)


@dataclass(frozen=True)
class Summary:
    """An arm's values in short.

    Attributes:
        n: how many there are.
        mean: their mean.
        sd: their standard deviation, with n - 1 in the denominator; None for one value.
        interval: Student's interval of the mean; None for one value, or where all are equal.
    """

    n: int
    mean: float
    sd: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Estimate:
    """A difference of means, arm minus baseline, by one method.

    Attributes:
        method: ``"paired"`` for Student's t of the differences by seed, ``"welch"`` for Welch's t of all values.
        n: seeds of the arm and of the baseline that it uses.
        difference: mean of the arm minus mean of the baseline, over those seeds.
        standard_error: of the difference; None with one seed.
        degrees_of_freedom: n - 1, or Welch and Satterthwaite's; None without an interval.
        interval: of this comparison alone; None with one seed, or without spread.
        p: two-sided p-value of no difference, of this comparison alone; None without an interval.
        corrected: interval corrected for all comparisons.
        corrected_p: p-value corrected for all comparisons; below 1 - confidence where the corrected interval leaves
            out 0, and there alone.
    """

    method: Method
    n: tuple[int, int]
    difference: float
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    interval: Interval | None = None
    p: float | None = None
    corrected: Interval | None = None
    corrected_p: float | None = None


@dataclass(frozen=True)
class Comparison:
    """An arm beside its baseline; its text is a sentence that says what one may conclude.

    Attributes:
        arm: the arm's values in short, all of them.
        baseline: the baseline's.
        estimate: the difference that the verdict is about.
        other: the difference by the other method; None where no two seeds allow it.
        correlation: Pearson's, over the seeds that both have; None for fewer than three, or without spread.
        bootstrap: bias-corrected and accelerated bootstrap interval of the difference (Efron 1987), of this comparison
            alone. It stands beside Student's and decides nothing, as for few seeds it is too short: of normal values,
            at 95 %, it misses the true mean in 27 % of simulated samples of three, 15 % of five, 10 % of ten, 7 % of
            twenty.
        no_bootstrap: why there is no bootstrap interval; None where there is one.
        verdict: by the table at the head of ``statistics``.
        within_margin: whether the whole corrected interval lies inside the margin.
        reason: why there is no interval, and so no finding; None where there is one.
        n_needed: seeds an arm with which a true difference of the margin would be found in 80 % of experiments, if the
            standard deviation is the one seen. That is a rough guess: with three seeds the true one may well be half
            or six times as large. None without an interval.
        margin: least difference that matters.
        comparisons: how many the correction is for.
        higher_is_better: whether the larger value is the better one.
        unit: of the values; ``"points"`` are hundredths of a share.
    """

    arm: Summary
    baseline: Summary
    estimate: Estimate
    other: Estimate | None
    correlation: float | None
    bootstrap: Interval | None
    no_bootstrap: str | None
    verdict: Verdict
    within_margin: bool
    reason: str | None
    n_needed: int | None
    margin: float
    comparisons: int
    higher_is_better: bool
    unit: str

    def __str__(self) -> str:
        return self.sentence()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def sentence(self, digits: int = 2) -> str:
        """One sentence: verdict, size, corrected interval, method, seeds and correlation.

        A size of "better" or "worse" has no sign; any other is arm minus baseline.

        Args:
            digits: decimals of points; values in other units have two significant digits more.
        """

        def number(value: float, sign: str = "") -> str:
            return f"{100 * value:{sign}z.{digits}f}" if self.unit == POINTS else f"{value:{sign}z.{digits + 2}g}"

        def size(value: float, sign: str = "") -> str:
            return f"{number(value, sign)} {self.unit}".rstrip()

        difference, interval, margin = self.estimate.difference, self.estimate.corrected, size(self.margin)
        if interval is None:
            return f"{self.verdict}: {self.reason} (difference {size(difference, '+')}, {self._method()})"
        found = self.verdict in ("better", "worse")
        shown = interval.negated() if found and difference < 0 else interval
        many = f" for all {self.comparisons} comparisons" if self.comparisons > 1 else ""
        ends = f"{100 * shown.confidence:g} % interval {number(shown.low)} to {number(shown.high)}{many}"
        if found:
            small = f", less than the margin of {margin}" if self.within_margin else ""
            return f"{self.verdict} by {size(abs(difference))}{small} ({ends}, {self._method()})"
        basis = f"(difference {size(difference, '+')}, {ends}, {self._method()})"
        if self.verdict == "equivalent":
            return f"equivalent within {margin} {basis}"
        return f"not distinguishable {basis}; about n={self.n_needed} would be needed to see {margin}"

    def _method(self) -> str:
        arm, baseline = self.estimate.n
        seeds = f"n={arm}" if arm == baseline else f"n={arm} and {baseline}"
        correlation = "" if self.correlation is None else f", r={self.correlation:z.2f}"
        return f"{'paired' if self.estimate.method == 'paired' else 'Welch'}, {seeds}{correlation}"
