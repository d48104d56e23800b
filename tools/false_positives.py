r"""Simulate experiments in which no arm does anything, and count how often one is called better or worse.

    python tools/false_positives.py
    python tools/false_positives.py --grids 4000 --arms 1 --seeds 3 5 10 --correlation 0 --resamples 1999

An experiment is a grid: a baseline and arms with the same true accuracy, each run with every seed. Accuracies of one
seed correlate, as far as --correlation says, and are shares of right answers among --images, so that they tie as real
ones do. A row is a setting; a cell is the share of grids in which it happened, with its exact binomial 95 % interval:

- one arm: the interval of the first arm alone leaves out 0, without correction; 5 % is right
- shorter: so does the shorter of the paired and Welch's interval, which the package does not use for that reason
- any arm: one arm or more does so, without correction
- verdict: one arm or more is called better or worse by the package; at most 5 % is right
- bootstrap (with --resamples): the bootstrap interval of the first arm leaves out 0; it decides nothing

Exit status 1 where a verdict is more frequent than 5 %, beyond chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.stats import binomtest

from curriculum_zoo.comparison.findings import Comparison, Interval
from curriculum_zoo.comparison.statistics import compare_with_baseline

ACCURACY = 0.9
LEVEL = 0.05


def main() -> None:
    options = _options()
    columns = ["one arm", "shorter", "any arm", "verdict", *(["bootstrap"] if options.resamples else [])]
    print(
        f"{options.grids} grids of {options.arms} arms and a baseline, all of accuracy {ACCURACY:.0%}, standard "
        f"deviation {100 * options.deviation:g} points, {options.images} test images; generator seed {options.rng}\n"
    )
    print("| seeds | correlation |", " | ".join(columns), "|")
    print("|---" * (2 + len(columns)) + "|")
    excess = False
    generator = np.random.default_rng(options.rng)
    for seeds in options.seeds:
        for correlation in options.correlation:
            counts = dict.fromkeys(columns, 0)
            for found in _grids(seeds, correlation, options, generator):
                for column, happened in _events(found).items():
                    counts[column] = counts.get(column, 0) + happened
            print(f"| {seeds} | {correlation:g} |", " | ".join(_rate(counts[c], options.grids) for c in columns), "|")
            excess |= bool(_binomial(counts["verdict"], options.grids).low > LEVEL)
    raise SystemExit(int(excess))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", type=int, default=1000)
    parser.add_argument("--arms", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument(
        "--correlation", type=float, nargs="+", default=[0.0, 0.5], help="of runs with one seed, 0 to 1"
    )
    parser.add_argument("--deviation", type=float, default=0.003, help="between seeds, as a share of accuracy")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=0, help="of the bootstrap, which is left out otherwise")
    parser.add_argument("--rng", type=int, default=0, help="seed of the simulation")
    return parser.parse_args()


def _grids(
    seeds: int, correlation: float, options: argparse.Namespace, generator: np.random.Generator
) -> Iterator[list[Comparison]]:
    """What is found of each arm, grid by grid."""
    for _ in range(options.grids):
        shared = np.sqrt(correlation) * generator.standard_normal(seeds)
        own = np.sqrt(1 - correlation) * generator.standard_normal((1 + options.arms, seeds))
        right = np.round((ACCURACY + options.deviation * (shared + own)) * options.images)
        baseline, *arms = (dict(enumerate((row / options.images).tolist())) for row in right)
        named = {f"arm {number}": arm for number, arm in enumerate(arms, start=1)}
        margin = options.deviation
        yield list(compare_with_baseline(named, baseline, margin=margin, resamples=options.resamples).values())


def _events(found: list[Comparison]) -> dict[str, bool]:
    first = found[0]
    both = [estimate.interval for estimate in (first.estimate, first.other) if estimate and estimate.interval]
    return {
        "one arm": _leaves_out_zero(first.estimate.interval),
        "shorter": _leaves_out_zero(min(both, key=lambda interval: interval.high - interval.low, default=None)),
        "any arm": any(_leaves_out_zero(comparison.estimate.interval) for comparison in found),
        "verdict": any(comparison.verdict in ("better", "worse") for comparison in found),
        "bootstrap": _leaves_out_zero(first.bootstrap),
    }


def _leaves_out_zero(interval: Interval | None) -> bool:
    return interval is not None and not interval.low <= 0 <= interval.high


def _binomial(count: int, total: int) -> Interval:
    ends = binomtest(count, total).proportion_ci(0.95)
    return Interval(ends.low, ends.high, 0.95)


def _rate(count: int, total: int) -> str:
    ends = _binomial(count, total)
    return f"{100 * count / total:.1f} % ({100 * ends.low:.1f} to {100 * ends.high:.1f})"


if __name__ == "__main__":
    main()
