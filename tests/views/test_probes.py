"""Shape-or-texture probes against NumPy and plain loops, and what they promise."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from curriculum_zoo.draws import image_seeds
from curriculum_zoo.errors import CurriculumError, DataError
from curriculum_zoo.views.probes import Grey, HighPass, LowPass, PatchShuffle

FILTERS = [LowPass(0.0), LowPass(0.3), LowPass(1.0), HighPass(0.0), HighPass(0.4), HighPass(0.2, gray=0.3), Grey()]


def reference_low_pass(plane, radius):
    """The disk of the centred spectrum of one plane, by NumPy."""
    spectrum = np.fft.fftshift(np.fft.fft2(plane))
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(side)) for side in plane.shape)
    spectrum[np.hypot(rows[:, None], columns) > radius / 2 + 1e-6] = 0
    return np.fft.ifft2(np.fft.ifftshift(spectrum)).real


def planes(images):
    return images.double().numpy().reshape(-1, *images.shape[2:])


# Frequencies ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.integers(1, 24), st.integers(1, 24), st.sampled_from([0, 0.25, 0.5, 0.75, 1.0, 1.3]))
def test_the_filters_cut_numpys_spectrum_at_a_circle(seed, height, width, radius):
    images = 0.3 + 0.4 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    low = np.stack([reference_low_pass(plane, radius) for plane in planes(images)])
    np.testing.assert_allclose(planes(LowPass(radius)(images)), low.clip(0, 1), rtol=0, atol=2e-6)
    high = (planes(images) - low + 0.4).clip(0, 1)
    np.testing.assert_allclose(planes(HighPass(radius, 0.4)(images)), high, rtol=0, atol=2e-6)


def test_a_wave_passes_one_filter_and_not_the_other():
    wave = 0.25 * torch.cos(2 * torch.pi * 8 / 32 * torch.arange(32)).expand(1, 1, 32, 32)
    images = 0.6 + wave  # half of the highest frequency
    torch.testing.assert_close(LowPass(0.55)(images), images)
    torch.testing.assert_close(LowPass(0.45)(images), torch.full_like(images, 0.6))
    torch.testing.assert_close(HighPass(0.45)(images), 0.5 + wave)
    torch.testing.assert_close(HighPass(0.55)(images), torch.full_like(images, 0.5))


def test_a_radius_of_zero_leaves_the_mean_and_of_root_two_everything(natural):
    images = natural(1, 3, 3, 20, 27)
    torch.testing.assert_close(LowPass(0)(images), images.mean((2, 3), keepdim=True).expand_as(images))
    torch.testing.assert_close(LowPass(2**0.5)(images), images, atol=2e-6, rtol=0)
    centred = images - images.mean((2, 3), keepdim=True) + 0.5
    torch.testing.assert_close(HighPass(0)(images), centred.clamp(0, 1), atol=2e-6, rtol=0)


# Patches --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.integers(1, 5), st.integers(5, 17), st.integers(5, 17))
def test_patches_change_places_whole_and_the_margin_stays(seed, grid, height, width):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    got = PatchShuffle(grid)(images, image_seeds(2, seed))
    down, right = height // grid, width // grid
    top, left = (height - down * grid) // 2, (width - right * grid) // 2

    def patches(image):
        return {
            image[:, top + i * down :, left + j * right :][:, :down, :right].numpy().tobytes()
            for i, j in itertools.product(range(grid), repeat=2)
        }

    for image, shuffled in zip(images, got, strict=True):
        assert patches(image) == patches(shuffled)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[top : top + grid * down, left : left + grid * right] = True
    assert torch.equal(got[..., ~inside], images[..., ~inside])


def test_all_permutations_are_equally_likely():
    images = torch.arange(4.0).div(4).view(1, 1, 2, 2).expand(4800, -1, -1, -1).contiguous()
    orders = PatchShuffle(2)(images, image_seeds(4800, 1)).flatten(1)
    counts = torch.unique(orders, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_a_permutation_follows_the_seed_alone(natural):
    images, seeds = natural(2, 6, 3, 32, 32), image_seeds(6, 4)
    whole = PatchShuffle(4)(images, seeds)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    assert torch.equal(PatchShuffle(4)(images[order], seeds[order]), whole[order])
    parts = [PatchShuffle(4)(images[part], seeds[part]) for part in (slice(0, 1), slice(1, 6))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(PatchShuffle(4)(images, seeds + 1), whole)
    assert torch.equal(PatchShuffle(1)(images, seeds), images)


# Gray -----------------------------------------------------------------------------------------------------------------


def test_grey_is_opencvs_luma_on_three_channels_and_leaves_one_alone(natural):
    images = natural(3, 3, 3, 12, 15)
    want = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images.movedim(1, 3).contiguous().numpy()]
    np.testing.assert_allclose(Grey()(images), np.stack(want)[:, None].repeat(3, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(Grey()(images[:, :1]), images[:, :1])


# What all promise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [*FILTERS, PatchShuffle(3)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_shape_dtype_range_and_memory_format_are_kept_and_so_is_the_input(natural, probe, dtype, format):
    images = natural(4, 3, 3, 14, 21).to(dtype).contiguous(memory_format=format)
    before = images.clone()
    got = probe(images, image_seeds(3, 1)) if isinstance(probe, PatchShuffle) else probe(images)
    assert torch.equal(images, before)
    assert got.dtype == dtype
    assert got.shape == images.shape
    assert got.is_contiguous(memory_format=format)
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize("probe", FILTERS, ids=repr)
def test_an_image_does_not_depend_on_its_batch(natural, probe):
    images = natural(5, 6, 3, 29, 33)
    parts = torch.cat([probe(images[:1]), probe(images[1:])])
    # A Fourier transform may round otherwise in another batch.
    torch.testing.assert_close(parts, probe(images), atol=1e-6, rtol=0)


def test_equal_probes_are_equal_and_can_be_keys():
    assert len({LowPass(0.5), LowPass(0.5), HighPass(0.5), PatchShuffle(2), PatchShuffle(2), Grey(), Grey()}) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchShuffle(0), "grid must be at least 1, got 0"),
        (lambda: LowPass(-0.1), "radius must be at least 0"),
        (lambda: HighPass(float("nan")), "radius must be at least 0"),
        (lambda: HighPass(0.5, gray=2), r"gray must lie in \[0, 1\]"),
        (lambda: PatchShuffle(8)(torch.zeros(1, 1, 7, 9), image_seeds(1, 1)), "7 × 9 pixels have no 8 × 8 patches"),
        (lambda: PatchShuffle(2)(torch.zeros(2, 1, 8, 8), image_seeds(1, 1)), r"int64 \[2\]"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_other_tensors_than_batches_are_refused():
    with pytest.raises(CurriculumError, match="floating point"):
        Grey()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
