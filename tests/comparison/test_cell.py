"""One cell: run again it goes on, it fails alone, and what is there is left as it is."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from same_runs import assert_same_run

from curriculum_zoo.comparison import cell as cells
from curriculum_zoo.comparison.cell import forget_data, open_once, run_cell
from curriculum_zoo.comparison.conditions import evaluate_missing, read_evaluations, seen_under
from curriculum_zoo.comparison.grid import Condition
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.registry import Entry
from curriculum_zoo.views import GaussianBlur

pytestmark = pytest.mark.usefixtures("fast")


@pytest.fixture
def recipe(quadrants):
    base = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=2, batch_size=48)
    return base.changed({"optimizer.lr": 0.05}).to_dict()


@pytest.fixture(autouse=True)
def _closed():
    forget_data()
    yield
    forget_data()


KILLED = """
    import json, os, signal, sys
    from curriculum_zoo.comparison.cell import run_cell
    from curriculum_zoo.training import progress

    class Killed(progress.Reporter):
        steps = 0
        def step(self, images, seconds, figures):
            self.steps += 1
            if self.steps == 8:
                os.kill(os.getpid(), signal.SIGKILL)

    progress.make_reporter = lambda shown: Killed()
    run_cell(sys.argv[1], json.loads(sys.argv[2]), device="cpu", checkpoint_minutes=0)
