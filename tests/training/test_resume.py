"""A run that is killed, wherever, and resumed ends with the weights of one that was not, bit by bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.cli import main
from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training import environment, trainer
from curriculum_zoo.training.progress import Reporter

MEASURED = {"seconds", "images_per_second", "peak_memory_bytes", "overhead"}

RECIPES = {
    "baseline": {"augmentation.flip": True, "augmentation.crop_padding": 2, "augmentation.cutout": 4},
    "trd": {"curriculum": "trd(variant=regular)", "ema_decay": 0.9, "optimizer.name": "adamw", "optimizer.lr": 0.002},
    "hrt": {
        "curriculum": "hrt(edge_epochs=1)",
        "model": "timm/test_resnet",
        "model_options": {"drop_rate": 0.3},
        "optimizer.name": "adam",
        "optimizer.lr": 0.002,
        "calibrate_batchnorm": 1,
    },
    "rates_by_part": {
        "curriculum": "hrt(edge_epochs=1,freeze=conv2,edge_lr_scales=((conv1,10),(conv2,2)))",
        "optimizer.name": "adam",
        "optimizer.layer_lr": {"conv1": 1e-3, "fc*": 5e-3},
        "optimizer.layer_lr_scale": {"conv2": 0.1},
        "schedule.name": "cosine",
        "schedule.end_lr": 1e-4,
    },
    "fixres": {
        "curriculum": "fixres(tuned_epochs=1)",
        "model": "timm/test_resnet",
        "optimizer.name": "momentum",
        "optimizer.layer_decay": 0.6,
    },
    "progressive_sharpening": {
        "curriculum": "progressive_sharpening(kernels=(5,3,1))",
        "mixing.mixup": 0.4,
        "mixing.cutmix": 1.0,
        "label_smoothing": 0.1,
        "accumulation": 3,
        "best": "loss",
    },
    "glimpses": {
        "model": "glimpse_pyramid_m1",
        "image_size": 28,
        "curriculum": "gradual_levels(levels=2,first=1,shares=(0.34,0.66))",
        "glimpses": {"samples": 2},
        "accumulation": 2,
        "optimizer.name": "adam",
        "optimizer.lr": 0.002,
        "optimizer.layer_lr_scale": {"location": 0.1},
    },
}


class Killed(BaseException):
    """Stands for SIGKILL: no handler for errors may catch it."""


class KilledAt(Reporter):
    """Stops the run right after a step, before any checkpoint of it; after an epoch where the step is None."""

    def __init__(self, epoch, step=None):
        self._moment = (epoch, step)
        self._epoch = 0
        self._step = 0

    def start_epoch(self, epoch, stage, steps, step):
        self._epoch, self._step = epoch, step

    def step(self, images, seconds, figures):
        if (self._epoch, self._step) == self._moment:
            raise Killed
        self._step += 1

    def end_epoch(self, line):
        if (line["epoch"], None) == self._moment:
            raise Killed


def outcome(folder):
    """Everything that a run ends with, but for what a clock measured."""
    weights = {which: load_file(folder / which / "model.safetensors") for which in ("last", "best")}
    metrics = [
        {key: value for key, value in line.items() if key not in MEASURED} for line in RunFolder(folder).metrics()
    ]
    results = (folder / "results.json").read_text().replace(str(folder), "")
    return weights, metrics, [line for line in results.splitlines() if '"seconds"' not in line]


def assert_same_outcome(first, second):
    (weights, metrics, results), (others, other_metrics, other_results) = outcome(first), outcome(second)
    assert metrics == other_metrics
    assert results == other_results
    for which, tensors in weights.items():
        assert tensors.keys() == others[which].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, others[which][name]), f"{which}: {name}"


QUICK = ("trd", "rates_by_part")
"""Recipes whose kills every run of the suite tries; the others are slow."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RECIPES]
)
def test_run_killed_between_steps_resumes_to_the_same_bits(recipe, train, tmp_path, name):
    wanted = recipe({"epochs": 3, **RECIPES[name]})
    train(wanted, "whole")
    for number, moment in enumerate([(0, 0), (0, 4), (1, 0), (1, 5), (1, None), (2, 3)]):
        with pytest.raises(Killed):
            train(wanted, "killed", reporter=KilledAt(*moment), resume=number > 0, checkpoint_minutes=0)
    train(wanted, "killed", resume=True, checkpoint_minutes=0)
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")


