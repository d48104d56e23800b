"""Trainings of a fraction of a second, on the images of the `quadrants` fixture."""

from pathlib import Path

import pytest

from curriculum_zoo.recipes import Recipe
from curriculum_zoo.registry import CURRICULA, MODELS
from curriculum_zoo.training import engine, run_files
from curriculum_zoo.training.progress import Reporter


@pytest.fixture
def recipe(quadrants):
    """``recipe(field=value)`` or ``recipe({"nested.field": value})``: 2 epochs of simple_cnn, 6 steps each."""

    def make(settings=None, **fields):
        base = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=2, batch_size=48)
        return base.changed({"optimizer.lr": 0.05, **(settings or {}), **fields})

    return make


@pytest.fixture
def train(tmp_path, monkeypatch):
    """``train(recipe, "folder")``: run it, in silence and without its figure, whose drawing takes longer."""
    monkeypatch.setattr(run_files, "draw_curves", lambda metrics, path, title: Path(path).touch())

    def run(recipe, folder="run", **how):
        how = {"device": "cpu", "reporter": Reporter(), **how}
        return engine.train(recipe, output=tmp_path / folder, **how)

    return run


@pytest.fixture
def clean_registry():
    """Forget afterwards what a test registers."""
    before = {registry: dict(registry._session) for registry in (MODELS, CURRICULA)}
    yield
    for registry, entries in before.items():
        registry._session.clear()
        registry._session.update(entries)
