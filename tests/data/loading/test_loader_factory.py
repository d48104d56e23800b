"""Sets in memory and sets of files answer the same questions, and their loaders share what is costly."""

import numpy as np
import pytest
import torch

from curriculum_zoo.data import DataSet, open_dataset
from curriculum_zoo.errors import DataError, RecipeError
from curriculum_zoo.recipes import Augmentation, PhotoOptions

SIDE = 24
PART = np.array([3, 7, 8, 20])


@pytest.fixture(params=[True, False], ids=["in memory", "in files"])
def images(request, photographs) -> DataSet:
    """24 + 6 photographs of 3 classes."""
    return open_dataset(f"folder:{photographs}", image_size=SIDE, resident=request.param)


@pytest.fixture
def in_memory(photographs):
    return open_dataset(f"folder:{photographs}", image_size=SIDE)


@pytest.fixture
def factory(images):
    made = images.loader_factory(workers=0)
    yield made
    made.close()


def test_a_part_of_the_training_images_has_their_numbers_and_labels(images, factory):
    [batch] = factory.loader(PART, training=False, batch_size=4).batches(0)
    assert batch.images.shape == (4, 3, SIDE, SIDE)
    assert batch.numbers.tolist() == PART.tolist()
    assert batch.labels.tolist() == images.train_labels[PART].tolist()
    [shuffled] = factory.loader(PART, training=True, batch_size=4, partners=True).batches(0)
    assert sorted(shuffled.numbers.tolist()) == sorted(shuffled.partners.numbers.tolist()) == PART.tolist()
    assert shuffled.labels.tolist() == images.train_labels[shuffled.numbers].tolist()
    assert shuffled.partners.labels.tolist() == images.train_labels[shuffled.partners.numbers].tolist()


def test_test_images_are_numbered_among_themselves(images, factory):
    batches = list(factory.loader("test", training=False, batch_size=4).batches(0))
    assert [number for batch in batches for number in batch.numbers.tolist()] == list(range(6))
    assert [label for batch in batches for label in batch.labels.tolist()] == images.test_labels.tolist()


def test_both_kinds_show_an_image_at_evaluation_alike(photographs):
    """As far as two ways of resizing a square of a photograph agree."""
    seen = []
    for resident in (True, False):
        opened = open_dataset(f"folder:{photographs}", image_size=SIDE, resident=resident)
        [batch] = opened.loader_factory(workers=0).loader("test", training=False, batch_size=6).batches(0)
        seen.append(batch.images)
    assert (seen[0] - seen[1]).abs().mean() < 0.02 < 0.1 < (seen[0] - seen[1].roll(1, 0)).abs().mean()


def test_another_size_is_given_where_images_are_read_at_any(images, factory):
    loader = factory.loader(PART, training=False, batch_size=4)
    small = loader.with_pixels(12)
    side = SIDE if images.in_memory else 12
    assert next(small.batches(0)).images.shape == (4, 3, side, side)
    assert (small is loader) == images.in_memory
    assert next(loader.batches(0)).images.shape == (4, 3, SIDE, SIDE)


def test_mean_and_deviation_are_those_of_the_images_that_evaluation_sees(factory):
    mean, std = factory.mean_std(PART)
    [batch] = factory.loader(PART, training=False, batch_size=4).batches(0)
    assert torch.allclose(batch.images.mean((0, 2, 3)), torch.tensor(mean), atol=1e-5)
    assert torch.allclose(batch.images.std((0, 2, 3), correction=0), torch.tensor(std), atol=1e-5)


def test_a_sample_of_photographs_is_drawn_by_their_numbers(photographs, monkeypatch):
    photos = open_dataset(f"folder:{photographs}", image_size=SIDE, resident=False)
    factory = photos.loader_factory(workers=0)
    monkeypatch.setattr("curriculum_zoo.data.loading.loader_factory._SAMPLE", 6)
    everything = np.arange(24)
    assert factory.mean_std(everything) == factory.mean_std(everything[::-1].copy())
    assert factory.mean_std(everything) != factory.mean_std(everything, seed=1)
    assert factory.mean_std(everything) != factory.mean_std(everything[:6])


