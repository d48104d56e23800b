"""A small data set that can be learnt in seconds: each class is a bright quadrant under noise."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def quadrants(tmp_path_factory):
    """Path of an npz with 320 + 80 images of 16 x 16 px in four classes."""
    generator = np.random.default_rng(0)

    def images(count):
        labels = np.arange(count) % 4
        pixels = generator.integers(0, 120, (count, 16, 16, 3))
        for image, label in zip(pixels, labels, strict=True):
            top, left = 8 * (label // 2), 8 * (label % 2)
            image[top : top + 8, left : left + 8] += 100
        return pixels.astype(np.uint8), labels

    x_train, y_train = images(320)
    x_test, y_test = images(80)
    path = tmp_path_factory.mktemp("data") / "quadrants.npz"
    names = np.array(["top left", "top right", "bottom left", "bottom right"])
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=names)
    return path
