"""From a specification to a data set."""

import os

import numpy as np
import pytest

from curriculum_zoo.data import ImageSet, open_dataset
from curriculum_zoo.errors import DataError, PluginError, UnknownNameError
from curriculum_zoo.registry import DATASETS, register_dataset


@pytest.fixture
def session(monkeypatch):
    """Whatever is registered in a test is forgotten after it."""
    monkeypatch.setattr(DATASETS, "_session", {})


def toy(image_size=6, channels=3):
    images = np.random.default_rng(0).integers(0, 256, (8, image_size, image_size, channels), dtype=np.uint8)
    return ImageSet("toy", images, np.arange(8) % 2, images[:4], np.arange(4) % 2, classes=("a", "b"))


@pytest.mark.usefixtures("session")
def test_a_registered_function_gets_everything_that_was_asked(tmp_path):
    calls = []

    @register_dataset(name="noted")
    def noted(argument, **settings):
        calls.append((argument, settings))
        return toy()

    open_dataset("noted")
    open_dataset("noted:here:and:there", root=str(tmp_path), download=True, image_size=6, channels=3, seed=4)
    assert calls[0][0] is None
    assert calls[1] == (
        "here:and:there",
        {"root": tmp_path, "download": True, "image_size": 6, "channels": 3, "seed": 4},
    )


@pytest.mark.usefixtures("session")
def test_what_a_set_does_not_convert_is_converted():
    register_dataset(lambda argument, **settings: toy(), name="stubborn")
    opened = open_dataset("stubborn", image_size=4, channels=1)
    assert opened.train_images.shape == (8, 4, 4, 1)
    assert (opened.train_images == toy().converted(image_size=4, channels=1).train_images).all()


@pytest.mark.usefixtures("session")
def test_a_plugin_that_returns_something_else_is_named():
    register_dataset(lambda argument, **settings: [1, 2], name="wrong")
    with pytest.raises(PluginError, match=r"dataset 'wrong'.*returned a.*list.*ImageSet or a .*PhotoSet is due"):
        open_dataset("wrong")


def test_an_unknown_name_gets_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'cifar10'"):
        open_dataset("cifar-10")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({"image_size": -3}, "got -3"),
        ({"channels": 2}, r"channels must be 1 \(gray\) or 3 \(RGB\), got 2"),
    ],
)
def test_sizes_and_channels_out_of_range_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        open_dataset("demo", **settings)


@pytest.mark.parametrize("name", ["npz", "folder"])
def test_a_path_that_the_system_refuses_is_no_traceback(name):
    with pytest.raises(DataError, match=rf"{name} cannot be read: .*[Ff]ile ?name too long.*Check the path"):
        open_dataset(f"{name}:{'x' * 5000}")


@pytest.mark.usefixtures("session")
def test_a_folder_that_may_not_be_read_is_told_and_not_taken_for_empty(tmp_path, monkeypatch):
    for label in ("red", "blue"):
        (tmp_path / label).mkdir()
    scandir = os.scandir

    def refusing(path="."):  # the superuser, who may run this, is refused nothing
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"folder cannot be read: .*Permission denied: '.*red'"):
        open_dataset(f"folder:{tmp_path}")