def test_run_killed_at_any_file_resumes_to_the_same_bits(recipe, train, tmp_path, monkeypatch):
    wanted = recipe({"batch_size": 144, **RECIPES["trd"]})
    train(wanted, "whole")
    replace, left = os.replace, 0

    def replace_or_die(*args):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        replace(*args)

    monkeypatch.setattr(os, "replace", replace_or_die)
    finished, attempts = False, 0
    while not finished:
        # Each life reaches one file further than the one before.
        left, attempts = attempts, attempts + 1
        started = (tmp_path / "killed" / "recipe.json").exists()
        try:
            train(wanted, "killed", resume=started, checkpoint_minutes=0)
            finished = True
        except Killed:
            assert attempts < 100
    assert attempts > 8
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")


def test_resuming_a_finished_run_changes_nothing_but_mends_its_log(recipe, train, tmp_path):
    wanted = recipe()
    train(wanted, "whole")
    train(wanted, "killed")
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "killed" / "metrics.jsonl").write_text(lines[0])
    (tmp_path / "killed" / "results.json").unlink()
    train(wanted, "killed", resume=True)
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")
    assert (tmp_path / "killed" / "metrics.jsonl").read_text() == "".join(lines)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seed": 7}, r"seed \(0 there, 7 here\)"),
        ({"optimizer.lr": 0.01}, "optimizer"),
        ({"curriculum": "trd", "epochs": 4}, r"curriculum \('baseline' there"),
    ],
)
def test_resume_with_another_recipe_names_what_differs(recipe, train, settings, named):
    wanted = recipe()
    train(wanted)
    with pytest.raises(CheckpointError, match=f"differs in .*{named}"):
        train(wanted.changed(settings), resume=True)


@pytest.fixture
def exchangeable(quadrants, tmp_path):
    """A file of images, and a function that puts others in its place: one pixel is another."""
    path = tmp_path / "images.npz"
    shutil.copy(quadrants, path)

    def exchange():
        arrays = dict(np.load(path))
        arrays["x_train"][0, 0, 0, 0] ^= 1
        np.savez(path, **arrays)

    return path, exchange


@pytest.mark.parametrize("moment", [(0, 2), (1, 3)], ids=["before the first checkpoint", "after it"])
def test_resume_on_other_images_behind_the_same_name_is_refused(recipe, train, tmp_path, exchangeable, moment):
    path, exchange = exchangeable
    wanted = recipe(data=f"npz:{path}")
    with pytest.raises(Killed):
        train(wanted, reporter=KilledAt(*moment), checkpoint_minutes=10 if moment[0] == 0 else 0)
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*.*") if file.suffix != ".lock"}
    assert ((tmp_path / "run" / "checkpoint.pt") in before) is (moment[0] > 0)
    exchange()
    with pytest.raises(CheckpointError, match=r"differs in the images \(\w{8}… there, \w{8}… here\).*--allow-changes"):
        train(wanted, resume=True)
    assert {file: file.read_bytes() for file in before} == before
    train(wanted, resume=True, allow_changes=True)
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    start = f"epoch {moment[0]}, step {moment[1]}" if moment[0] else "the start"
    assert len(facts["changes"]) == 1
    assert facts["changes"][0].startswith(f"from {start} on: the images (")


