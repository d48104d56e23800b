"""Files are written by time, not by epoch; what is held in memory in between is not lost by a kill."""

import json

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training import run_files, trainer
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.training.run_files import RunFiles


@pytest.fixture
def writings(monkeypatch):
    """What was written, in order: checkpoints by epoch and step, weights by folder and epoch."""
    written = []
    save_checkpoint, save_folder = run_files.save_checkpoint, run_files.save_folder

    def checkpoint(folder, state):
        written.append(("checkpoint", state["epoch"], state["step"]))
        save_checkpoint(folder, state)

    def weights(folder, state, config):
        written.append((folder.name, config["curriculum_zoo"]["epoch"]))
        save_folder(folder, state, config)

    monkeypatch.setattr(run_files, "save_checkpoint", checkpoint)
    monkeypatch.setattr(run_files, "save_folder", weights)
    return written


def ages(monkeypatch, *seconds):
    """Have the files be so old whenever a trainer asks, the last number for good."""
    left = list(seconds)
    monkeypatch.setattr(RunFiles, "age", property(lambda self: left.pop(0) if len(left) > 1 else left[0]))


def test_a_run_of_short_epochs_writes_once(recipe, train, writings):
    train(recipe(epochs=4, validation=0.0))
    assert writings == [("last", 3), ("best", 3), ("checkpoint", 4, 0)]


def test_long_epochs_are_written_each(recipe, train, writings, monkeypatch):
    monkeypatch.setattr(trainer, "WRITING_SECONDS", 0.0)
    train(recipe(epochs=2, validation=0.0))
    assert writings == [("last", 0), ("best", 0), ("checkpoint", 1, 0), ("last", 1), ("best", 1), ("checkpoint", 2, 0)]


def test_within_an_epoch_a_checkpoint_is_written_when_it_is_time(recipe, train, writings, monkeypatch):
    monkeypatch.setattr(trainer, "CHECK_EVERY", 2)
    ages(monkeypatch, 61, 59, 59, 0)  # asked after 2 and 4 steps of 6, and at the epoch's end twice
    train(recipe(epochs=1, validation=0.0), checkpoint_minutes=1)
    assert writings == [("checkpoint", 0, 2), ("last", 0), ("best", 0), ("checkpoint", 1, 0)]


def test_best_weights_that_were_held_are_written_with_what_comes_next(recipe, train, tmp_path, writings, monkeypatch):
    """Epoch 1 is the best one, and nothing is written before the end of epoch 2."""
    figures = iter([0.5, 0.9, 0.7])

    def score(self, network, batches):
        found = measured(self, network, batches)
        return found if self.epoch == 3 else type(found)(**{**vars(found), "top1": next(figures)})

    measured = trainer.Trainer._score
    wanted = recipe(epochs=3)
    monkeypatch.setattr(trainer.Trainer, "_score", score)
    held = train(wanted, "held")
    assert writings == [("last", 2), ("best", 1), ("checkpoint", 3, 0)]
    monkeypatch.setattr(trainer, "WRITING_SECONDS", 0.0)
    figures = iter([0.5, 0.9, 0.7])
    written = train(wanted, "written")
    assert held.best_epoch == written.best_epoch == 1
    for which in ("last", "best"):
        one, other = (load_file(tmp_path / run / which / "model.safetensors") for run in ("held", "written"))
        assert all(torch.equal(one[name], other[name]) for name in one)
        configs = [json.loads((tmp_path / run / which / "config.json").read_text()) for run in ("held", "written")]
        assert configs[0]["curriculum_zoo"]["epoch"] == configs[1]["curriculum_zoo"]["epoch"]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("written", ["nothing", "first epoch", "middle of the third"])
def test_a_kill_while_weights_are_held_loses_nothing(recipe, train, tmp_path, writings, monkeypatch, written):
    wanted = recipe({"epochs": 4, "ema_decay": 0.9})

    class KilledAtTheEnd(Reporter):
        def end_epoch(self, line):
            if line["epoch"] == 2:
                raise Killed

    train(wanted, "whole")
    monkeypatch.setattr(trainer, "CHECK_EVERY", 3)
    # Each epoch asks after 3 steps of 6, at its end, and once more when it is done.
    times = {"nothing": [0], "first epoch": [0, 0, 99, 0], "middle of the third": [0] * 6 + [9999, 0]}[written]
    writings.clear()
    with monkeypatch.context() as patch:
        ages(patch, *times)
        with pytest.raises(Killed):
            train(wanted, "killed", reporter=KilledAtTheEnd())
    checkpoints = [entry[1:] for entry in writings if entry[0] == "checkpoint"]
    assert checkpoints == {"nothing": [], "first epoch": [(1, 0)], "middle of the third": [(2, 3)]}[written]
    train(wanted, "killed", resume=True)
    results = [json.loads((tmp_path / run / "results.json").read_text()) for run in ("whole", "killed")]
    assert results[0]["test"] == results[1]["test"]
    for which in ("last", "best"):
        one, other = (load_file(tmp_path / run / which / "model.safetensors") for run in ("whole", "killed"))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_held_is_a_copy(tmp_path):
    files, weights = RunFiles(RunFolder(tmp_path), "a run"), {"weight": torch.ones(3)}
    files.hold(["last", "best"], weights, {"architecture": "x"})
    weights["weight"].zero_()
    files.write({"epoch": 1}, [])
    for which in ("last", "best"):
        assert torch.equal(load_file(tmp_path / which / "model.safetensors")["weight"], torch.ones(3))


def test_age_counts_from_the_last_writing(tmp_path, monkeypatch):
    clock = iter([100.0, 107.0, 110.0, 114.0])
    monkeypatch.setattr(run_files.time, "monotonic", lambda: next(clock))
    files = RunFiles(RunFolder(tmp_path), "a run")
    assert files.age == 7
    files.write({"epoch": 1}, [])
    assert files.age == 4
