"""The grid of candidate regions, against the paper's numbers and against plain loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.errors import ModelError
from curriculum_zoo.models.glimpse.regions import Grid, RegionSource, cut, shrink

sides = st.integers(2, 200)
grids = st.builds(Grid, st.integers(2, 5), st.sampled_from((0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 0.9)))


def area_mean(image, size):
    """[C, H, W] to [C, h, w] by loops: pixel i is the mean of the pixels from ⌊iH/h⌋ to ⌈(i + 1)H/h⌉."""
    (height, width), (h, w) = image.shape[1:], size
    result = np.empty((len(image), h, w))
    for i in range(h):
        for j in range(w):
            window = image[:, i * height // h : -(-(i + 1) * height // h), j * width // w : -(-(j + 1) * width // w)]
            result[:, i, j] = window.mean((1, 2))
    return result


def test_the_papers_cells_are_half_a_region_at_none_a_quarter_and_half_of_it():
    plans = Grid().plan((56, 56), (14, 14), 3)
    assert [plan.size for plan in plans] == [(56, 56), (28, 28), (14, 14)]
    assert plans[0].offsets == tuple((y, x) for y in (0, 14, 28) for x in (0, 14, 28))
    assert plans[1].offsets == tuple((y, x) for y in (0, 7, 14) for x in (0, 7, 14))
    assert plans[2].offsets == ()
    assert [plan.scale for plan in plans] == [(4, 4), (2, 2), (1, 1)]


@pytest.mark.parametrize(("side", "levels"), [(13, 0), (14, 1), (26, 1), (27, 2), (28, 2), (56, 3), (112, 4), (256, 5)])
def test_levels_follow_from_image_and_base(side, levels):
    assert len(Grid().sizes((side, side), (14, 14))) == levels


@pytest.mark.parametrize(
    ("grid", "length", "cell", "offsets"),
    [
        (Grid(2, 0), 32, 16, (0, 16)),
        (Grid(2, 0.5), 30, 20, (0, 10)),
        (Grid(4, 0.5), 50, 20, (0, 10, 20, 30)),
        (Grid(3, 0), 27, 9, (0, 9, 18)),
        (Grid(3, 0.5), 25, 13, (0, 6, 12)),
        (Grid(3, 0.1), 28, 10, (0, 9, 18)),
    ],
)
def test_cells_overlap_by_the_share_asked_for(grid, length, cell, offsets):
    assert grid.cell_side(length) == cell
    assert grid.cell_offsets(length) == offsets


@given(grids, sides)
def test_cells_cover_their_region_and_stay_inside_it(grid, length):
    side, offsets = grid.cell_side(length), grid.cell_offsets(length)
    covered = {pixel for offset in offsets for pixel in range(offset, offset + side)}
    assert len(offsets) == grid.side
    assert covered == set(range(length))


@given(grids, sides, sides, st.integers(1, 40), st.integers(1, 40))
def test_every_level_has_at_least_the_base_resolution_and_is_smaller_than_the_one_before(grid, h, w, base_h, base_w):
    sizes = grid.sizes((h, w), (base_h, base_w))
    assert bool(sizes) == (h >= base_h and w >= base_w)
    for (height, width), (smaller_height, smaller_width) in itertools.pairwise(sizes):
        assert base_h <= smaller_height < height
        assert base_w <= smaller_width < width


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 30), st.integers(0, 30))
def test_shrinking_takes_the_mean_of_every_pixel_that_is_covered(h, w, more_h, more_w):
    image = torch.rand(2, 2, h + more_h, w + more_w, generator=torch.Generator().manual_seed(h), dtype=torch.float64)
    expected = np.stack([area_mean(one.numpy(), (h, w)) for one in image])
    np.testing.assert_allclose(shrink(image, (h, w)).numpy(), expected, rtol=1e-12)


def test_regions_are_cut_where_they_are_said_to_be():
    images = torch.rand(3, 2, 20, 30)
    rows, top, left = torch.tensor([2, 0, 0, 1]), torch.tensor([0, 3, 13, 7]), torch.tensor([19, 0, 5, 11])
    crops = cut(images, rows, top, left, (7, 11))
    for crop, row, y, x in zip(crops, rows, top, left, strict=True):
        torch.testing.assert_close(crop, images[row, :, y : y + 7, x : x + 11], rtol=0, atol=0)
    assert cut(images, rows[:0], top[:0], left[:0], (7, 11)).shape == (0, 2, 7, 11)


@pytest.mark.parametrize(
    ("grid", "size", "base"),
    [
        (Grid(), (56, 56), (14, 14)),  # every level from a shrunk copy
        (Grid(), (50, 50), (12, 12)),  # none on a lattice but the last
        (Grid(2, 0), (64, 48), (8, 12)),  # oblong
        (Grid(3, 0.25), (60, 61), (11, 9)),
        (Grid(), (60, 84), (15, 14)),
    ],
)
def test_regions_hold_the_means_of_the_pixels_they_cover_at_every_level(grid, size, base):
    torch.manual_seed(0)
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    plans = grid.plan(size, base, 9)
    assert len(plans) >= 2
    source = RegionSource(images, plans, base)
    corners = torch.zeros(2, 2, dtype=torch.long)
    rows = torch.arange(2)
    np.testing.assert_allclose(source.first, [area_mean(image, base) for image in images.numpy()])
    for level, plan in enumerate(plans[:-1], start=1):
        parent = torch.randint(len(rows), (12,))
        corners = corners[parent] + torch.tensor(plan.offsets)[torch.randint(grid.cells, (12,))]
        rows = rows[parent]
        height, width = plans[level].size
        crops = [images[r, :, y : y + height, x : x + width] for r, (y, x) in zip(rows, corners.tolist(), strict=True)]
        expected = [area_mean(crop.numpy(), base) for crop in crops]
        np.testing.assert_allclose(source.cut(level, rows, corners), expected, rtol=1e-12)


@pytest.mark.parametrize("side", [1, 0, -3, 2.0, True, "3"])
def test_a_grid_of_less_than_two_by_two_is_refused(side):
    with pytest.raises(ModelError, match="grid="):
        Grid(side)


@pytest.mark.parametrize("overlap", [1, 1.5, -0.1, "half", float("nan"), None])
def test_an_overlap_that_is_no_share_is_refused(overlap):
    with pytest.raises(ModelError, match="overlap="):
        Grid(3, overlap)
