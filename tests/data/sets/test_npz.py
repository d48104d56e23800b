"""Data sets in NumPy archives, good and bad."""

import numpy as np
import pytest

from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import DataError


def arrays(**changes):
    rng = np.random.default_rng(0)
    content = {
        "x_train": rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8),
        "y_train": np.arange(8) % 2,
        "x_test": rng.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8),
        "y_test": np.arange(4) % 2,
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def write(path, **changes):
    np.savez_compressed(path, **arrays(**changes))
    return path


def test_images_labels_and_class_names_come_as_stored(tmp_path):
    path = write(tmp_path / "set.npz", classes=np.array(["cat", "dog", "owl"]))
    opened = open_dataset(f"npz:{path}")
    assert (opened.train_images == arrays()["x_train"]).all()
    assert (opened.test_labels == arrays()["y_test"]).all()
    assert opened.classes == ("cat", "dog", "owl")
    assert opened.flip


def test_without_names_classes_are_numbered(tmp_path):
    assert open_dataset(f"npz:{write(tmp_path / 'set.npz', y_test=np.array([0, 1, 2, 0]))}").classes == ("0", "1", "2")


def test_uncompressed_gray_and_column_labels_are_taken(tmp_path):
    content = arrays(
        x_train=arrays()["x_train"][..., 0], x_test=arrays()["x_test"][..., 0], y_train=(np.arange(8) % 2)[:, None]
    )
    np.savez(tmp_path / "set.npz", **content, classes=np.array([b"cat", b"dog"]))
    opened = open_dataset(f"npz:{tmp_path / 'set.npz'}")
    assert opened.channels == 1
    assert opened.train_labels.tolist() == [0, 1] * 4
    assert opened.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None, "x_test": None}, r"has no x_test and no y_test; it holds x_train, y_train\. Save"),
        ({"x_train": arrays()["x_train"] / 255.0}, r"set\.npz: x_train has type float64.*np\.rint\(images \* 255\)"),
        ({"x_train": arrays()["x_train"].transpose(0, 3, 1, 2)}, r"x_train has shape \(8, 3, 6, 6\).*transpose\(0, 2"),
        ({"x_test": arrays()["x_test"][0]}, r"set\.npz: y_test holds 4 labels for 6 images"),
        ({"x_test": arrays()["x_test"][:, :5]}, r"training images are 6 × 6 × 3 and test images 5 × 6 × 3"),
        ({"y_train": np.arange(8) % 2 - 1}, r"set\.npz: y_train\[0\] is -1"),
        (
            {"y_train": np.array([0, 1] * 3 + [0, 10**6])},
            r"y_train\[7\] is 1000000, which would make 1,000,001 classes",
        ),
        (
            {"y_test": np.array([0, 1, 5, 0]), "classes": np.array(["a", "b"])},
            r"test_labels\[2\] is 5, but.* 2 classes",
        ),
        ({"y_train": np.zeros(8, int)}, r"one class, '0'"),
        ({"y_train": np.arange(8) / 2}, r"y_train has type float64"),
        ({"classes": np.array([["a", "b"]])}, r"classes has type <U1 and shape \(1, 2\), but is a list of names"),
        ({"classes": np.array([1, 2])}, r"classes has type int64"),
        ({"x_train": np.array([1, "x", None], dtype=object)}, r"x_train holds Python objects, which are never loaded"),
    ],
)
def test_malformed_arrays_are_refused_naming_file_and_field(changes, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(f"npz:{write(tmp_path / 'set.npz', **changes)}")
    assert "set.npz" in str(caught.value)


def test_a_missing_file_a_folder_and_no_file_at_all_are_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz does not exist"):
        open_dataset(f"npz:{tmp_path / 'none.npz'}")
    with pytest.raises(DataError, match=r"is a folder, not a file.*folder:DIR"):
        open_dataset(f"npz:{tmp_path}")
    for spec in ("npz", "npz:"):
        with pytest.raises(DataError, match=r"needs a file: npz:FILE"):
            open_dataset(spec)


def test_something_else_than_an_archive_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", arrays()["x_train"])
    for name, content in (("text.npz", b"hello"), ("empty.npz", b""), ("one.npy", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} is no \.npz archive, or is cut short.*savez_compressed"):
            open_dataset(f"npz:{tmp_path / name}")


def test_a_file_cut_short_or_damaged_anywhere_is_refused_and_never_half_read(tmp_path):
    whole = write(tmp_path / "set.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for length in range(0, len(whole), 97):
        damaged.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"damaged\.npz is "):
            open_dataset(f"npz:{damaged}")
    original = open_dataset(f"npz:{tmp_path / 'set.npz'}").fingerprint
    outcomes = []
    for place in range(0, len(whole), 31):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            outcomes.append(open_dataset(f"npz:{damaged}").fingerprint)  # the byte says nothing about the arrays
        except DataError as error:
            outcomes.append("damaged.npz" in str(error))
    assert set(outcomes) == {original, True}


def test_arrays_that_do_not_fit_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("curriculum_zoo.data.memory.available_memory", lambda: 500)
    with pytest.raises(DataError, match=r"The arrays in .*set\.npz take .* of memory"):
        open_dataset(f"npz:{write(tmp_path / 'set.npz')}")


def test_pickles_are_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    path = write(tmp_path / "set.npz", x_train=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="never loaded from a file"):
        open_dataset(f"npz:{path}")
    assert not (tmp_path / "sprung").exists()
