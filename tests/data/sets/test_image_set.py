"""Labelled images: what is accepted, what is refused, what can be asked of them."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.data import ImageSet
from curriculum_zoo.errors import DataError


def images(count, *shape):
    return np.random.default_rng(count).integers(0, 256, (count, *(shape or (4, 6, 3))), dtype=np.uint8)


def make(**changes):
    fields = {
        "name": "toy",
        "train_images": images(6),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_images": images(3),
        "test_labels": np.array([2, 1, 0]),
        "classes": ("a", "b", "c"),
    }
    return ImageSet(**{**fields, **changes})


def test_it_tells_size_channels_and_classes():
    made = make()
    assert (made.image_size, made.channels, made.num_classes) == ((4, 6), 3, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"


def test_gray_images_get_a_channel_axis():
    made = make(train_images=images(6, 5, 5), test_images=images(3, 5, 5))
    assert made.train_images.shape == (6, 5, 5, 1)
    assert made.channels == 1


def test_labels_of_any_integer_type_become_int64_and_class_names_a_tuple():
    made = make(train_labels=np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8), classes=["a", "b", "c"])
    assert made.train_labels.dtype == np.int64
    assert made.classes == ("a", "b", "c")


def test_views_with_gaps_are_brought_into_one_piece():
    made = make(train_images=images(12)[::2])
    assert made.train_images.flags.c_contiguous
    assert (made.train_images == images(12)[::2]).all()


def test_arrays_that_must_not_be_written_to_are_copied():
    fixed = images(6)
    fixed.flags.writeable = False
    made = make(train_images=fixed)
    assert made.train_images.flags.writeable
    assert make(train_images=made.train_images).train_images is made.train_images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": [[1]]}, r"toy: train_images is a list, not a NumPy array"),
        ({"train_images": images(6) / 255}, r"train_images has type float64.*reach 1.*np\.rint\(images \* 255\)"),
        ({"test_images": images(3).astype(np.float32)}, r"toy: test_images has type float32.*np\.rint\(images\)"),
        ({"train_images": images(6).astype(np.int32)}, r"type int32.*Bring the values to 0…255"),
        ({"train_images": np.array([images(1), "x"], dtype=object)}, r"type object.*folder:DIR"),
        ({"train_images": images(6).transpose(0, 3, 1, 2)}, r"\(6, 3, 4, 6\).*transpose\(0, 2, 3, 1\)"),
        ({"train_images": images(6)[0, 0]}, r"train_images has shape \(6, 3\)"),
        ({"train_images": images(6)[:0]}, r"train_images has shape \(0, 4, 6, 3\): there is nothing in it"),
        ({"test_images": images(3)[:, :0]}, r"test_images has shape \(3, 0, 6, 3\): there is nothing in it"),
        ({"train_labels": [0, 1]}, r"train_labels is a list"),
        ({"train_labels": np.eye(3)[[0, 1, 2, 0, 1, 2]]}, r"shape \(6, 3\).*argmax"),
        ({"train_labels": np.zeros((6, 1), int)}, r"shape \(6, 1\).*reshape\(-1\)"),
        ({"train_labels": np.array([0.0, 1, 2, 0, 1, 2])}, r"train_labels has type float64.*astype\('int64'\)"),
        ({"train_labels": np.array([True] * 6)}, r"train_labels has type bool"),
        ({"train_labels": np.array(list("abcabc"))}, r"train_labels has type <U1"),
        ({"test_labels": np.array([0, 1])}, r"toy: test_labels holds 2 labels for 3 images"),
        ({"train_labels": np.array([0, 1, 2, -1, 1, -7])}, r"toy: train_labels\[3\] is -1\. Labels are class numbers"),
        ({"test_labels": np.array([0, 3, 9])}, r"test_labels\[1\] is 3, but there are 3 classes, numbered 0 to 2"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, 2**64 - 1], dtype=np.uint64)}, r"train_labels\[5\] is 1844674407"),
        ({"train_labels": np.ones(6, int)}, r"all training images are of one class, 'b'.*at least two"),
        ({"test_images": images(3, 5, 6, 3)}, r"4 × 6 × 3 and test images 5 × 6 × 3"),
        ({"test_images": images(3, 4, 6, 1)}, r"4 × 6 × 3 and test images 4 × 6 × 1"),
    ],
)
def test_malformed_data_is_refused_naming_field_and_remedy(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_one_class_is_too_few():
    ones = {"train_labels": np.zeros(6, int), "test_labels": np.zeros(3, int), "classes": ("a",)}
    with pytest.raises(DataError, match="toy: all training images are of one class, 'a'"):
        make(**ones)


def test_the_fingerprint_is_that_of_shapes_labels_and_pixels():
    made = make()
    digest = hashlib.sha256()
    for array in (made.train_images, made.train_labels, made.test_images, made.test_labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    assert made.fingerprint == digest.hexdigest()


def test_any_change_of_data_changes_the_fingerprint_and_a_change_of_name_does_not():
    made = make()
    pixel = made.train_images.copy()
    pixel[5, 3, 5, 2] ^= 1
    others = [
        make(train_images=pixel),
        make(test_labels=np.array([2, 1, 1])),
        make(train_images=images(6).reshape(6, 6, 4, 3), test_images=images(3).reshape(3, 6, 4, 3)),
        make(train_labels=np.array([1, 0, 2, 0, 1, 2])),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert make(name="other", classes=("x", "y", "z")).fingerprint == made.fingerprint


def test_the_split_is_of_training_images_and_pure_in_its_seed():
    made = make(train_images=images(60), train_labels=np.arange(60) % 3)
    train, validation = made.split(0.2, seed=5)
    assert (len(train), len(validation)) == (48, 12)
    assert np.bincount(made.train_labels[validation]).tolist() == [4, 4, 4]
    again = made.split(0.2, seed=5)
    assert (again[1] == validation).all()
    assert (made.split(0.2, seed=6)[1] != validation).any()
    with pytest.raises(DataError, match=r"Class 'c' has 1 image"):
        make(train_labels=np.array([0, 1, 2, 0, 1, 1])).split(0.1, seed=0)


@given(st.lists(st.integers(0, 599), min_size=1, max_size=600), st.sampled_from([1, 2, 3, 5]))
def test_mean_and_deviation_are_those_of_the_chosen_pixels(indices, channels):
    made = make(
        train_images=images(600, 6, 2, channels), train_labels=np.arange(600) % 3, test_images=images(3, 6, 2, channels)
    )
    pixels = made.train_images[indices].reshape(-1, channels).astype(np.float64) / 255
    mean, std = made.mean_std(indices)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-9)


def test_without_indices_all_training_images_count():
    made = make()
    assert made.mean_std() == made.mean_std(np.arange(6))
    with pytest.raises(DataError, match="of no images"):
        made.mean_std([])


def test_a_constant_channel_has_a_deviation_that_can_be_divided_by():
    flat = images(6)
    flat[..., 1] = 51
    mean, std = make(train_images=flat).mean_std()
    assert mean[1] == pytest.approx(0.2, abs=1e-15)
    assert std[1] == 1.0
    assert 0 < std[0] < 1


def test_conversion_changes_images_and_nothing_else():
    made = make(flip=True, source="somewhere")
    small = made.converted(image_size=2, channels=1)
    assert (small.image_size, small.channels) == ((2, 2), 1)
    assert (small.test_images.shape, small.flip, small.source) == ((3, 2, 2, 1), True, "somewhere")
    assert (small.train_labels == made.train_labels).all()
    assert made.converted(channels=3) is made
    assert make(train_images=images(6, 4, 4, 3), test_images=images(3, 4, 4, 3)).converted(image_size=4).channels == 3


@pytest.mark.parametrize(
    ("changes", "conversion", "message"),
    [
        ({}, {"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({}, {"channels": 4}, r"images of 3 channel\(s\), which cannot be turned into 4"),
        (
            {"train_images": images(6, 4, 4, 2), "test_images": images(3, 4, 4, 2)},
            {"channels": 3},
            r"images of 2 channel\(s\), which cannot be turned into 3",
        ),
    ],
)
def test_a_conversion_that_has_no_meaning_is_refused(changes, conversion, message):
    with pytest.raises(DataError, match=message):
        make(**changes).converted(**conversion)