def test_what_weights_and_runs_record_is_known(images, factory):
    assert (factory.interpolation, factory.crop_pct) == ("bilinear", 1.0)
    assert ("albumentations" in factory.packages) == (not images.in_memory)
    assert "pillow" in factory.packages
    assert (factory.skipped, factory.pipelines) == ({}, {})
    made = images.loader_factory(workers=0, interpolation="bicubic", crop_pct=0.875)
    expected = ("bilinear", 1.0) if images.in_memory else ("bicubic", 0.875)
    assert (made.interpolation, made.crop_pct) == expected


def test_changes_that_would_not_be_made_are_refused(images):
    if images.in_memory:
        with pytest.raises(RecipeError, match=r"photos\.jitter is for images that are read as they are needed"):
            images.loader_factory(photos=PhotoOptions(jitter=0.0))
    else:
        with pytest.raises(RecipeError, match="augmentation is for images kept in memory"):
            images.loader_factory(augmentation=Augmentation(flip=True))


def test_both_kinds_list_what_was_left_out(write_photographs, tmp_path):
    write_photographs(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "dog" / "003.jpg").write_bytes(b"")
    for resident in (True, False):
        opened = open_dataset(f"folder:{tmp_path}", image_size=SIDE, resident=resident, on_bad_image="skip", seed=1)
        options = None if resident else PhotoOptions(on_bad_image="skip")
        factory = opened.loader_factory(photos=options, workers=0)
        for part in (np.arange(len(opened.train_labels)), "test"):
            list(factory.loader(part, training=False, batch_size=4).batches(0))
        [(name, reason)] = factory.skipped.items()
        assert name == str(tmp_path / "dog" / "003.jpg")
        assert "0 bytes" in reason


# Stored pixels


def stored(loader):
    """Where a loader's pixels lie."""
    return loader._images.untyped_storage().data_ptr()


def test_loaders_of_the_same_images_share_the_stored_pixels(in_memory):
    """Calibration walks the training images in another way, and validation is another part, unaugmented."""
    factory = in_memory.loader_factory(augmentation=Augmentation(flip=True, crop_padding=2))
    numbers = np.arange(20)
    train = factory.loader(numbers, training=True, batch_size=8, seed=4, drop_last=True, world_size=2)
    calibration = factory.loader(numbers.copy(), training=True, batch_size=20, seed=9)
    validation = factory.loader(np.arange(20, 24), training=False, batch_size=4)
    assert stored(calibration) == stored(train) != stored(validation)
    assert (train.batch_size, train.seed, train.drop_last, train.world_size) == (8, 4, True, 2)
    assert (calibration.batch_size, calibration.seed, calibration.drop_last, calibration.world_size) == (
        20,
        9,
        False,
        1,
    )
    alone = in_memory.loader_factory(augmentation=Augmentation(flip=True, crop_padding=2))
    [expected] = alone.loader(numbers, training=True, batch_size=20, seed=9).batches(3)
    [batch] = calibration.batches(3)
    assert torch.equal(batch.images, expected.images)
    assert torch.equal(batch.numbers, expected.numbers)


def test_a_whole_set_in_memory_is_not_copied_without_need(in_memory):
    factory = in_memory.loader_factory()
    everything = np.arange(len(in_memory.train_labels))
    assert stored(factory.loader(everything, training=True, batch_size=4)) == in_memory.train_images.ctypes.data
    assert stored(factory.loader("test", training=False, batch_size=4)) == in_memory.test_images.ctypes.data
    assert stored(factory.loader(everything[1:], training=True, batch_size=4)) != in_memory.train_images.ctypes.data


def test_stored_pixels_serve_one_device(in_memory):
    loader = in_memory.loader_factory().loader(PART, training=True, batch_size=4)
    with pytest.raises(DataError, match="These images lie on cpu, not on meta"):
        loader.sharing(batch_size=4, device="meta")


def test_a_closed_factory_keeps_no_pixels(in_memory):
    factory = in_memory.loader_factory()
    factory.loader(PART, training=True, batch_size=4)
    factory.close()
    assert not factory._loaders
