"""Wrong labels on purpose: symmetric, by image, and of the images that are trained on alone."""

import numpy as np
import pytest

from curriculum_zoo.data import open_dataset
from curriculum_zoo.data.loading.label_noise import noisy_labels

LABELS = np.random.default_rng(0).integers(0, 5, 20_000)


def test_a_share_of_the_labels_is_wrong_and_every_other_class_as_likely():
    which = np.arange(0, 20_000, 2)
    noisy = noisy_labels(LABELS, which, 0.2, 5, seed=1)
    assert (noisy[1::2] == LABELS[1::2]).all()
    wrong = noisy[which] != LABELS[which]
    assert wrong.mean() == pytest.approx(0.2, abs=0.02)
    steps = np.bincount((noisy - LABELS)[which][wrong] % 5, minlength=5)
    assert steps[0] == 0
    assert np.abs(steps[1:] / wrong.sum() - 0.25).max() < 0.04


def test_an_images_label_depends_on_the_seed_and_its_number_alone():
    some = np.arange(7_000)
    whole, part = (noisy_labels(LABELS, which, 0.3, 5, seed=1) for which in (np.arange(20_000), some[::-1]))
    assert (whole[some] == part[some]).all()
    assert (noisy_labels(LABELS, some, 0.3, 5, seed=2)[some] != part[some]).mean() > 0.2


def test_loaders_of_files_and_of_memory_give_the_labels_that_they_are_given(quadrants, photographs):
    for data in (
        open_dataset(f"npz:{quadrants}"),
        open_dataset(f"folder:{photographs}", image_size=32, resident=False),
    ):
        labels = (data.train_labels + 1) % 3
        factory = data.loader_factory(train_labels=labels, workers=0)
        batch = next(factory.loader(np.arange(6), training=False, batch_size=6).batches(0))
        assert batch.labels.tolist() == labels[:6].tolist()
        batch = next(factory.loader("test", training=False, batch_size=6).batches(0))
        assert batch.labels.tolist() == data.test_labels[:6].tolist()
        factory.close()
