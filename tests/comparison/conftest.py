"""Comparisons of a second, on the images of the `quadrants` fixture, and run folders that nothing trained."""

import json
from pathlib import Path

import pytest

from curriculum_zoo.comparison import writing
from curriculum_zoo.comparison.arms import cells_of, stated_arms
from curriculum_zoo.comparison.folder import ComparisonFolder
from curriculum_zoo.comparison.grid import Grid
from curriculum_zoo.registry import CURRICULA
from curriculum_zoo.training import run_files


@pytest.fixture
def tiny(quadrants):
    """``tiny(field=value)``: a grid of two curricula and two seeds, each run 2 epochs of 5 steps."""

    def make(**fields):
        recipe = {
            "model": "simple_cnn",
            "data": f"npz:{quadrants}",
            "epochs": 2,
            "batch_size": 48,
            "optimizer": {"lr": 0.05},
        }
        shared = {"recipe": recipe, "curricula": ("baseline", "trd(variant=regular)"), "seeds": (0, 1)}
        return Grid.from_dict({**shared, **fields})

    return make


@pytest.fixture
def fast(monkeypatch):
    """Neither runs of this process nor reports leave figures, whose drawing takes longer than the runs do."""
    monkeypatch.setattr(run_files, "draw_curves", lambda metrics, path, title: Path(path).touch())
    monkeypatch.setattr(writing, "draw_figures", lambda report, folder: [])


@pytest.fixture
def clean_registry():
    """Forget afterwards what a test registers."""
    before = dict(CURRICULA._session)
    yield
    CURRICULA._session.clear()
    CURRICULA._session.update(before)


@pytest.fixture
def fabricated(tmp_path):
    """``fabricated(grid, values, arms)``: a comparison's folder whose runs have the given test accuracies.

    ``values[label][seed]`` is the last epoch's accuracy, or an error for a run that failed, or None for one not begun.
    The best epoch is the first one, 1 point better; the FLOPs of an epoch are 1e9 times `costs[label]`.
    """

    def make(grid, values, arms=None, costs=None, under=None):
        place = ComparisonFolder(tmp_path / "comparison")
        arms = arms or stated_arms(grid)
        place.state(grid)
        place.plan(arms, {})
        for arm in arms:
            for cell in cells_of([arm]):
                value = values[arm.label].get(cell.seed)
                if value is not None:
                    fabricate(place.run_folder(cell), cell.recipe, value, (costs or {}).get(arm.label, 1.0))
                if under and isinstance(value, float):
                    write_evaluations(place.run_folder(cell), grid, under(arm.label, cell.seed))
        return place.path

    return make


def fabricate(folder, recipe, value, cost):
    folder.mkdir(parents=True)
    recipe.save(folder / "recipe.json")
    if isinstance(value, str):
        (folder / "failure.json").write_text(json.dumps({"error": "TrainingError", "message": value}))
        return
    lines = [
        {
            "epoch": epoch,
            "stage": "full",
            "validation_accuracy": value * (epoch + 1) / recipe.epochs,
            "flops": int(1e9 * cost * (epoch + 1)),
            "seconds": 2.0 * (epoch + 1),
            "peak_memory_bytes": 2**20 * (epoch + 1),
        }
        for epoch in range(recipe.epochs)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = {
        "test": {"last": {"top1": value}, "best": {"top1": value + 0.01}},
        "best_epoch": 0,
        "flops": lines[-1]["flops"],
        "relative_flops": cost,
        "seconds": lines[-1]["seconds"],
    }
    (folder / "results.json").write_text(json.dumps(results))


def write_evaluations(folder, grid, values):
    lines = [
        {"condition": condition.to_dict(), "which": grid.figure, "scores": {"top1": values[condition.name]}}
        for condition in grid.evaluate
    ]
    (folder / "evaluations.json").write_text(json.dumps(lines))
