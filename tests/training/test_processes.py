"""Several processes share a training: they end, together, with the weights that one process ends with."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.runs.record import RunRecord

MEASURED = {"seconds", "images_per_second", "peak_memory_bytes", "overhead"}

# A training that ends, as if killed, right after a step of the second epoch: argv is recipe, folder, step, options.
PROGRAM = """
import json, os, sys
from curriculum_zoo.cli.train import _end_together
from curriculum_zoo.recipes import load_recipe
from curriculum_zoo.training import train
from curriculum_zoo.training.progress import Reporter

class Ends(Reporter):
    def start_epoch(self, epoch, stage, steps, step):
        self.at = [epoch, step]

    def step(self, images, seconds, figures):
        self.at[1] += 1
        if self.at == [1, int(sys.argv[3])]:
            os._exit(9)

options = json.loads(sys.argv[4])
train(load_recipe(sys.argv[1]), output=sys.argv[2], device="cpu", checkpoint_minutes=0, reporter=Ends(), **options)
_end_together()
"""


def run(processes, *program, cwd):
    """Run ``python *program`` in so many processes."""
    # On CPUs "accelerate launch" starts one process, however many it is asked for.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), *program]
    environment = {**os.environ, "TORCHELASTIC_ERROR_FILE": str(cwd / "error.json")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)


def launched(recipe, tmp_path, processes):
    """The weights and metrics of a run of so many processes."""
    recipe.save(tmp_path / "recipe.json")
    folder = tmp_path / f"run{processes}"
    program = ["-m", "curriculum_zoo", "train", "--recipe", str(tmp_path / "recipe.json")]
    finished = run(processes, *program, "--output", str(folder), "--device", "cpu", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    record = RunRecord.read(folder)
    assert record.environment["processes"] == processes
    return load_file(folder / "last" / "model.safetensors"), record.metrics, finished.stdout


def trained(recipe, tmp_path, name, processes, ends_at=99, **options):
    """Train in so many processes, to the end or up to a step of the second epoch; what they said."""
    recipe.save(tmp_path / "recipe.json")
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = ["program.py", "recipe.json", name, str(ends_at), json.dumps(options)]
    finished = run(processes, *arguments, cwd=tmp_path)
    assert (finished.returncode == 0) is (ends_at == 99) or options.get("refused"), finished.stderr
    return finished


def outcome(folder):
    """Weights, lines and test figures of a run, but for what a clock measured."""
    record = RunRecord.read(folder)
    weights = {which: load_file(folder / which / "model.safetensors") for which in ("last", "best")}
    lines = [{name: value for name, value in line.items() if name not in MEASURED} for line in record.metrics]
    return weights, lines, record.finished_results().test


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation.flip": True, "augmentation.crop_padding": 2, "accumulation": 2},
        {"curriculum": "hrt(edge_epochs=1,freeze=conv2)", "optimizer.name": "adamw", "optimizer.lr": 0.002},
        {"mixing.mixup": 0.4, "mixing.cutmix": 1.0, "ema_decay": 0.9},
        {"curriculum": "low_frequency(sizes=(0.5,1.0),augment_strength=(9,9),scale_batch=true)", "epochs": 6},
        {"curriculum": "trd(variant=batch)"},
    ],
    ids=["baseline", "hrt", "mixing", "augmentation that grows", "reduced shares"],
)
def test_two_processes_end_with_the_weights_of_one(recipe, tmp_path, settings):
    wanted = recipe(settings)
    alone, lines_alone, _ = launched(wanted, tmp_path, 1)
    shared, lines_shared, shown = launched(wanted, tmp_path, 2)
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-3, atol=1e-4)
    for one, two in zip(lines_alone, lines_shared, strict=True):
        assert two["flops"] == one["flops"]
        for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            assert two[key] == pytest.approx(one[key], rel=1e-3, abs=2e-3), key
    epochs = wanted.epochs
    assert shown.count(f"epoch {epochs}/{epochs}") == 1


@pytest.mark.slow
def test_three_processes_agree_on_calibrated_running_statistics(recipe, tmp_path):
    wanted = recipe({"model": "timm/test_resnet", "curriculum": "hrt(edge_epochs=1)", "calibrate_batchnorm": 1})
    shared, lines, _ = launched(wanted, tmp_path, 3)
    assert int(shared["bn1.num_batches_tracked"]) == 1
    assert lines[-1]["validation_loss"] < 2


@pytest.mark.slow
def test_two_processes_that_are_killed_resume_to_the_same_bits_and_others_only_where_allowed(recipe, tmp_path):
    wanted = recipe({"curriculum": "trd(variant=regular)", "mixing.mixup": 0.4, "ema_decay": 0.9})
    trained(wanted, tmp_path, "whole", 2)
    trained(wanted, tmp_path, "killed", 2, ends_at=4)
    # What both did of the epoch is in the checkpoint: 24 images a step each, 3 steps.
    totals = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["totals"]
    assert [part["images"] for part in totals] == [72, 72]
    assert totals[0]["loss"] != totals[1]["loss"]
    trained(wanted, tmp_path, "killed", 2, resume=True)
    weights, lines, test = outcome(tmp_path / "whole")
    others, other_lines, other_test = outcome(tmp_path / "killed")
    assert lines == other_lines
    assert test == other_test
    for which, tensors in weights.items():
        assert all(torch.equal(tensor, others[which][name]) for name, tensor in tensors.items())

    trained(wanted, tmp_path, "moved", 2, ends_at=4)
    wanted.save(tmp_path / "recipe.json")
    refused = run(1, "program.py", "recipe.json", "moved", "99", json.dumps({"resume": True}), cwd=tmp_path)
    assert "differs in the number of processes (2 there, 1 here)" in refused.stderr
    trained(wanted, tmp_path, "moved", 1, resume=True, allow_changes=True)
    moved, moved_lines, _ = outcome(tmp_path / "moved")
    for name, tensor in weights["last"].items():
        torch.testing.assert_close(moved["last"][name], tensor, rtol=1e-3, atol=1e-4)
    for one, two in zip(lines, moved_lines, strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert two["flops"] == one["flops"]


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_all_of_them_with_the_same_words(recipe, tmp_path):
    wanted = recipe(epochs=1)
    trained(wanted, tmp_path, "run", 1)
    program = ["-m", "curriculum_zoo", "train", "--recipe", "recipe.json", "--output", "run", "--device", "cpu"]
    refused = run(2, *program, cwd=tmp_path)
    assert refused.returncode != 0
    assert refused.stderr.count("run holds a run already") == 2


# One process of a training is killed right after a step of the second epoch: argv is recipe, folder, and a file of the
# instant.
ONE_KILLED = """
import os, signal, sys, time
from pathlib import Path
from curriculum_zoo.recipes import load_recipe
from curriculum_zoo.training import train
from curriculum_zoo.training.progress import Reporter

