"""Several processes share a training: they end, together, with the weights that one process ends with."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file


def launched(recipe, tmp_path, processes):
    """The weights and metrics of a run of so many processes."""
    recipe.save(tmp_path / "recipe.json")
    folder = tmp_path / f"run{processes}"
    # On CPUs "accelerate launch" starts one process, however many it is asked for.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    program = ["curriculum_zoo", "train", "--recipe", str(tmp_path / "recipe.json")]
    program += ["--output", str(folder), "--device", "cpu"]
    command = [sys.executable, *(launch if processes > 1 else ["-m"]), *program]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stderr
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["processes"] == processes
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return load_file(folder / "last" / "model.safetensors"), lines, finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation.flip": True, "augmentation.crop_padding": 2, "accumulation": 2},
        {"curriculum": "hrt(edge_epochs=1,freeze=conv2)", "optimizer.name": "adamw", "optimizer.lr": 0.002},
    ],
    ids=["baseline", "hrt"],
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
    assert shown.count("epoch 2/2") == 1


@pytest.mark.slow
def test_three_processes_agree_on_calibrated_running_statistics(recipe, tmp_path):
    wanted = recipe({"model": "timm/test_resnet", "curriculum": "hrt(edge_epochs=1)", "calibrate_batchnorm": 1})
    shared, lines, _ = launched(wanted, tmp_path, 3)
    assert int(shared["bn1.num_batches_tracked"]) == 1
    assert lines[-1]["validation_loss"] < 2
