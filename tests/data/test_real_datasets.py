"""Real data sets, read whole; the folder that holds them stands in CURRICULUM_ZOO_TEST_DATA."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from curriculum_zoo.data import ResidentLoader, open_dataset
from curriculum_zoo.data.sets.grass import grass
from curriculum_zoo.recipes import Augmentation

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
    sums = [batch.images.mul(255).sum(dim=(1, 2, 3)).double() for batch in loader.batches(0)]
    expected = cifar.train_images.reshape(50000, -1).sum(axis=1, dtype=np.int64)
    assert np.allclose(np.sort(np.concatenate(sums)), np.sort(expected), rtol=1e-5)


def test_mnist_is_read_through_torchvision(root):
    mnist = open_dataset("mnist", root=root)
    assert (mnist.train_images.shape, mnist.test_images.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    mean, std = mnist.mean_std()
    assert (round(mean[0], 4), round(std[0], 4)) == (0.1307, 0.3081)
    assert open_dataset("mnist", root=root, image_size=32, channels=3).train_images.shape == (60000, 32, 32, 3)


def test_mnist_on_canvases_has_the_papers_parts_and_statistics(root):
    plain, noisy, textured = (
        open_dataset(f"mnist_canvas:{name}", root=root) for name in ("plain", "noisy", "textured")
    )
    mnist = open_dataset("mnist", root=root)
    for canvas in (plain, noisy, textured):
        train, validation = canvas.split(5000, seed=0)
        assert (len(train), len(validation), len(canvas.test_labels)) == (55_000, 5000, 10_000)
        shares = np.bincount(canvas.train_labels[validation]) / np.bincount(canvas.train_labels)
        np.testing.assert_allclose(shares, 1 / 12, atol=2e-4)
    (mean,), (std,) = mnist.mean_std()
    assert plain.mean_std()[0][0] == pytest.approx(mean / 4, rel=1e-12)
    assert plain.mean_std()[1][0] == pytest.approx(((std**2 + mean**2) / 4 - mean**2 / 16) ** 0.5, rel=1e-12)
    assert noisy.mean_std()[0][0] == pytest.approx(0.9 * mean / 4 + 0.05, abs=1e-4)
    indices = np.arange(2000)
    digits, ground = mnist.mean_std(indices)[0][0] / 4, textured.mean_std(indices)[0][0]
    assert 0 < ground - grass().mean() / 255 < digits  # grass everywhere, brighter where a digit is


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


def test_tiny_imagenet_and_caltech_are_read_by_their_names(root):
    tiny = open_dataset("tiny_imagenet", root=root, resident=False)
    assert (tiny.num_classes, len(tiny.train_labels), len(tiny.test_labels)) == (200, 60000, 10000)
    assert "goldfish, Carassius auratus" in tiny.classes
    assert tiny.fits_memory()
    caltech = open_dataset(f"caltech256:{root / 'caltech256_10'}", resident=False)
    assert (caltech.num_classes, len(caltech.images)) == (10, 1123)


def test_photographs_are_read_at_every_size_in_memory_that_stays_flat(root):
    photos = open_dataset(f"folder:{root / 'caltech256_10'}", image_size=96, resident=False)
    factory = photos.loader_factory(workers=2)
    loader = factory.loader(np.arange(len(photos.train_labels)), training=True, batch_size=64)
    memory = []
    for epoch in range(6):
        some = loader.with_pixels((96, 48)[epoch % 2])
        assert sum(len(batch.images) for batch in some.batches(epoch)) == len(photos.train_labels)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    factory.close()
    assert memory[-1] < 1.05 * memory[1]
