"""Sizes and channels of decoded images, against Pillow's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curriculum_zoo.data.decoding.geometry import convert_channels, fit, resize_images
from curriculum_zoo.errors import DataError


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 2, 3, 4]))
def test_arrays_are_resized_as_pillow_resizes_each_plane(height, width, image_size, channels):
    images = noise(2, height, width, channels)
    resized = resize_images(images, image_size)
    short = min(height, width)
    size = image_size * width // short, image_size * height // short
    left, top = (round((side - image_size) / 2) for side in size)
    for index in range(2):
        for channel in range(channels):
            plane = Image.fromarray(images[index, :, :, channel].copy()).resize(size, Image.Resampling.BILINEAR)
            expected = np.asarray(plane)[top : top + image_size, left : left + image_size].astype(int)
            assert abs(resized[index, :, :, channel].astype(int) - expected).max() <= 2


def test_shrinking_averages_rather_than_drops_pixels():
    stripes = np.zeros((1, 32, 32, 1), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    for smaller in (resize_images(stripes, 8)[0, :, :, 0], np.asarray(fit(Image.fromarray(stripes[0, :, :, 0]), 8))):
        assert abs(smaller[:, 1:-1].astype(int) - 127.5).max() <= 1.5


@pytest.mark.parametrize(("width", "height"), [(90, 30), (30, 90)])
def test_of_an_oblong_image_the_centre_remains(width, height):
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", ((width - 30) // 2, (height - 30) // 2, (width + 30) // 2, (height + 30) // 2))
    for square in (np.asarray(fit(image, 10)), resize_images(np.array(image)[None], 10)[0]):
        assert square.shape == (10, 10, 3)
        # As timm does it, pixels beyond the edge have a share in those that lie on it.
        assert (square[1:-1, 1:-1] == (0, 0, 255)).all()
        assert (square[..., 2] > 200).all()


def test_a_very_long_image_costs_no_more_than_a_square_one():
    assert fit(Image.new("L", (60_000, 2)), 224).size == (224, 224)


def test_images_of_the_size_asked_for_are_handed_back():
    images = noise(2, 8, 8, 3)
    assert resize_images(images, 8) is images
    assert convert_channels(images, 3) is images


def test_gray_is_the_luma_that_pillow_computes():
    images = noise(300, 8, 8, 3)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert (convert_channels(images, 1)[..., 0] == expected).all()


def test_gray_becomes_rgb_by_repetition_and_back_unchanged():
    gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    rgb = convert_channels(gray, 3)
    assert rgb.shape == (1, 16, 16, 3)
    assert (rgb == gray).all()
    assert (convert_channels(rgb, 1) == gray).all()


def test_a_size_that_does_not_fit_memory_is_refused_with_its_figure():
    with pytest.raises(DataError, match=r"2 images of 30000000 × 30000000 pixels take .* GB of memory; .* available"):
        resize_images(noise(2, 4, 4, 3), 30_000_000)
