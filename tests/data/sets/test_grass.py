"""The drawn grass: always the same, seamless, and as coarse and bright as it takes to distract from digits."""

import numpy as np
import pytest
from scipy import ndimage

from curriculum_zoo.data.sets.grass import SIDE, grass


@pytest.fixture(scope="module")
def picture():
    return grass().astype(float)


def test_it_is_drawn_once_and_cannot_be_written_to():
    drawn = grass()
    assert (drawn.shape, drawn.dtype) == ((SIDE, SIDE), np.uint8)
    assert grass() is drawn
    with pytest.raises(ValueError, match="read-only"):
        drawn[0, 0] = 1


def test_the_same_seed_draws_the_same_and_another_something_else():
    draw = grass.__wrapped__  # past the cache
    assert (draw() == grass()).all()
    assert abs(np.corrcoef(draw(3).ravel(), grass().ravel())[0, 1]) < 0.02


def test_it_covers_the_whole_ground_in_grays_below_a_digits_white(picture):
    assert 88 < picture.mean() < 89
    assert 31 < picture.std() < 32
    assert picture.min() > 0
    assert 170 < np.percentile(picture, 99.5) < 220  # the brightest blades come near a stroke


def test_it_goes_on_over_its_borders(picture):
    for axis in (0, 1):
        steps = abs(np.diff(picture, axis=axis)).mean()
        over = abs(np.take(picture, 0, axis) - np.take(picture, -1, axis)).mean()
        assert abs(over - steps) < 0.15 * steps


def test_no_part_is_much_brighter_and_no_direction_preferred(picture):
    parts = picture.reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3))
    assert abs(parts - picture.mean()).max() < 5
    gradients = np.stack([np.roll(picture, -1, axis) - picture for axis in (0, 1)])
    shares = (gradients**2).mean(axis=(1, 2))
    assert 0.75 < shares[0] / shares[1] < 1.33


def test_blades_are_strokes_some_pixels_wide_and_much_longer(picture):
    bright, _ = ndimage.label(picture > 140)
    sizes = np.bincount(bright.ravel())[1:]
    boxes = ndimage.find_objects(bright)
    strokes = [box for box, size in zip(boxes, sizes, strict=True) if 20 <= size <= 300]
    lengths = np.array([max(axis.stop - axis.start for axis in box) for box in strokes])
    widths = np.array([size for size in sizes if 20 <= size <= 300]) / np.maximum(lengths, 1)
    assert len(strokes) > 200
    assert 8 < np.median(lengths) < 30
    assert 1.5 < np.median(widths) < 5
