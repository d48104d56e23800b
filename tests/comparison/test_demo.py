"""The demonstration: that it is a comparison like any other, and that its sentence follows from the numbers."""

import json
import math
import re
from dataclasses import replace

import pytest

from curriculum_zoo.cli import main
from curriculum_zoo.comparison import demo, read_report
from curriculum_zoo.comparison.arms import Arm, stated_arms
from curriculum_zoo.comparison.demo import conclusion, demo_grid, run_demo
from curriculum_zoo.comparison.grid import Condition, Grid
from curriculum_zoo.comparison.statistics import seeds_needed
from curriculum_zoo.errors import ComparisonError

PLAIN = {0: 0.60, 1: 0.62}
"""Accuracy of the baseline under all conditions, by seed."""


@pytest.fixture
def concluded(fabricated):
    """``concluded(clean=(0.2, 0.21))``: the sentence on an arm that gains that much, by condition, in seed 0 and 1."""

    def make(arms=None, costs=None, failed=(), forgotten=(), **gains):
        count = len(next(iter(gains.values())))
        seeds = tuple(range(count))
        grid = Grid(
            recipe={"model": "simple_cnn", "data": "demo", "epochs": 10},
            arms={"plain": {}, "new": {"optimizer.lr": 0.01}},
            seeds=seeds,
            margin=1.0,
            evaluate=tuple(Condition(name=name) for name in gains),
        )
        arms = arms(grid) if arms else stated_arms(grid)
        values = {arm.label: {seed: 0.9 + 0.01 * seed for seed in seeds} for arm in arms}
        for label in failed:
            values[label] = dict.fromkeys(seeds, "diverged")

        def under(label, seed):
            return {name: PLAIN[seed] + (gain[seed] if label == "new" else 0) for name, gain in gains.items()}

        path = fabricated(grid, values, arms, costs, under)
        for name in forgotten:
            for file in path.glob("new-*/evaluations.json"):
                lines = json.loads(file.read_text())
                file.write_text(json.dumps([line for line in lines if line["condition"]["name"] != name]))
        return conclusion(read_report(path))

    return make


# With two seeds, t of 1 degree of freedom at 97.5 % is 12.706: the interval is the mean difference ± 12.706 times half
# the distance between the two differences.
VERDICTS = {
    "better": ((0.20, 0.21), "better than plain on dim images (+20.5 points, 14.1 to 26.9)"),
    "worse": ((-0.21, -0.20), "worse than plain on dim images (-20.5 points, -26.9 to -14.1)"),
    "better by little": (
        (0.0050, 0.0051),
        "better than plain on dim images (+0.5 points, 0.4 to 0.6, less than the margin of 1)",
    ),
    "worse by little": (
        (-0.0050, -0.0051),
        "worse than plain on dim images (-0.5 points, -0.6 to -0.4, less than the margin of 1)",
    ),
    "equivalent": ((0.0005, -0.0005), "equivalent to plain within 1 point on dim images (+0.0 points, -0.6 to 0.6)"),
    "ahead in both": (
        (0.20, 0.26),
        "not distinguishable from plain on dim images (+23.0 points, -15.1 to 61.1, ahead in 2 of 2 seeds)",
    ),
    "ahead in one": (
        (0.02, -0.02),
        "not distinguishable from plain on dim images (+0.0 points, -25.4 to 25.4, ahead in 1 of 2 seeds)",
    ),
    "no spread": (
        (0.25, 0.25),
        "not distinguishable from plain on dim images (+25.0 points, no interval: no spread among the seeds, "
        "ahead in 2 of 2 seeds)",
    ),
}


@pytest.mark.parametrize(("gains", "words"), VERDICTS.values(), ids=VERDICTS)
def test_the_sentence_says_what_the_interval_says(concluded, gains, words):
    sentence = concluded(dim=gains)
    assert sentence.startswith(f"At equal FLOPs and with 2 seeds, new is {words} (95 % intervals)")


def test_seeds_are_counted_that_would_tell_the_largest_open_difference(concluded):
    sentence = concluded(dim=(0.20, 0.26), red=(-0.02, 0.01), far=(0.5, 0.5))
    # The standard deviation of two differences is their distance over the root of 2; each of three comparisons is
    # made at 1 - 0.05 / 3.
    count = seeds_needed(0.23, [0.06 / math.sqrt(2)], confidence=1 - 0.05 / 3)
    assert count > 2
    assert sentence.endswith(f"; about n={count} would be needed to see a difference as large as that on dim images.")


@pytest.mark.parametrize("gains", [(0.20, 0.2001), (0.25, 0.25), (0.02, -0.02), (0.3,)])
def test_no_seeds_are_counted_without_an_open_difference(concluded, gains):
    assert concluded(dim=gains).endswith("(95 % intervals).")


def test_one_seed_concludes_nothing(concluded):
    assert concluded(dim=(0.3,)) == (
        "At equal FLOPs and with 1 seed, new is not distinguishable from plain on dim images (+30.0 points, no "
        "interval: one seed, ahead in 1 of 1 seed) (95 % intervals)."
    )


