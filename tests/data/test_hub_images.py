"""Data sets of the Hub, from tables saved here and read by the datasets library."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data import ImageSet, open_dataset
from curriculum_zoo.errors import DataError


def encoded(level):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), (level, level, level)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{level}.png"}


def write(folder, split, labels, feature=None, column="label", **more):
    """A parquet file as a Hub repository has it; the gray level of image i is i."""
    import datasets

    columns = {"image": [encoded(level) for level in range(len(labels))], column: labels, **more}
    features = {"image": datasets.Image(), column: feature or datasets.ClassLabel(names=["cat", "dog"])}
    features |= {name: datasets.Image() for name in more}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "set"


def opened(folder, options="", **settings):
    return open_dataset(f"hf:{folder}{options}", **{"resident": False, **settings})


def levels(photos, indices):
    """The gray levels of some images, which tell which they are."""
    contents = [photos.images.content(index) for index in indices]
    return [Image.open(io.BytesIO(content)).getpixel((0, 0))[0] for content in contents]


def test_splits_and_classes_are_the_hubs(hub):
    write(hub, "train", [0, 1, 1, 0])
    write(hub, "test", [1, 0])
    photos = opened(hub)
    assert photos.classes == ("cat", "dog")
    assert (photos.train_labels.tolist(), photos.test_labels.tolist()) == ([0, 1, 1, 0], [1, 0])
    assert levels(photos, range(6)) == [0, 1, 2, 3, 0, 1]
    assert photos.images.dimensions(0) == (10, 8)
    assert photos.images.name(5).endswith("split test, row 1")
    resident = open_dataset(f"hf:{hub}", image_size=4)
    assert isinstance(resident, ImageSet)
    assert resident.train_images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert len(photos.fingerprint) == 64


def test_without_a_labelled_test_split_a_fifth_is_cut_off(hub):
    write(hub, "train", [0, 1] * 5)
    write(hub, "test", [-1, -1, -1])
    photos = opened(hub, seed=3)
    assert np.bincount(photos.train_labels).tolist() == [4, 4]
    assert np.bincount(photos.test_labels).tolist() == [1, 1]
    assert sorted(levels(photos, range(10))) == list(range(10))
    assert [level % 2 for level in levels(photos, range(10))] == photos.labels.tolist()
    assert photos.fingerprint != opened(hub, seed=4).fingerprint


def test_labels_may_be_words(hub):
    import datasets

    write(hub, "train", ["owl", "cat", "owl"], datasets.Value("string"))
    write(hub, "validation", ["cat"], datasets.Value("string"))
    photos = opened(hub)
    assert photos.classes == ("cat", "owl")
    assert (photos.train_labels.tolist(), photos.test_labels.tolist()) == ([1, 0, 1], [0])


def test_of_several_columns_one_must_be_named(hub):
    write(hub, "train", [0, 1] * 5, column="kind", depth=[encoded(200 + level) for level in range(10)])
    with pytest.raises(DataError, match=r"which column is the image\? .*image, depth.* hf:…\?image=COLUMN"):
        opened(hub)
    assert min(levels(opened(hub, "?image=depth"), range(10))) == 200
    with pytest.raises(DataError, match=r"has no column 'breed'; it has image, kind, depth"):
        opened(hub, "?image=image&label=breed")
    with pytest.raises(DataError, match="'split' is no option; there are config, image, label"):
        opened(hub, "?split=test")


def test_a_row_without_an_image_is_named(hub):
    write(hub, "train", [0, 1, 0, 1])
    write(hub, "test", [0, 1])
    photos = opened(hub)
    table = photos.images._tables[0]
    photos.images._tables = (table.map(lambda row, index: {"image": None} if index == 2 else row, with_indices=True),
                             photos.images._tables[1])  # fmt: skip
    with pytest.raises(DataError, match=r"split train, row 2 has no image\. Leave that row out"):
        photos.images.content(2)


def test_what_cannot_be_read_is_refused(hub, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="needs a name: hf:owner/name"):
        open_dataset("hf")
    with pytest.raises(DataError, match=r"hf:.*nothing cannot be read: .*Check its name"):
        opened(tmp_path / "nothing")
    write(hub, "test", [0, 1])
    with pytest.raises(DataError, match="has no split 'train'; it has test"):
        opened(hub)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"Install it: pip install 'curriculum-zoo\[datasets\]'"):
        opened(hub)