class Ends(Reporter):
    def start_epoch(self, epoch, stage, steps, step):
        self.at = [epoch, step]

    def step(self, images, seconds, figures):
        self.at[1] += 1
        if self.at == [1, 3] and os.environ["RANK"] == "1":
            Path(sys.argv[3]).write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

train(load_recipe(sys.argv[1]), output=sys.argv[2], device="cpu", checkpoint_minutes=0, reporter=Ends())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_where_one_process_is_killed_the_others_end_within_a_minute_and_the_run_resumes(recipe, tmp_path):
    wanted = recipe({"curriculum": "trd(variant=regular)"})
    trained(wanted, tmp_path, "whole", 2)
    (tmp_path / "one_killed.py").write_text(ONE_KILLED)
    ended = run(2, "one_killed.py", "recipe.json", "killed", "instant", cwd=tmp_path)
    assert ended.returncode != 0
    assert time.time() - float((tmp_path / "instant").read_text()) < 60
    assert "Another process of this training was lost" in ended.stderr
    trained(wanted, tmp_path, "killed", 2, resume=True)
    (weights, lines, test), (others, other_lines, other_test) = (
        outcome(tmp_path / "whole"),
        outcome(tmp_path / "killed"),
    )
    assert (lines, test) == (other_lines, other_test)
    for which, tensors in weights.items():
        assert all(torch.equal(tensor, others[which][name]) for name, tensor in tensors.items())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGTERM")
def test_a_signal_to_one_process_ends_all_of_them_with_one_checkpoint(recipe, tmp_path):
    wanted = recipe({"curriculum": "trd(variant=regular)"})
    trained(wanted, tmp_path, "whole", 2)
    program = ONE_KILLED.replace("SIGKILL", "SIGTERM").replace("checkpoint_minutes=0, ", "")
    (tmp_path / "one_asked.py").write_text(program)
    ended = run(2, "one_asked.py", "recipe.json", "asked", "instant", cwd=tmp_path)
    assert "TrainingInterrupted: Training was interrupted by SIGTERM at epoch 1, step" in ended.stderr
    assert torch.load(tmp_path / "asked" / "checkpoint.pt", weights_only=True)["epoch"] == 1
    trained(wanted, tmp_path, "asked", 2, resume=True)
    (weights, lines, test), (others, other_lines, other_test) = outcome(tmp_path / "whole"), outcome(tmp_path / "asked")
    assert (lines, test) == (other_lines, other_test)
    assert all(torch.equal(tensor, others["last"][name]) for name, tensor in weights["last"].items())
