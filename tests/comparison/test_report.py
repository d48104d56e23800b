"""Reports, from run folders alone: numbers against hand-worked ones, and what an unfinished comparison may say."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from curriculum_zoo.comparison import markdown, read_report, write_report
from curriculum_zoo.comparison.arms import Arm, stated_arms
from curriculum_zoo.comparison.document import cells_csv, report_to_dict
from curriculum_zoo.comparison.grid import Grid
from curriculum_zoo.errors import ComparisonError

BASE = {"model": "simple_cnn", "data": "demo", "epochs": 10}
GRID = Grid(recipe=BASE, arms={"plain": {}, "new": {"optimizer.lr": 0.01}}, seeds=(0, 1, 2))
PLAIN = {0: 0.90, 1: 0.91, 2: 0.92}
NEW = {0: 0.92, 1: 0.92, 2: 0.95}


def test_means_deviations_and_the_paired_difference_are_those_worked_by_hand(fabricated):
    report = read_report(fabricated(GRID, {"plain": PLAIN, "new": NEW}, costs={"new": 0.5}))
    plain, new = report.arms
    assert (plain.last.n, plain.last.mean, plain.last.sd) == (3, pytest.approx(0.91), pytest.approx(0.01))
    assert new.last.mean == pytest.approx(0.93)
    assert new.last.sd == pytest.approx(math.sqrt(3e-4))
    assert new.best.mean == pytest.approx(0.94)
    assert (new.flops, new.seconds, new.peak_memory, new.best_epoch) == (5e9, 20, 10 * 2**20, 1)
    assert (plain.relative_flops, new.relative_flops) == (1, 0.5)
    assert (plain.to_baseline, new.to_baseline.label, new.to_baseline.flops_ratio) == (None, "plain", 0.5)
    # Differences 2, 1, 3 points: mean 2, sd 1, and t of 2 degrees of freedom at 97.5 % is 4.3027.
    estimate = new.to_baseline.finding.estimate
    assert (estimate.method, estimate.n) == ("paired", (3, 3))
    assert estimate.difference == pytest.approx(0.02)
    assert estimate.interval.high - estimate.interval.low == pytest.approx(2 * 0.01 * 4.302653 / math.sqrt(3))
    assert new.to_baseline.finding.margin == 0.003


def test_the_text_tells_them(fabricated):
    text = markdown(read_report(fabricated(GRID, {"plain": PLAIN, "new": NEW}, costs={"new": 0.5})))
    assert (
        "- **new** against plain, at 0.500× its FLOPs: not distinguishable (difference +2.00 points, 95 % interval"
        in text
    )
    assert "| plain | 3 | 91.00 ± 1.00 | 92.00 ± 1.00 | 1 of 10 | 10 G | 1.000× | 20 s | 10 MiB |" in text
    assert "| new | 3 | 93.00 ± 1.73 | 94.00 ± 1.73 | 1 of 10 | 5 G | 0.500× | 20 s | 10 MiB |" in text
    assert "differences below 0.3 points do not matter, intervals are of 95 %. Seeds 0, 1, 2." in text
    assert "Not finished" not in text


def test_verdicts_are_about_the_figure_that_was_stated(fabricated):
    report = read_report(fabricated(replace(GRID, figure="best"), {"plain": PLAIN, "new": NEW}))
    assert [arm.accuracy for arm in report.arms] == [arm.best for arm in report.arms]
    assert "test accuracy of the best epoch's weights decides" in markdown(report)


def test_verdicts_are_corrected_for_all_arms_that_were_stated(fabricated):
    grid = replace(GRID, arms={**GRID.arms, "third": {"optimizer.lr": 0.02}, "fourth": {"optimizer.lr": 0.03}})
    values = {"plain": PLAIN, "new": NEW, "third": NEW, "fourth": dict.fromkeys(PLAIN, "diverged")}
    report = read_report(fabricated(grid, values))
    assert [arm.to_baseline.finding.comparisons for arm in report.arms[1:]] == [3, 3]


def test_an_unfinished_comparison_is_about_the_seeds_that_all_arms_have_done(fabricated):
    report = read_report(fabricated(GRID, {"plain": PLAIN, "new": {0: 0.92, 2: 0.95}}))
    assert [arm.seeds for arm in report.arms] == [(0, 2), (0, 2)]
    assert report.arm("plain").last.mean == pytest.approx(0.91)
    assert [(arm, cell.cell.seed, cell.status) for arm, cell in report.unfinished] == [("new", 1, "missing")]
    assert "this report is about 0, 2." in markdown(report)
    assert "- new, seed 1: missing" in markdown(report)


def test_an_arm_that_has_not_begun_holds_up_no_seed(fabricated):
    grid = replace(GRID, arms={**GRID.arms, "later": {"optimizer.lr": 0.02}})
    report = read_report(fabricated(grid, {"plain": PLAIN, "new": NEW, "later": {}}))
    assert [(arm.label, arm.seeds) for arm in report.arms] == [("plain", (0, 1, 2)), ("new", (0, 1, 2))]
    assert len(report.unfinished) == 3


def test_a_failed_cell_holds_up_no_seed_and_is_told(fabricated):
    values = {"plain": PLAIN, "new": {0: 0.92, 1: "the loss\nis not finite", 2: 0.95}}
    report = read_report(fabricated(GRID, values))
    assert [arm.seeds for arm in report.arms] == [(0, 1, 2), (0, 2)]
    assert report.arm("new").to_baseline.finding.estimate.n == (2, 2)
    assert "- new, seed 1: failed, TrainingError: the loss is not finite" in markdown(report)


def test_an_interrupted_cell_is_told(fabricated):
    path = fabricated(GRID, {"plain": PLAIN, "new": {0: 0.92, 1: 0.93, 2: 0.95}})
    run = read_report(path).arm("new").runs[1].record.path.name
    (path / run / "results.json").unlink()
    report = read_report(path)
    assert [(arm, cell.status) for arm, cell in report.unfinished] == [("new", "interrupted")]
    assert report.arm("plain").seeds == (0, 2)


def test_nothing_finished_is_said(fabricated, tmp_path):
    report = read_report(fabricated(GRID, {"plain": {}, "new": {}}))
    assert "No seed is finished in all arms that have begun." in markdown(report)
    write_report(tmp_path / "comparison")
    with pytest.raises(ComparisonError, match="No arm 'plain' has a finished run"):
        report.arm("plain")
    with pytest.raises(ComparisonError, match="holds no comparison"):
        read_report(tmp_path)


def matched_arms():
    plain, new = stated_arms(GRID)
    recipes = {seed: recipe.changed({"epochs": 6}) for seed, recipe in plain.recipes.items()}
    shorter = Arm("plain, 6 epochs", recipes, kind="matched", baseline="plain")
    return [plain, replace(new, matched=shorter.label), shorter]


def test_arms_are_compared_at_equal_flops_too(fabricated):
    values = {"plain": PLAIN, "new": NEW, "plain, 6 epochs": {0: 0.89, 1: 0.90, 2: 0.90}}
    report = read_report(fabricated(GRID, values, matched_arms(), costs={"new": 0.55}))
    new = report.arm("new")
    assert new.at_equal_flops.label == "plain, 6 epochs"
    assert new.at_equal_flops.flops_ratio == pytest.approx(5.5 / 6)
    assert new.at_equal_flops.finding.estimate.difference == pytest.approx((0.03 + 0.02 + 0.05) / 3)
    assert new.at_equal_flops.finding.comparisons == new.to_baseline.finding.comparisons == 1
    assert report.arm("plain, 6 epochs").to_baseline is None
    text = markdown(report)
    assert "- **new** against plain, 6 epochs, at 0.917× its FLOPs: not distinguishable" in text
    assert "They miss by more than 3% for new (0.917×)" in text


def test_what_a_target_cost_is_the_mean_over_the_runs_that_reach_it(fabricated):
    # Validation accuracy rises evenly to the last epoch's: 0.805 is kept from epoch 9 of 10 at 0.90, and later below.
    values = {"plain": {0: 0.90, 1: 0.80, 2: 0.82}, "new": {0: 0.90, 1: 0.95, 2: 0.90}}
    report = read_report(fabricated(replace(GRID, target=0.805), values, costs={"new": 0.5}))
    plain, new = (arm.target for arm in report.arms)
    assert (plain.seeds, plain.reached, plain.flops, plain.seconds) == (3, 2, 9.5e9, 19)
    assert (new.reached, new.flops, new.seconds) == (3, 4.5e9, 18)
    assert "| new | 3 of 3 | 4.5 G | 0.474× | 18 s |" in markdown(report)


def test_no_run_reaches_a_target_that_is_too_high(fabricated):
    report = read_report(fabricated(replace(GRID, target=0.99), {"plain": PLAIN, "new": NEW}))
    assert report.arm("new").target.flops is None
    assert "| new | 0 of 3 |  |  |  |" in markdown(report)


EVALUATED = Grid.from_dict(
    {
        **GRID.to_dict(),
        "evaluate": [{"name": "clean"}, {"name": "half", "resolution": 0.5}, {"name": "16 px", "resolution": 16}],
    }
)


def under(label, seed):
    accuracy = (PLAIN if label == "plain" else NEW)[seed]
    return {"clean": accuracy, "half": accuracy - (0.30 if label == "plain" else 0.05), "16 px": 0.5 + 0.01 * seed}


def test_conditions_have_differences_and_verdicts_of_their_own(fabricated):
    report = read_report(fabricated(EVALUATED, {"plain": PLAIN, "new": NEW}, under=under))
    new = report.arm("new")
    assert new.conditions["half"].mean == pytest.approx(0.88)
    half = new.under_conditions["half"]
    assert half.estimate.difference == pytest.approx(0.27)
    assert (half.verdict, half.comparisons) == ("better", 3)
    assert new.under_conditions["16 px"].verdict == "not distinguishable"
    text = markdown(report)
    assert "| new | 93.00 ± 1.73 | 88.00 ± 1.73 | 51.00 ± 1.00 | 1.000× |" in text
    assert "- **new**, half: better by 27.00 points" in text


def test_figures_are_drawn_of_what_there_is(fabricated):
    path = fabricated(EVALUATED, {"plain": PLAIN, "new": NEW}, under=under)
    write_report(path)
    for name in ("accuracy_by_flops", "curves", "conditions", "resolutions"):
        assert (path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (path / f"{name}.svg").read_text()
        assert f"({name}.png)" in (path / "report.md").read_text()


def test_a_block_for_each_model_and_data_set(fabricated):
    grid = Grid(
        recipe={**BASE, "epochs": 20},
        models=("simple_cnn", "resnet20_cifar"),
        curricula=("baseline", "trd"),
        seeds=(0, 1),
    )
    values = {arm.label: {0: 0.8 + 0.01 * place, 1: 0.82 + 0.01 * place} for place, arm in enumerate(stated_arms(grid))}
    report = read_report(fabricated(grid, values))
    against = {arm.label: arm.to_baseline and arm.to_baseline.label for arm in report.arms}
    assert against == {
        "simple_cnn, baseline": None,
        "simple_cnn, trd": "simple_cnn, baseline",
        "resnet20_cifar, baseline": None,
        "resnet20_cifar, trd": "resnet20_cifar, baseline",
    }
    assert all(arm.to_baseline.finding.comparisons == 1 for arm in report.arms if arm.to_baseline)


def test_csv_has_a_line_for_every_cell(fabricated):
    report = read_report(fabricated(EVALUATED, {"plain": PLAIN, "new": {0: 0.92, 1: "no, | luck"}}, under=under))
    rows = list(csv.DictReader(io.StringIO(cells_csv(report))))
    assert [(row["arm"], row["seed"], row["status"]) for row in rows] == [
        ("plain", "0", "finished"),
        ("plain", "1", "finished"),
        ("plain", "2", "finished"),
        ("new", "0", "finished"),
        ("new", "1", "failed"),
        ("new", "2", "missing"),
    ]
    assert (rows[0]["accuracy_last"], rows[0]["accuracy_best"], rows[0]["best_epoch"]) == ("0.9", "0.91", "1")
    assert (rows[0]["flops"], rows[0]["seconds"], rows[0]["epochs"]) == ("10000000000", "20.0", "10")
    assert float(rows[3]["accuracy: half"]) == pytest.approx(0.87)
    assert rows[4]["error"] == "TrainingError: no, | luck"


def test_json_has_everything(fabricated, fast):
    path = fabricated(EVALUATED, {"plain": PLAIN, "new": NEW}, under=under)
    report = write_report(path)
    values = json.loads((path / "report.json").read_text())
    assert values == json.loads(json.dumps(report_to_dict(report)))
    new = values["arms"][1]
    assert new["to_baseline"]["finding"]["estimate"]["difference"] == pytest.approx(0.02)
    assert new["to_baseline"]["finding"]["sentence"] == report.arms[1].to_baseline.finding.sentence()
    assert new["under_conditions"]["half"]["verdict"] == "better"
    assert (values["grid"]["margin"], len(values["cells"])) == (0.3, 6)
