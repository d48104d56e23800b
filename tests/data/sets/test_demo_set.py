"""The data set that ships with the package."""

import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import curriculum_zoo.data
from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import DataError

DATA = Path(curriculum_zoo.data.__file__).parent / "sets"
TOOL = Path(__file__).parents[3] / "tools" / "make_demo_set.py"


def test_it_is_balanced_and_of_the_size_promised():
    demo = open_dataset("demo")
    assert (demo.train_images.shape, demo.test_images.shape) == ((6000, 28, 28, 1), (1000, 28, 28, 1))
    assert np.bincount(demo.train_labels).tolist() == [600] * 10
    assert np.bincount(demo.test_labels).tolist() == [100] * 10
    assert (demo.classes[0], demo.classes[9], demo.flip) == ("T-shirt/top", "Ankle boot", True)


def test_no_image_is_both_trained_on_and_tested():
    demo = open_dataset("demo")
    train, test = ({image.tobytes() for image in part} for part in (demo.train_images, demo.test_images))
    assert not train & test


def test_its_data_is_what_results_were_reported_for():
    assert open_dataset("demo").fingerprint == "15da6aaf2f866a9cb31ce68a5584df549fb2143a7a0b8383da9f5456eacdf524"


def test_it_is_small_and_its_licence_lies_beside_it():
    assert (DATA / "demo.npz").stat().st_size < 4_000_000
    licence = (DATA / "demo.LICENSE.txt").read_text(encoding="utf-8")
    assert "2017 Zalando SE" in licence
    assert "Permission is hereby granted, free of charge" in licence


def test_it_takes_no_argument():
    with pytest.raises(DataError, match="demo takes no argument; write 'demo', not 'demo:small'"):
        open_dataset("demo:small")


@pytest.fixture
def tool():
    specification = importlib.util.spec_from_file_location("make_demo_set", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4) for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_the_tool_that_made_it_gives_the_same_bytes_each_time(tool, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 60)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", rng.permutation(count).astype(np.uint8) % 10)
    monkeypatch.setattr(tool, "PER_CLASS", {"train": 12, "t10k": 3})
    for name in ("one.npz", "two.npz"):
        monkeypatch.setattr(sys, "argv", ["make_demo_set.py", str(tmp_path), "--output", str(tmp_path / name)])
        tool.main()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    made = open_dataset(f"npz:{tmp_path / 'one.npz'}")
    assert np.bincount(made.train_labels).tolist() == [12] * 10
    assert np.bincount(made.test_labels).tolist() == [3] * 10
    assert made.classes == open_dataset("demo").classes
    source = {image.tobytes() for image in tool.read_idx(tmp_path / "train-images-idx3-ubyte.gz")}
    assert {image.tobytes() for image in made.train_images} < source
