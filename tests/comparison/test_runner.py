"""`compare` from a grid to a report: what is there is kept, what fails stands aside, what is lost goes on."""

import json
import os
import signal
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
from same_runs import assert_same_run

from curriculum_zoo.comparison import compare, markdown, read_report, runner
from curriculum_zoo.errors import CheckpointError, ComparisonError
from curriculum_zoo.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("fast")


@pytest.fixture
def ran(monkeypatch):
    """Arm and seed of the cells that run, in order; where `fail` names one, it raises."""
    cells = []

    def run(folder, recipe, *, _run=runner.run_cell, **options):
        cells.append((recipe["curriculum"], recipe["seed"]))
        return _run(folder, recipe, **options)

    monkeypatch.setattr(runner, "run_cell", run)
    return cells


def compared(grid, folder, **how):
    return compare(grid, folder, **{"device": "cpu", "shown": False, **how})


def test_cells_run_seed_by_seed_and_are_not_run_again(tiny, tmp_path, ran):
    report = compared(tiny(), tmp_path / "first")
    trd = "trd(variant=regular)"
    assert ran == [("baseline", 0), (trd, 0), ("baseline", 1), (trd, 1)]
    assert [(arm.label, arm.seeds) for arm in report.arms] == [("baseline", (0, 1)), (trd, (0, 1))]
    assert report.unfinished == []
    compared(None, tmp_path / "first")
    compared(tiny(seeds=(0, 1, 2)), tmp_path / "first")
    assert ran[4:] == [("baseline", 2), (trd, 2)]
    assert {path.name for path in (tmp_path / "first").iterdir() if path.is_file()} >= {
        "comparison.json",
        "report.md",
        "report.json",
        "cells.csv",
    }


def test_the_numbers_are_those_of_the_runs(tiny, tmp_path):
    report = compared(tiny(), tmp_path / "first")
    for arm in report.arms:
        results = [
            json.loads((tmp_path / "first" / run.record.path.name / "results.json").read_text()) for run in arm.runs
        ]
        assert arm.last.mean == pytest.approx(sum(result["test"]["last"]["top1"] for result in results) / 2)
        assert arm.flops == sum(result["flops"] for result in results) / 2
    baseline, trd = report.arms
    assert trd.relative_flops == trd.flops / baseline.flops == pytest.approx(0.625, abs=0.05)


def test_a_cell_that_fails_is_told_and_the_others_go_on(tiny, tmp_path, ran, capsys):
    arms = {"plain": {}, "wrong": {"model_options": {"wide": 3}}}
    grid = tiny(curricula=(), arms=arms)
    report = compared(grid, tmp_path / "first", shown=True)
    assert len(ran) == 4
    assert [(arm, cell.cell.seed, cell.status) for arm, cell in report.unfinished] == [
        ("wrong", 0, "failed"),
        ("wrong", 1, "failed"),
    ]
    assert "wrong, seed 0 failed: ModelError" in capsys.readouterr().out
    assert "wide" in report.unfinished[0][1].error
    assert [arm.label for arm in report.arms] == ["plain"]
    compared(grid, tmp_path / "first")
    assert len(ran) == 6  # the failed ones once more


def test_matched_and_conditions_are_run_and_reported(tiny, tmp_path):
    grid = tiny(
        matched=True,
        seeds=(0,),
        target=0.1,
        evaluate=[{"name": "clean"}, {"name": "half", "resolution": 0.5}],
        settings={"epochs": 4},
    )
    report = compared(grid, tmp_path / "first")
    assert [arm.label for arm in report.arms] == ["baseline", "trd(variant=regular)", "baseline, 3 epochs"]
    trd = report.arms[1]
    planned = {cell.fingerprint: cell.flops for arm in report.statement.arms for cell in arm.cells}
    assert all(planned[run.record.path.name.rpartition("-")[2]] == run.flops for arm in report.arms for run in arm.runs)
    assert (trd.at_equal_flops.label, trd.at_equal_flops.flops_ratio) == (
        "baseline, 3 epochs",
        pytest.approx(0.878, abs=0.001),
    )
    assert trd.conditions["clean"].mean == trd.last.mean
    assert set(trd.under_conditions) == {"clean", "half"}
    assert trd.target.seeds == 1
    text = markdown(report)
    assert "## At equal FLOPs" in text
    assert "trd(variant=regular) (0.8" in text  # rounding to whole epochs is off by more than 3 %


