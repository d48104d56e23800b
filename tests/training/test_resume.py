"""A run that is killed, wherever, and resumed ends with the weights of one that was not, bit by bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.training.run_folder import RunFolder

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


@pytest.mark.parametrize("name", RECIPES)
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
        ({"curriculum": "trd", "epochs": 4}, r"curriculum .* epochs \(2 there, 4 here\)"),
    ],
)
def test_resume_with_another_recipe_names_what_differs(recipe, train, settings, named):
    wanted = recipe()
    train(wanted)
    with pytest.raises(CheckpointError, match=f"differs in .*{named}"):
        train(wanted.changed(settings), resume=True)


def test_resume_of_no_run_is_refused_and_leaves_nothing(recipe, train, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no run.*without --resume"):
        train(recipe(), resume=True)
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys
from pathlib import Path
from curriculum_zoo.training import load_recipe, train
from curriculum_zoo.training.progress import Reporter

class Loud(Reporter):
    def start(self, recipe, folder, epoch):
        print("training", flush=True)

folder = Path(sys.argv[2])
resume = (folder / "recipe.json").exists()
train(load_recipe(sys.argv[1]), output=folder, device="cpu", resume=resume, checkpoint_minutes=0, reporter=Loud())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trd", "hrt"])
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
