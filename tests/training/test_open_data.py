"""A data set that is open already: many runs on one, which is what the recipe names, and stays as it is."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.data import ImageSet, open_dataset
from curriculum_zoo.errors import RecipeError
from curriculum_zoo.registry import DATASETS
from curriculum_zoo.training import prepare as module
from curriculum_zoo.training.prepare import prepare


@pytest.fixture
def opened(quadrants):
    return open_dataset(f"npz:{quadrants}")


@pytest.fixture
def never_opened(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the data set was opened")

    monkeypatch.setattr(module, "open_dataset", refuse)


def test_runs_on_an_open_set_are_those_of_its_name(recipe, train, opened, tmp_path, monkeypatch):
    wanted = recipe({"augmentation.crop_padding": 2})
    train(wanted, "by name")
    pixels = opened.train_images.copy()
    monkeypatch.setattr(module, "open_dataset", None)
    for folder in ("first", "second"):
        train(wanted, folder, data=opened)
        one, other = (load_file(tmp_path / run / "last" / "model.safetensors") for run in ("by name", folder))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert np.array_equal(opened.train_images, pixels)


@pytest.mark.usefixtures("never_opened")
def test_photographs_that_are_open_are_read_by_several_runs(recipe, photographs):
    opened = open_dataset(f"folder:{photographs}", image_size=16, resident=False)
    settings = {"data": f"folder:{photographs}", "photos.resident": False, "batch_size": 8}
    for _ in range(2):
        parts = prepare(recipe(settings), data=opened, device="cpu", workers=0)
        assert len(list(parts.loaders.test())) == 1
        parts.loaders.close()


@pytest.mark.usefixtures("never_opened")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"data": "demo"},
            r"data is 'demo', and the data set that is given calls itself 'npz:.*Give the recipe data='npz:",
        ),
        ({"data": "npz:other.npz"}, r"data is 'npz:other\.npz', and .* calls itself 'npz:.*quadrants\.npz'"),
        (
            {"image_size": 32},
            r"image_size is 32, and npz:.* opened with images of 16x16 px\. Open it with image_size=32",
        ),
    ],
)
def test_a_set_that_is_not_the_recipes_is_refused(recipe, opened, settings, message):
    with pytest.raises(RecipeError, match=message):
        prepare(recipe(settings), data=opened, device="cpu")


@pytest.mark.usefixtures("never_opened")
def test_photographs_that_the_recipe_keeps_in_memory_must_lie_there(recipe, photographs):
    name = f"folder:{photographs}"
    opened = open_dataset(name, image_size=16, resident=False)
    for resident in (True, None):
        wanted = recipe({"data": name, "photos.resident": resident, "batch_size": 8})
        with pytest.raises(RecipeError, match=rf"photos\.resident is {resident}, .* Open it with resident=True"):
            prepare(wanted, data=opened, device="cpu")
        prepare(wanted, data=open_dataset(name, image_size=16), device="cpu")


@pytest.mark.usefixtures("never_opened")
def test_a_set_may_have_more_in_its_name_than_the_recipe_says(recipe, opened, monkeypatch):
    monkeypatch.setattr(DATASETS, "_session", dict(DATASETS._session))
    images, labels = opened.train_images[..., :1], opened.train_labels
    canvas = ImageSet("mnist_canvas:plain", images, labels, images, labels, classes=opened.classes)
    wanted = recipe({"model": "simple_cnn", "data": "mnist_canvas"})
    assert prepare(wanted, data=canvas, device="cpu").data_set is canvas


@pytest.mark.usefixtures("never_opened")
def test_a_notebooks_own_set_is_taken_by_whatever_name(recipe, opened, monkeypatch):
    monkeypatch.setattr(DATASETS, "_session", dict(DATASETS._session))

    def own_images(argument, **_):
        raise AssertionError("it is open already")

    DATASETS.register(own_images)
    assert prepare(recipe(data="own_images"), data=opened, device="cpu").data_set is opened
