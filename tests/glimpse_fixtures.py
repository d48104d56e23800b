"""A glimpse pyramid with weights of its own, and a data set that is drawn anew at every load."""

import numpy as np
import pytest
import torch

from curriculum_zoo.data import ImageSet
from curriculum_zoo.data.sets.canvas import Canvas
from curriculum_zoo.registry import DATASETS

CLASSES = ("top left", "top right", "bottom left", "bottom right")


@pytest.fixture(scope="session")
def pyramid(shared_folder):
    """The folder of an untrained M1 for four classes and 56 px whose choices are far from alike; not to be written to.

    Its recipe holds out a quarter of the training images by seed 3.
    """

    def fill(folder):
        from curriculum_zoo.models import create_model
        from curriculum_zoo.weights.folder import model_config, save_folder

        torch.manual_seed(5)
        model = create_model("glimpse_pyramid_m1", num_classes=4)
        with torch.no_grad():
            model.location.weight.mul_(20)
            model.location.bias.fill_(-1.5)
            model.classifier.weight.mul_(9)
        config = model_config(
            model,
            architecture="glimpse_pyramid_m1",
            options={},
            input_size=(1, 56, 56),
            mean=(0.1,),
            std=(0.3,),
            classes=CLASSES,
            facts={"recipe": {"model": "glimpse_pyramid_m1", "data": "canvases", "seed": 3, "validation": 0.25}},
        )
        save_folder(folder, model.state_dict(), config)

    return shared_folder("pyramid", fill)


@pytest.fixture
def canvases(quadrants, monkeypatch):
    """The data set ``canvases``: the pictures of `quadrants`, each somewhere on 56 px; what it was opened with."""
    with np.load(quadrants) as arrays:
        images = {part: arrays[f"x_{part}"].mean(3).astype(np.uint8) for part in ("train", "test")}
        labels = {part: arrays[f"y_{part}"] for part in ("train", "test")}
    opened = []

    def canvases(argument, **options):
        opened.append(options)
        sets = images["train"], labels["train"], images["test"], labels["test"]
        return ImageSet("canvases", *sets, classes=CLASSES, render=Canvas("noisy", 56))

    monkeypatch.setattr(DATASETS, "_session", dict(DATASETS._session))
    DATASETS.register(canvases)
    return opened