def test_a_grid_is_checked_before_anything_runs(tiny, tmp_path, ran):
    with pytest.raises(ComparisonError, match="trd has no parameter"):
        compared(tiny(curricula=("baseline", "trd(x=1)")), tmp_path / "first")
    with pytest.raises(ComparisonError, match="holds no comparison"):
        compared(None, tmp_path / "first")
    assert not (tmp_path / "first").exists()
    assert ran == []


def test_a_run_that_is_not_what_its_name_says_is_refused(tiny, tmp_path):
    report = compared(tiny(seeds=(0,)), tmp_path / "first")
    path = tmp_path / "first" / report.arms[0].runs[0].record.path.name / "recipe.json"
    RunFolder(path.parent).recipe().changed({"optimizer.lr": 0.1}).save(path)
    with pytest.raises(CheckpointError, match="holds another run than its name says"):
        compared(None, tmp_path / "first")


def test_any_executor_gives_the_same_runs(tiny, tmp_path):
    compared(tiny(), tmp_path / "serial")
    with ThreadPoolExecutor(1) as executor:
        report = compared(tiny(), tmp_path / "executed", executor=executor)
    assert report.unfinished == []
    for arm in report.arms:
        for run in arm.runs:
            assert_same_run(tmp_path / "serial" / run.record.path.name, tmp_path / "executed" / run.record.path.name)


class Losing(Executor):
    """Loses the worker of every call at first, `times` times for each cell."""

    def __init__(self, times):
        self.times = times
        self.calls = {}

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        count = self.calls[args[0]] = self.calls.get(args[0], 0) + 1
        if count <= self.times:
            future.set_exception(ConnectionError("node gone"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_cell_whose_worker_was_lost_is_run_again(tiny, tmp_path, capsys):
    executor = Losing(2)
    report = compared(tiny(seeds=(0,)), tmp_path / "first", executor=executor, shown=True)
    assert report.unfinished == []
    assert set(executor.calls.values()) == {3}
    assert "its worker was lost (ConnectionError); it goes on elsewhere" in capsys.readouterr().out


def test_a_cell_that_loses_every_worker_is_given_up(tiny, tmp_path):
    executor = Losing(99)
    report = compared(tiny(seeds=(0,)), tmp_path / "first", executor=executor)
    assert set(executor.calls.values()) == {1 + runner.RETRIES}
    assert [cell.status for _, cell in report.unfinished] == ["failed", "failed"]
    assert "lost 4 times, at last by: node gone" in report.unfinished[0][1].error


class Broken(Executor):
    def submit(self, fn, /, *args, **kwargs):
        raise BrokenProcessPool("a child process terminated abruptly")


def test_an_executor_that_takes_no_more_is_told(tiny, tmp_path):
    with pytest.raises(ComparisonError, match="what is done is kept, and the rest goes on"):
        compared(tiny(), tmp_path / "first", executor=Broken())


def test_ctrl_c_leaves_what_can_be_resumed(tiny, tmp_path, monkeypatch):
    compared(tiny(), tmp_path / "whole")
    real = runner.run_cell

    def interrupted(folder, recipe, **options):
        if recipe["curriculum"] != "baseline":
            raise KeyboardInterrupt
        return real(folder, recipe, **options)

    monkeypatch.setattr(runner, "run_cell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compared(tiny(), tmp_path / "first")
    report = read_report(tmp_path / "first")
    assert [arm.label for arm in report.arms] == ["baseline"]
    monkeypatch.setattr(runner, "run_cell", real)
    report = compared(None, tmp_path / "first")
    for arm in report.arms:
        for run in arm.runs:
            assert_same_run(tmp_path / "whole" / run.record.path.name, tmp_path / "first" / run.record.path.name)


@pytest.fixture
def heard_ctrl_c():
    """Shells have their background jobs ignore Ctrl-C, and all that these start, tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_ctrl_c")
def test_an_executors_waiting_cells_are_cancelled_by_ctrl_c(tiny, tmp_path):
    begun = threading.Event()
    release = threading.Event()

    class Slow(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(lambda: (begun.set(), release.wait(30)))

    def interrupt():
        begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    with Slow(1) as executor:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            compared(tiny(), tmp_path / "first", executor=executor)
        release.set()