def test_the_command_line_resumes_on_other_images_where_it_is_told_to(recipe, train, tmp_path, exchangeable, capsys):
    path, exchange = exchangeable
    with pytest.raises(Killed):
        train(recipe(data=f"npz:{path}"), reporter=KilledAt(1, 3), checkpoint_minutes=0)
    exchange()
    command = ["train", "--output", str(tmp_path / "run"), "--device", "cpu", "--resume"]
    assert main(command) == 2
    assert "go on all the same with --allow-changes" in capsys.readouterr().err
    assert main([*command, "--allow-changes"]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_resume_on_the_same_images_in_another_place_goes_on(recipe, train, tmp_path, exchangeable):
    path, _ = exchangeable
    wanted = recipe(data=f"npz:{path}")
    train(wanted, "whole")
    with pytest.raises(Killed):
        train(wanted, "killed", reporter=KilledAt(1, 3), checkpoint_minutes=0)
    arrays = dict(np.load(path))
    path.unlink()
    np.savez_compressed(path, **arrays)
    train(wanted, "killed", resume=True)
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")
    assert "changes" not in json.loads((tmp_path / "killed" / "environment.json").read_text())


@pytest.mark.parametrize("resident", [True, False])
def test_a_folder_of_photographs_that_moved_resumes_from_its_new_place(recipe, train, tmp_path, photographs, resident):
    shutil.copytree(photographs, tmp_path / "old")
    settings = {"image_size": 32, "batch_size": 8, "validation": 0.2, "photos.resident": resident}
    wanted = recipe(data=f"folder:{tmp_path / 'old'}").changed(settings)
    train(wanted, "whole", workers=0)
    with pytest.raises(Killed):
        train(wanted, "killed", reporter=KilledAt(1, 1), checkpoint_minutes=0, workers=0)
    before = (tmp_path / "killed" / "recipe.json").read_bytes()
    moved = wanted.changed({"data": f"folder:{(tmp_path / 'old').rename(tmp_path / 'new')}"})
    spare = next((tmp_path / "new").rglob("*.jpg"))
    spare.rename(tmp_path / "spare.jpg")
    with pytest.raises(CheckpointError, match="differs in the images"):
        train(moved, "killed", resume=True, workers=0)
    assert (tmp_path / "killed" / "recipe.json").read_bytes() == before
    (tmp_path / "spare.jpg").rename(spare)
    train(moved, "killed", resume=True, workers=0)
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")
    assert json.loads((tmp_path / "killed" / "recipe.json").read_text())["data"] == moved.data


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("processes", 2, r"the number of processes \(2 there, 1 here\)"),
        ("split", "a" * 64, r"which of them are held out \(aaaaaaaa… there, \w{8}… here\)"),
        ("in_memory", False, r"whether they are kept in memory \(False there, True here\)"),
        ("pipelines", {"own.json": "b"}, r"the files of photos.train_pipeline and photos.eval_pipeline"),
    ],
)
def test_whatever_must_not_change_is_named(recipe, train, tmp_path, monkeypatch, name, value, words):
    recorded = environment.unchanging

    def as_before(facts):
        return {**recorded(facts), name: value}

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "unchanging", as_before)
        with pytest.raises(Killed):
            train(recipe(), reporter=KilledAt(1, 3), checkpoint_minutes=0)
    with pytest.raises(CheckpointError, match=f"differs in {words}.*--allow-changes"):
        train(recipe(), resume=True)


def test_a_damaged_record_of_the_environment_is_told(recipe, train, tmp_path):
    train(recipe(epochs=1))
    (tmp_path / "run" / "environment.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"environment\.json is damaged"):
        train(recipe(epochs=1), resume=True)


def test_resume_of_no_run_is_refused_and_leaves_nothing(recipe, train, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no run.*without --resume"):
        train(recipe(), resume=True)
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys
from pathlib import Path
from curriculum_zoo.training import train
from curriculum_zoo.recipes import load_recipe
from curriculum_zoo.training.progress import Reporter

class Loud(Reporter):
    def start(self, recipe, folder, epoch):
        print("training", flush=True)

folder = Path(sys.argv[2])
resume = (folder / "recipe.json").exists()
train(load_recipe(sys.argv[1]), output=folder, device="cpu", resume=resume, checkpoint_minutes=0, reporter=Loud())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trd", "rates_by_part"])
def test_process_killed_at_random_moments_resumes_to_the_same_bits(recipe, train, tmp_path, name):
    wanted = recipe({**RECIPES[name], "epochs": 6})
    train(wanted, "whole")
    wanted.save(tmp_path / "recipe.json")
    generator, kills, returned = random.Random(11), 0, None
    while returned != 0:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "recipe.json"), str(tmp_path / "killed")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "training\n"
            time.sleep(generator.uniform(0.05, 0.8 + 0.6 * kills))
            process.send_signal(signal.SIGKILL)
            returned = process.wait()
        assert returned in (0, -signal.SIGKILL)
        kills += returned != 0
        assert kills < 40
    assert kills >= 2
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")
