"""Several processes compute the gradients that one does, for every curriculum and whatever else a step is made of."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

PROGRAM = """
import json, sys
from pathlib import Path

import numpy as np
import torch

from curriculum_zoo.recipes import Recipe
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.training.train_step import TrainStep
from curriculum_zoo.training.trainer import Trainer

class Stop(Exception):
    pass

def stop(self):
    raise Stop

TrainStep._step_optimizer = stop
backward = TrainStep._backward
def in_double_precision(self, images, targets, *rest):
    # In float32 sums of other parts round otherwise, by up to 2e-6 where the glimpse rule subtracts near equals.
    targets = targets.double() if targets.is_floating_point() else targets
    return backward(self, images.double(), targets, *rest)
TrainStep._backward = in_double_precision
torch.set_num_threads(1)
cases, out, found = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), {}
for name, values in cases.items():
    parts = prepare(Recipe.from_dict(values), device="cpu", workers=1)
    parts.network.double()
    if hasattr(parts.objective, "_how"):  # chance is drawn by process: here the network's probabilities decide
        parts.objective._how = {**parts.objective._how, "attend": lambda p, level: p > p.median()}
    trainer = Trainer(parts, RunFolder(out), Reporter())
    seen = set()
    for epoch in range(parts.recipe.epochs):
        stage = parts.curriculum.stage(epoch)
        if stage.name in seen:
            continue
        seen.add(stage.name)
        trainer.epoch, trainer.step, trainer._totals = epoch, 0, None
        batches = trainer._pipeline
        def noting(batch, *rest):
            found[f"{name}|{stage.name}|numbers"] = batch.numbers.numpy()
            return batches(batch, *rest)
        trainer._pipeline = noting
        try:
            trainer._train_epoch(stage)
        except Stop:
            pass
        trainer._pipeline = batches
        gradients = [p.grad.flatten() for p in parts.network.parameters() if p.grad is not None]
        found[f"{name}|{stage.name}|gradients"] = torch.cat(gradients).numpy()
        trainer.train_step.optimizer.zero_grad(set_to_none=True)
    parts.loaders.close()
rank = parts.accelerator.process_index
np.savez(out / f"{parts.accelerator.num_processes}-{rank}.npz", **found)
accelerator = parts.accelerator
accelerator.wait_for_everyone()
del parts, trainer, batches, gradients
accelerator.free_memory()  # whatever still holds the group at the end has Gloo abort the process
accelerator.end_training()
"""

CASES = {
    "baseline": {"augmentation.flip": True, "augmentation.crop_padding": 2, "accumulation": 2},
    "trd": {"curriculum": "trd(variant=regular)", "epochs": 4},
    "trd by batch": {"curriculum": "trd"},
    "progressive_sharpening": {"curriculum": "progressive_sharpening(kernels=(5,3,1))", "epochs": 3},
    "low_frequency": {
        "curriculum": "low_frequency(sizes=(0.5,1.0),augment_strength=(9,9),scale_batch=true)",
        "epochs": 6,
    },
    "progressive_resizing": {"curriculum": "progressive_resizing", "epochs": 6},
    "hrt": {"curriculum": "hrt(edge_epochs=1,freeze=conv2)"},
    "mixing": {"mixing.mixup": 0.4, "mixing.cutmix": 1.0, "label_smoothing": 0.1},
    "photographs": {"curriculum": "trd", "photos.resident": False, "image_size": 16},
}
# What is computed of a batch as a whole, BatchNorm's statistics and the glimpse rule's mean counts, each process
# computes of its own share, as one process does that computes the batch in as many parts.
BY_SHARE = {
    "BatchNorm": {"model": "timm/test_resnet", "curriculum": "hrt(edge_epochs=1)"},
    "freeze": {"model": "timm/test_resnet", "curriculum": "freeze(depth=(0,0.5),frozen_epochs=1)"},
    "fixres": {"model": "timm/test_resnet", "curriculum": "fixres(tuned_epochs=1)"},
    "glimpses": {
        "model": "glimpse_pyramid_m1",
        "image_size": 28,
        "curriculum": "gradual_levels(levels=2,first=1)",
        "glimpses": {"samples": 2, "lambda_f": 1.0},
    },
}


@pytest.fixture
def recipes(recipe, tmp_path):
    """The recipes of all cases, for so many processes against one, keyed by name."""
    folder = tmp_path / "photographs"
    generator = np.random.default_rng(0)
    for number in range(130):
        for part in ("train", "test") if number < 12 else ("train",):
            path = folder / part / f"class{number % 4}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(path)

    def make(parts):
        made = {name: recipe(settings) for name, settings in CASES.items()}
        made |= {name: recipe({**settings, "accumulation": parts}) for name, settings in BY_SHARE.items()}
        made["photographs"] = made["photographs"].changed({"data": f"folder:{folder}"})
        return {name: one.to_dict() for name, one in made.items()}

    return make


def gradients(cases, tmp_path, processes):
    """What each of so many processes computed, and the numbers of the images that it saw."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), "program.py", "cases.json", "."]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return [dict(np.load(tmp_path / f"{processes}-{rank}.npz")) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_the_first_gradients_of_every_stage_are_those_of_one_process(recipes, tmp_path, processes):
    [alone] = gradients(recipes(processes), tmp_path, 1)
    ranks = gradients(recipes(1), tmp_path, processes)
    assert {name.partition("|")[0] for name in alone} == {*CASES, *BY_SHARE}
    worst = {}
    for name, expected in alone.items():
        shares = [rank[name] for rank in ranks]
        if name.endswith("numbers"):
            assert sorted(np.concatenate(shares)) == sorted(expected), name
            assert len(np.unique(expected)) == len(expected)
            continue
        for share in shares:
            error = np.linalg.norm(share.astype(float) - expected) / np.linalg.norm(expected)
            worst[name] = max(worst.get(name, 0.0), float(error))
    assert max(worst.values()) < 1e-6, worst
