"""Processes that share a training of glimpses: no rank waits for another, and all end with the same state."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
from pathlib import Path

import torch

from curriculum_zoo.recipes import load_recipe
from curriculum_zoo.training import run_files, trainer as module
from curriculum_zoo.training.glimpse_rule import GlimpseRule
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training.prepare import prepare

run_files.draw_curves = lambda metrics, path, title: None
folder = Path(sys.argv[2])
prepared = prepare(load_recipe(sys.argv[1]), device="cpu")
rank = prepared.accelerator.process_index
own = []
call, choose = GlimpseRule.__call__, prepared.objective._how

def keep(self, *args):
    outcome = call(self, *args)
    own.append({name: value.item() for name, value in outcome.figures.items()})
    return outcome

GlimpseRule.__call__ = keep
if rank == 1 and sys.argv[3] == "blind":
    prepared.objective._how = {**choose, "attend": lambda p, level: torch.zeros_like(p, dtype=torch.bool)}
if rank == 0:
    folder.mkdir()
prepared.accelerator.wait_for_everyone()
trainer = module.Trainer(prepared, RunFolder(folder), Reporter())
trainer.run()
weights = [parameter.double().sum().item() for parameter in prepared.network.parameters()]
baselines = {levels: value.item() for levels, value in prepared.objective.baselines.items()}
told = {"figures": own, "baselines": baselines, "weights": weights, "metrics": trainer.metrics}
(folder / f"rank{rank}.json").write_text(json.dumps(told))
# A rank that ends while the other still talks to it, or while anything holds the group, would be aborted by Gloo.
accelerator = prepared.accelerator
accelerator.wait_for_everyone()
GlimpseRule.__call__ = call
del trainer, prepared, choose
accelerator.free_memory()
accelerator.end_training()
"""


def launched(recipe, tmp_path, how):
    """What each of two processes tells at the end of a run."""
    recipe.save(tmp_path / "recipe.json")
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [str(tmp_path / "program.py"), str(tmp_path / "recipe.json"), str(tmp_path / "run"), how]
    command = [sys.executable, *launch, *program]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stderr
    return [json.loads((tmp_path / "run" / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("curriculum", "how"),
    [
        ("gradual_levels(levels=2,first=1)", "sees"),
        ("baseline", "blind"),
        ("gradual_levels(levels=2,level_weights=(1,1))", "blind"),
    ],
)
def test_ranks_agree_on_weights_and_baseline_whatever_each_attends(recipe, tmp_path, curriculum, how):
    wanted = recipe(
        {
            "model": "glimpse_pyramid_m1",
            "image_size": 28,
            "curriculum": curriculum,
            "glimpses": {"lambda_f": 1.0},
            "accumulation": 2,
            "optimizer.name": "adam",
            "optimizer.lr": 0.005,
        }
    )
    first, second = launched(wanted, tmp_path, how)
    assert first["weights"] == second["weights"]
    assert first["baselines"] == second["baselines"]
    assert [line["flops"] for line in first["metrics"]] == [line["flops"] for line in second["metrics"]]
    name, expected = "log_likelihood_2", None
    # Each batch of 48 is two parts on each of two ranks; the baseline moves by the mean of all four.
    parts = [[step for step in rank["figures"] if name in step] for rank in (first, second)]
    assert len(parts[0]) == len(parts[1]) == (12 if "first=1" in curriculum else 24)
    for one, two, three, four in zip(*(rank[part::2] for rank in parts for part in (0, 1)), strict=True):
        mean = sum(step[name] for step in (one, two, three, four)) / 4
        expected = mean if expected is None else 0.9 * expected + 0.1 * mean
    assert first["baselines"]["2"] == pytest.approx(expected, rel=1e-5)
    if how == "blind":
        assert {step["attended"] for step in parts[1]} == {0.0}
        assert max(step["attended"] for step in parts[0]) > 1