def test_conditions_are_grouped_by_verdict_and_corrected_together(concluded):
    # Of four comparisons each is made at 98.75 %: t of 1 degree of freedom at 99.375 % is 50.923.
    count = seeds_needed(0.02, [0.06 / math.sqrt(2)], confidence=0.9875)
    sentence = concluded(clean=(-0.05, 0.01), dim=(0.20, 0.202), red=(-0.10, -0.102), far=(0.30, 0.301))
    assert sentence == (
        "At equal FLOPs and with 2 seeds, new is better than plain on dim images (+20.1 points, 15.0 to 25.2) and far "
        "images (+30.0 points, 27.5 to 32.6); worse than plain on red images (-10.1 points, -15.2 to -5.0); not "
        "distinguishable from plain on clean images (-2.0 points, -154.8 to 150.8, ahead in 1 of 2 seeds) (95 % "
        f"intervals that hold for all 4 comparisons together); about n={count} would be needed to see a difference as "
        "large as that on clean images."
    )


def test_the_sentence_tells_the_cost_and_what_holds_at_equal_flops(concluded):
    def arms(grid):
        plain, new = stated_arms(grid)
        shorter = {seed: recipe.changed({"epochs": 5}) for seed, recipe in plain.recipes.items()}
        matched = Arm("plain, 5 epochs", shorter, kind="matched", baseline="plain")
        return [plain, replace(new, matched=matched.label), matched]

    sentence = concluded(arms, {"new": 0.52}, dim=(0.20, 0.21))
    assert sentence.startswith("At 0.52 times its FLOPs and with 2 seeds, new is better than plain on dim images")
    assert sentence.endswith(
        "; and against plain, 5 epochs, at 1.04 times its FLOPs, it is not distinguishable: no spread among the seeds "
        "(difference +0.0 points, paired, n=2) on clean images."
    )


def test_what_was_not_evaluated_is_said(concluded):
    sentence = concluded(forgotten=["red"], dim=(0.20, 0.2001), red=(0.1, 0.1))
    assert "dim images (+20.0 points" in sentence
    assert sentence.endswith("; there is no figure on red images.")


@pytest.mark.parametrize("failed", [("new",), ("plain",), ("plain", "new")])
def test_without_both_arms_nothing_may_be_concluded(concluded, failed):
    assert concluded(failed=failed, dim=(0.2, 0.3)).startswith("Nothing may be concluded yet")


def test_the_shipped_grid_trains_both_arms_for_the_same_flops_apart_from_their_images():
    baseline, curriculum = stated_arms(demo_grid())
    assert (baseline.label, curriculum.baseline, demo_grid().seeds) == ("baseline", "baseline", (0, 1, 2))
    assert curriculum.recipe.curriculum.startswith("progressive_sharpening(")
    assert curriculum.recipe.changed({"curriculum": "baseline"}) == baseline.recipe
    assert [condition.name for condition in demo_grid().evaluate] == ["clean", "blurred", "half-size", "noisy"]


@pytest.fixture
def small(tiny, monkeypatch):
    """The demonstration with a grid of seconds."""
    grid = tiny(evaluate=[{"name": "clean"}, {"name": "blurred", "blur": 2.0}])
    monkeypatch.setattr(demo, "demo_grid", lambda: grid)
    return grid


@pytest.mark.slow
def test_the_demonstration_goes_on_with_more_seeds_and_trains_none_twice(small, fast, tmp_path):
    first = run_demo(tmp_path, device="cpu")
    assert [arm.seeds for arm in first.arms] == [(0, 1)] * 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/results.json")}
    assert len(before) == 4
    more = run_demo(tmp_path, seeds=(0, 1, 2), device="cpu")
    assert [arm.seeds for arm in more.arms] == [(0, 1, 2)] * 2
    assert run_demo(tmp_path, device="cpu").arm("baseline").seeds == (0, 1, 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_comparison_is_not_taken_for_the_demonstration(small, fast, tmp_path, monkeypatch):
    run_demo(tmp_path, seeds=(0,), device="cpu")
    monkeypatch.setattr(demo, "demo_grid", lambda: replace(small, margin=2.0))
    with pytest.raises(ComparisonError, match="margin"):
        run_demo(tmp_path, device="cpu")


def test_the_command_prints_the_table_the_sentence_and_the_figure(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "demo"
    assert main(["demo", "--output", str(folder), "--on", "local", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if re.match(r" *(baseline|trd)\S* +\d", line)]
    assert len(rows) == 2
    report = read_report(folder)
    for row, arm in zip(rows, report.arms, strict=True):
        for name in ("clean", "blurred"):
            assert f"{100 * arm.conditions[name].mean:.1f}±{100 * arm.conditions[name].sd:.1f}" in row
        assert f"{arm.relative_flops:.2f}×" in row
    assert conclusion(report) in shown
    assert "seeds 0, 1" in shown
    assert str(folder / "conditions.png") in shown
    assert (folder / "conditions.png").read_bytes().startswith(b"\x89PNG")
