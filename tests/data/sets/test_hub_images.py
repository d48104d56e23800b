"""Data sets of the Hub, from tables saved here and read by the datasets library."""

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data import ImageSet, open_dataset
from curriculum_zoo.data.sets.hub_images import HubImages
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


def test_a_validation_split_is_what_is_validated_on(hub):
    write(hub, "train", [0, 1, 1, 0])
    write(hub, "validation", [1, 1, 0])
    write(hub, "test", [1, 0])
    photos = opened(hub)
    training, validation = photos.split(0.5, seed=0)
    assert (levels(photos, training), levels(photos, validation)) == ([0, 1, 2, 3], [0, 1, 2])
    assert photos.train_labels[validation].tolist() == [1, 1, 0]
    assert [photos.images.name(index).split(", ")[1] for index in validation] == ["split validation"] * 3
    assert (levels(photos, photos.test_indices), photos.test_labels.tolist()) == ([0, 1], [1, 0])
    assert photos.layout == (
        "training: 4 images, split train", "validation: 3 images, split validation", "test: 2 images, split test"
    )  # fmt: skip
    assert photos.split(0, seed=0)[1].size == 0
    resident = open_dataset(f"hf:{hub}", image_size=4)
    assert [part.tolist() for part in resident.split(0.5, seed=0)] == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("splits", "layout"),
    [
        ({"train": [0, 1], "valid": [0]}, ("training: 2 images, split train", "test: 1 images, split valid")),
        (
            {"train": [0, 1], "validation": [0, 1], "test": [-1, 0]},
            (
                "training: 2 images, split train",
                "test: 2 images, split validation",
                "not used: split test, which is empty or has images without a label",
            ),
        ),
        (
            {"train": [0, 1], "validation": [1, -1], "test": [1], "extra": [0]},
            (
                "training: 2 images, split train",
                "test: 1 images, split test",
                "not used: split validation, which is empty or has images without a label",
                "not used: 'extra'",
            ),
        ),
        (
            {"train": [0, 1] * 5},
            ("training: 10 images, split train", "test: cut off the training images by data_seed"),
        ),
    ],
)
def test_what_a_split_was_taken_for_is_told(hub, splits, layout):
    import datasets

    for split, labels in splits.items():
        write(hub, split, labels)
    if "extra" in splits or "valid" in splits:  # names that the library finds by itself are few
        files = {split: f"data/{split}-*" for split in splits}
        listed = "\n".join(f"    - split: {split}\n      path: {pattern}" for split, pattern in files.items())
        (hub / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{listed}\n---\n")
    assert sorted(datasets.load_dataset(str(hub))) == sorted(splits)
    assert opened(hub).layout == layout


def test_a_word_that_no_training_image_has_is_refused_and_hidden_labels_are_none(hub):
    import datasets

    text = datasets.Value("string")
    write(hub, "train", ["owl", "cat"] * 5, text)
    write(hub, "validation", ["cat", "dog"], text)
    with pytest.raises(DataError, match=r"1 validation label\(s\) that no training image has: 'dog'"):
        opened(hub)
    write(hub, "validation", ["", ""], text)
    assert opened(hub.rename(hub.parent / "again")).layout[1] == "test: cut off the training images by data_seed"


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


def test_a_split_of_more_than_two_gibibytes_is_fingerprinted_without_reading_it(tmp_path):
    """Three images of 1 GiB of nothing: more than one Arrow array of bytes can hold, in a file without content."""
    import datasets
    import pyarrow as pa
    from datasets.table import InMemoryTable

    size = 2**30
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(size)
    with pa.memory_map(str(tmp_path / "sparse")) as mapped:
        ends = pa.py_buffer(np.array([0, size], dtype=np.int32).tobytes())
        content = pa.Array.from_buffers(pa.binary(), 1, [None, ends, mapped.read_buffer(size)])
        image = pa.StructArray.from_arrays([content, pa.array(["large.png"])], names=["bytes", "path"])
        none = pa.array([None], type=image.type)
        table = InMemoryTable(pa.table({"image": pa.chunked_array([image, none, image, image])}))
        features = datasets.Features({"image": datasets.Image(decode=False)})
        split = datasets.Dataset(table, info=datasets.DatasetInfo(features=features), fingerprint="large")
        images = HubImages([split, split], "image", np.array([7, 1, 0]))
        assert list(images.stamps()) == [b"7\0%d" % size, b"1\0-1", b"0\0%d" % size]


def test_only_the_columns_of_images_and_classes_are_looked_at(hub):
    """Another column of images holds what is none, and would stop whoever decodes it."""
    broken = [{"bytes": b"no image", "path": None}] * 10
    write(hub, "train", [0, 1] * 5, depth=broken)
    photos = opened(hub, "?image=image")
    assert photos.labels.tolist() == [level % 2 for level in levels(photos, range(10))]
    assert len(photos.fingerprint) == 64
    assert photos.resident().train_images.shape[1:] == (224, 224, 3)


def test_images_stay_in_the_file_that_the_library_keeps(hub):
    """Which is mapped into memory and read row by row; so a worker process is handed its name, not its content."""
    write(hub, "train", [0, 1] * 5)
    images = opened(hub).images
    [table] = images._tables
    assert [Path(entry["filename"]).suffix for entry in table.cache_files] == [".arrow"]
    copy = pickle.loads(pickle.dumps(images))
    assert [copy.content(index) for index in range(10)] == [images.content(index) for index in range(10)]
    assert images.content(3) not in pickle.dumps(images)


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
