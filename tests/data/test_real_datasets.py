"""Real data sets, read whole; the folder that holds them stands in CURRICULUM_ZOO_TEST_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest

from curriculum_zoo.data import Augmentation, ResidentLoader, open_dataset

pytestmark = pytest.mark.data


@pytest.fixture
def root():
    return Path(os.environ["CURRICULUM_ZOO_TEST_DATA"])


def test_cifar10_from_one_archive_has_the_statistics_everyone_knows(root):
    cifar = open_dataset(f"npz:{root / 'cifar10.npz'}")
    assert (cifar.train_images.shape, cifar.test_images.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    assert np.bincount(cifar.train_labels).tolist() == [5000] * 10
    mean, std = cifar.mean_std()
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(std, (0.2470, 0.2435, 0.2616), atol=5e-5)
    train, validation = cifar.split(0.1, seed=0)
    assert np.bincount(cifar.train_labels[validation]).tolist() == [500] * 10
    assert len(train) == 45000


def test_an_epoch_of_cifar10_shows_every_image_once(root):
    cifar = open_dataset(f"npz:{root / 'cifar10.npz'}")
    augmentation = Augmentation(flip=True)
    loader = ResidentLoader(cifar.train_images, cifar.train_labels, batch_size=128, augmentation=augmentation)
    sums = [images.mul(255).sum(dim=(1, 2, 3)).double() for images, _ in loader.batches(0)]
    expected = cifar.train_images.reshape(50000, -1).sum(axis=1, dtype=np.int64)
    assert np.allclose(np.sort(np.concatenate(sums)), np.sort(expected), rtol=1e-5)


def test_mnist_is_read_through_torchvision(root):
    mnist = open_dataset("mnist", root=root)
    assert (mnist.train_images.shape, mnist.test_images.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    mean, std = mnist.mean_std()
    assert (round(mean[0], 4), round(std[0], 4)) == (0.1307, 0.3081)
    assert open_dataset("mnist", root=root, image_size=32, channels=3).train_images.shape == (60000, 32, 32, 3)


def test_a_folder_of_photographs_is_read_and_cut(root):
    caltech = open_dataset(f"folder:{root / 'caltech256_10'}", image_size=64)
    assert caltech.image_size == (64, 64)
    assert len(caltech.classes) == 10
    counts = np.bincount(caltech.train_labels) + np.bincount(caltech.test_labels)
    assert counts.tolist() == [len(list((root / "caltech256_10" / name).iterdir())) for name in caltech.classes]


def test_a_folder_with_train_and_val_keeps_its_own_test_part_and_size(root):
    tiny = open_dataset(f"folder:{root / 'tiny_imagenet'}")
    assert tiny.image_size == (64, 64)
    assert set(np.unique(tiny.test_labels)) == set(range(len(tiny.classes)))
    count = sum(1 for path in (root / "tiny_imagenet" / "val").rglob("*.jpg"))
    assert len(tiny.test_labels) == count