"""


@pytest.mark.slow
def test_a_cell_whose_process_was_killed_goes_on_to_the_same_bits(recipe, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), json.dumps(recipe)]
    assert subprocess.run(command, timeout=300, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    assert run_cell(str(tmp_path / "killed"), recipe, device="cpu")
    assert run_cell(str(tmp_path / "whole"), recipe, device="cpu")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_finished_cell_is_left_as_it_is(recipe, tmp_path):
    assert run_cell(str(tmp_path / "run"), recipe, device="cpu")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert run_cell(str(tmp_path / "run"), recipe, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_failure_is_written_down_and_gone_once_the_cell_succeeds(recipe, tmp_path, monkeypatch):
    broken = {**recipe, "model": "timm/test_resnet", "model_options": {"wide": 3}}
    assert not run_cell(str(tmp_path / "run"), broken, device="cpu")
    failure = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert failure["error"] == "ModelError"
    assert "wide" in failure["message"]
    assert failure["traceback"] == ""
    assert run_cell(str(tmp_path / "run"), recipe, device="cpu")
    assert not (tmp_path / "run" / "failure.json").exists()

    def unforeseen(*_, **__):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(cells, "_train", unforeseen)
    assert not run_cell(str(tmp_path / "other"), recipe, device="cpu")
    failure = json.loads((tmp_path / "other" / "failure.json").read_text())
    assert (failure["error"], failure["message"]) == ("ZeroDivisionError", "by nothing")
    assert "in unforeseen" in failure["traceback"]


def test_the_end_of_a_process_that_is_still_at_work_on_the_cell_is_awaited(recipe, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    ends = []
    monkeypatch.setattr(cells, "_train", lambda *_: ends.append("second"))
    with FileLock(tmp_path / "run" / cells.LOCK):
        second = threading.Thread(target=run_cell, args=(str(tmp_path / "run"), recipe))
        second.start()
        second.join(0.5)
        ends.append("first")
    second.join(60)
    assert ends == ["first", "second"]


def test_ctrl_c_is_no_failure(recipe, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(str(tmp_path / "run"), recipe, device="cpu")
    assert not (tmp_path / "run" / "failure.json").exists()


def test_data_is_opened_once_in_a_process(recipe, monkeypatch):
    opened = []
    build = Entry.build
    monkeypatch.setattr(Entry, "build", lambda *args, **options: opened.append(1) or build(*args, **options))
    first, second = (Recipe.from_dict({**recipe, "curriculum": name}) for name in ("baseline", "trd"))
    assert open_once(first) is open_once(second)
    assert len(opened) == 1
    assert open_once(first.changed({"image_size": 8})).image_size == (8, 8)


def test_relative_paths_start_where_the_comparison_was_started(recipe, quadrants, tmp_path):
    relative = {**recipe, "data": f"npz:{quadrants.name}"}
    assert run_cell(str(tmp_path / "run"), relative, device="cpu", directory=str(quadrants.parent))
    assert os.getcwd() != str(quadrants.parent)


# Conditions

CLEAN, HALF, SMALL = (
    Condition(name="clean"),
    Condition(name="half", resolution=0.5),
    Condition(name="small", resolution=8),
)


def test_conditions_are_evaluated_once_each(recipe, tmp_path):
    run = tmp_path / "run"
    conditions = [CLEAN.to_dict(), HALF.to_dict()]
    assert run_cell(str(run), recipe, device="cpu", conditions=conditions)
    clean, half = read_evaluations(run)
    results = json.loads((run / "results.json").read_text())
    assert clean["scores"] == results["test"]["last"]
    assert (half["condition"], half["which"]) == (HALF.to_dict(), "last")
    before = (run / "evaluations.json").stat().st_mtime_ns
    assert run_cell(str(run), recipe, device="cpu", conditions=conditions)
    assert (run / "evaluations.json").stat().st_mtime_ns == before
    assert run_cell(str(run), recipe, device="cpu", conditions=[*conditions, SMALL.to_dict()])
    small = read_evaluations(run)[-1]
    assert small["scores"] == half["scores"]  # 8 px are half of 16


def test_a_condition_that_says_something_else_is_evaluated_again(recipe, tmp_path):
    run = tmp_path / "run"
    assert run_cell(str(run), recipe, device="cpu", conditions=[HALF.to_dict()])
    changed = {**HALF.to_dict(), "resolution": 0.75}
    assert run_cell(str(run), recipe, device="cpu", conditions=[changed])
    assert [line["condition"] for line in read_evaluations(run)] == [changed]
    data = open_once(Recipe.from_dict(recipe))
    evaluate_missing(run, [changed], data=data, which="best", device="cpu")
    assert [line["which"] for line in read_evaluations(run)] == ["last", "best"]


def test_an_evaluation_that_fails_leaves_the_trained_cell(recipe, tmp_path):
    wrong = {**CLEAN.to_dict(), "name": "too small", "resolution": 1}
    assert not run_cell(str(tmp_path / "run"), recipe, device="cpu", conditions=[wrong])
    assert (tmp_path / "run" / "results.json").exists()
    message = json.loads((tmp_path / "run" / "failure.json").read_text())["message"]
    assert "cannot take images of 1 px, as condition 'too small' shows them" in message


def test_conditions_show_what_they_say():
    images = torch.rand(3, 1, 16, 16)
    numbers = torch.arange(3)

    def seen(**fields):
        return seen_under(Condition(name="x", **fields), images, numbers, 16)

    assert seen() is images
    assert seen(resolution=0.5).shape[-2:] == (8, 8)
    assert seen(resolution=20).shape[-2:] == (20, 20)
    smaller, back = seen(resolution=8), seen(resolution=8, enlarge=True)
    assert torch.equal(back, F.interpolate(smaller, size=(16, 16), mode="bilinear", antialias=True))
    assert torch.equal(seen(blur=1.5), GaussianBlur(1.5)(images))
    assert torch.equal(
        seen(blur=1.5, resolution=8), F.interpolate(seen(blur=1.5), size=8, mode="bilinear", antialias=True)
    )


def test_an_image_is_corrupted_alike_in_every_batch_and_for_every_network():
    images = torch.rand(5, 3, 16, 16)
    noisy = Condition(name="noise", corruption="gaussian_noise", severity=5)
    together = seen_under(noisy, images, torch.arange(5), 16)
    apart = [seen_under(noisy, images[number : number + 1], torch.tensor([number]), 16) for number in range(5)]
    assert torch.equal(together, torch.cat(apart))
    assert not torch.equal(together, images)
