"""Every view against a slow, independent reference, and the promises that all views keep."""

import cmath
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from curriculum_zoo.curricula.timeline import describe
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import (
    BoxBlur,
    CannyEdges,
    Chain,
    GaussianBlur,
    LowFrequencyCrop,
    Portions,
    RandAugment,
    ReducedShare,
    Resize,
    SobelEdges,
    at_full_size,
    compose,
    identity,
    look,
    pixels,
)
from curriculum_zoo.views.view import draws

VIEWS = [
    BoxBlur(1),
    BoxBlur(4),
    BoxBlur(5),
    GaussianBlur(0.0),
    GaussianBlur(1.5),
    Resize(0.5),
    Resize(5, "bicubic"),
    Resize(0.6, "area"),
    Resize(0.7, "nearest"),
    Resize(20, "bicubic", enlarge=True),
    LowFrequencyCrop(0.5),
    LowFrequencyCrop(7),
    SobelEdges(),
    CannyEdges(),
    ReducedShare(0.5, 0.5),
    Portions((BoxBlur(5), identity, GaussianBlur(1.0)), (0.3, 0.4, 0.3)),
    compose(Resize(0.8), BoxBlur(3)),
    RandAugment(6.0, key=(1, 2)),
    compose(RandAugment(9.0), Portions((BoxBlur(3), identity), (0.5, 0.5)), ReducedShare(0.5, 0.5)),
]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DTYPES = {torch.float64: 1e-9, torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 19)
channels = st.integers(1, 4)
dtypes = st.sampled_from(list(DTYPES))


def batch(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Noise over a slope, so that neither flat nor rough parts are missing."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.linspace(0, 1, shape[-1]).expand(shape)
    return (0.5 * torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5 * slope).to(dtype)


def planes(images: torch.Tensor) -> np.ndarray:
    return images.double().numpy().reshape(-1, *images.shape[2:])


def assert_close(got: torch.Tensor, want: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(planes(got), want, rtol=0, atol=tolerance)


# Against references -----------------------------------------------------------------------------------------------


@quick
@given(seeds, sides, sides, channels, st.integers(1, 9), dtypes)
def test_box_blur_equals_scipys_mirrored_mean(seed, height, width, count, size, dtype):
    images = batch(seed, 2, count, height, width, dtype=dtype)
    want = [ndimage.uniform_filter(plane, size, mode="mirror") for plane in planes(images)]
    assert_close(BoxBlur(size)(images), np.stack(want), DTYPES[dtype])


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_box_blur_equals_opencvs_and_a_literal_loop(size):
    images = batch(1, 1, 1, 9, 11)
    plane = images[0, 0].numpy()
    got = BoxBlur(size)(images)[0, 0].numpy()
    np.testing.assert_allclose(got, cv2.blur(plane, (size, size), borderType=cv2.BORDER_REFLECT_101), atol=1e-12)
    # An even kernel reaches one pixel further to the top left: pixel (4, 5) sees rows 4 - size//2 on.
    top, left = 4 - size // 2, 5 - size // 2
    mean = sum(plane[top + i, left + j] for i in range(size) for j in range(size)) / size**2
    assert got[4, 5] == pytest.approx(mean, abs=1e-12)


@quick
@given(seeds, sides, sides, st.floats(0.2, 4), dtypes)
def test_gaussian_blur_equals_scipys(seed, height, width, sigma, dtype):
    images = batch(seed, 1, 3, height, width, dtype=dtype)
    want = [ndimage.gaussian_filter(plane, sigma, mode="mirror", truncate=4) for plane in planes(images)]
    assert_close(GaussianBlur(sigma)(images), np.stack(want), DTYPES[dtype])


@quick
@given(
    seeds, st.integers(2, 40), st.integers(2, 40), st.integers(1, 40), st.sampled_from(["bilinear", "bicubic"]), dtypes
)
def test_antialiased_resize_equals_pillows(seed, height, width, size, interpolation, dtype):
    images = batch(seed, 1, 2, height, width, dtype=dtype)
    got = Resize(size, interpolation, enlarge=True)(images)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    want = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((got.shape[3], got.shape[2]), method))
        for plane in planes(images)
    ]
    assert_close(got, np.stack(want).clip(0, 1), max(DTYPES[dtype], 3e-6))


@quick
@given(seeds, st.integers(2, 20), st.integers(2, 20), st.floats(0.05, 1))
def test_area_resize_is_the_mean_over_all_pixels_touched(seed, height, width, share):
    images = batch(seed, 1, 1, height, width)
    got = Resize(share, "area")(images)[0, 0]
    plane = images[0, 0].numpy()
    for i in range(got.shape[0]):
        for j in range(got.shape[1]):
            top, bottom = math.floor(i * height / got.shape[0]), math.ceil((i + 1) * height / got.shape[0])
            left, right = math.floor(j * width / got.shape[1]), math.ceil((j + 1) * width / got.shape[1])
            assert got[i, j].item() == pytest.approx(plane[top:bottom, left:right].mean(), abs=1e-12)


@quick
@given(seeds, st.integers(2, 20), st.integers(2, 20), st.floats(0.05, 1), dtypes)
def test_nearest_resize_drops_pixels(seed, height, width, share, dtype):
    images = batch(seed, 1, 2, height, width, dtype=dtype)
    got = Resize(share, "nearest")(images)
    for i in range(got.shape[2]):
        for j in range(got.shape[3]):
            there = images[:, :, i * height // got.shape[2], j * width // got.shape[3]]
            assert torch.equal(got[:, :, i, j], there)


def test_nearest_half_takes_one_pixel_every_other_pixel():
    images = batch(3, 2, 3, 8, 12)
    assert torch.equal(Resize(0.5, "nearest")(images), images[:, :, ::2, ::2])


def slow_low_pass(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """The definition, by sums: each kept frequency's coefficient, then each pixel of the small image."""
    rows, columns = plane.shape
    coefficients = {}
    for u in range(-(height // 2), height - height // 2):
        for v in range(-(width // 2), width - width // 2):
            coefficients[u, v] = sum(
                plane[y, x] * cmath.exp(-2j * math.pi * (u * y / rows + v * x / columns))
                for y in range(rows)
                for x in range(columns)
            )
    small = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            total = sum(
                c * cmath.exp(2j * math.pi * (u * y / height + v * x / width)) for (u, v), c in coefficients.items()
            )
            small[y, x] = total.real / (rows * columns)
    return small.clip(0, 1)


@pytest.mark.parametrize(("height", "width", "size"), [(6, 6, 4), (7, 7, 4), (8, 6, 3), (5, 9, 2), (7, 7, 1)])
def test_low_frequency_crop_equals_the_definition_by_sums(height, width, size):
    images = batch(height, 1, 1, height, width)
    got = LowFrequencyCrop(size)(images)
    assert_close(got, slow_low_pass(images[0, 0].numpy(), *got.shape[2:])[None], 1e-9)


@quick
@given(seeds, st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), dtypes)
def test_low_frequency_crop_equals_numpys_fft(seed, height, width, size, dtype):
    images = batch(seed, 1, 2, height, width, dtype=dtype)
    got = LowFrequencyCrop(size)(images)
    small_height, small_width = got.shape[2:]
    assert min(small_height, small_width) == min(size, height, width)
    spectrum = np.fft.fftshift(np.fft.fft2(planes(images)), axes=(1, 2))
    top, left = height // 2 - small_height // 2, width // 2 - small_width // 2
    cut = np.fft.ifftshift(spectrum[:, top : top + small_height, left : left + small_width], axes=(1, 2))
    want = np.fft.ifft2(cut).real * (small_height * small_width) / (height * width)
    assert_close(got, want.clip(0, 1), max(DTYPES[dtype], 3e-6))


def test_low_frequency_crop_keeps_the_mean_brightness():
    images = 0.25 + 0.5 * batch(4, 2, 3, 32, 32)
    smooth = GaussianBlur(3.0)(images)
    torch.testing.assert_close(LowFrequencyCrop(16)(smooth).mean((2, 3)), smooth.mean((2, 3)), atol=1e-12, rtol=0)


def opencv_sobel(image: np.ndarray) -> np.ndarray:
    """HRT's edge image, from an image [H, W, 3] in [0, 1], in OpenCV's words."""
    gray = (image * 255) @ np.array([0.299, 0.587, 0.114])
    gx = cv2.Sobel(gray, cv2.CV_64F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT_101)
    gy = cv2.Sobel(gray, cv2.CV_64F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT_101)
    magnitude = np.sqrt(gx**2 + gy**2)
    return np.clip(magnitude / max(magnitude.max(), 1e-30), 0, 1)


@quick
@given(seeds, st.integers(2, 19), st.integers(2, 19), dtypes)
def test_sobel_edges_equal_opencvs(seed, height, width, dtype):
    images = batch(seed, 2, 3, height, width, dtype=dtype)
    got = SobelEdges()(images).double().numpy()
    for image, edges in zip(images.double().numpy(), got, strict=True):
        want = opencv_sobel(image.transpose(1, 2, 0))
        np.testing.assert_allclose(edges, np.stack([want] * 3), rtol=0, atol=max(10 * DTYPES[dtype], 1e-5))


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (2, 2)])
def test_sobel_edges_of_the_smallest_images_equal_opencvs(shape):
    images = batch(5, 1, 1, *shape)
    plane = images[0, 0].numpy()
    gx = cv2.Sobel(plane, cv2.CV_64F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT_101)
    gy = cv2.Sobel(plane, cv2.CV_64F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT_101)
    magnitude = np.hypot(gx, gy)
    want = magnitude / magnitude.max() if magnitude.max() > 0 else magnitude
    np.testing.assert_allclose(SobelEdges()(images)[0, 0].numpy(), want, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("value", [0.0, 0.3, 0.7123, 1.0])
def test_constant_image_gives_zero_edges(dtype, count, value):
    images = torch.full((2, count, 33, 29), value, dtype=dtype)
    assert torch.count_nonzero(SobelEdges()(images)) == 0
    assert torch.count_nonzero(CannyEdges()(images)) == 0


def test_constant_colour_gives_zero_edges_beside_an_image_that_has_some():
    images = torch.rand(3, 3, 37, 41)
    images[1] = torch.tensor([0.1, 0.77, 0.313])[:, None, None]
    edges = SobelEdges()(images)
    assert torch.count_nonzero(edges[1]) == 0
    assert edges[0].max() == edges[2].max() == 1


def test_the_faintest_edge_that_8_bits_hold_is_an_edge():
    images = torch.zeros(1, 3, 8, 8)
    images[:, 2, :, 4:] = 1 / 255
    assert SobelEdges()(images).max() == 1


def smooth_levels(seed: int, height: int, width: int, sigma: float) -> np.ndarray:
    """8-bit images with edges long and short, strong and weak."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = ndimage.gaussian_filter(noise, sigma)
    smooth = (smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)
    return np.round(smooth * 255).astype(np.uint8)


@quick
@given(
    seeds,
    st.integers(3, 40),
    st.integers(3, 40),
    st.floats(0.1, 2),
    st.sampled_from([(100, 200), (30, 60), (50, 50), (0, 300)]),
)
def test_canny_edges_equal_opencvs(seed, height, width, sigma, thresholds):
    levels = smooth_levels(seed, height, width, sigma)
    want = cv2.Canny(levels, *thresholds)
    images = torch.from_numpy(levels)[None, None].float() / 255
    got = CannyEdges(*thresholds)(images)[0, 0]
    np.testing.assert_array_equal(got.numpy() * 255, want)


@quick
@given(seeds, st.floats(0.3, 2))
def test_canny_edges_of_colours_equal_opencvs_of_its_gray(seed, sigma):
    colours = np.stack([smooth_levels(seed + i, 32, 32, sigma) for i in range(3)], -1)
    want = cv2.Canny(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), 100, 200)
    got = CannyEdges()(torch.from_numpy(colours).permute(2, 0, 1)[None].float() / 255)
    np.testing.assert_array_equal(got[0].numpy() * 255, np.stack([want] * 3))


def test_canny_follows_a_weak_edge_all_the_way_from_its_strong_end():
    levels = np.zeros((40, 40), np.uint8)
    levels[20:, :4] = 200
    levels[20:, 4:] = 45
    want = cv2.Canny(levels, 100, 200)
    assert np.count_nonzero(want[:, 30:])
    got = CannyEdges()(torch.from_numpy(levels)[None, None].float() / 255)
    np.testing.assert_array_equal(got[0, 0].numpy() * 255, want)


# What all views promise -------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 3), channels, sides, sides, dtypes, st.booleans())
def test_views_keep_range_dtype_format_and_their_input(seed, number, count, height, width, dtype, channels_last):
    format = torch.channels_last if channels_last else torch.contiguous_format
    images = batch(seed, number, count, height, width, dtype=dtype).contiguous(memory_format=format)
    before = images.clone()
    # One pixel, or one channel, lies the same way in both formats.
    both = images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
    for view in VIEWS:
        got = view(images)
        assert torch.equal(images, before), view
        assert got.dtype == dtype, view
        assert got.shape[:2] == images.shape[:2], view
        assert got.is_contiguous(memory_format=format) or both, view
        assert torch.isfinite(got).all(), view
        assert got.min() >= 0, view
        assert got.max() <= 1, view


@pytest.mark.parametrize("view", VIEWS, ids=describe)
def test_views_keep_channels_last(view):
    images = torch.rand(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    got = view(images)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, view(images.contiguous()))


@pytest.mark.parametrize("view", VIEWS, ids=describe)
def test_views_keep_black_black_and_white_in_range(view):
    if draws(view) and not isinstance(view, Portions | ReducedShare):
        pytest.skip("augmentation changes brightness")
    for value in (0.0, 1.0):
        got = view(torch.full((2, 3, 12, 10), value))
        edges = isinstance(view, SobelEdges | CannyEdges)
        torch.testing.assert_close(got, torch.full_like(got, 0.0 if edges else value), atol=1e-6, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", VIEWS, ids=describe)
@settings(max_examples=8)
@given(data=st.data(), count=st.sampled_from([1, 3]), side=st.integers(3, 40))
def test_a_view_of_a_batch_is_the_views_of_its_parts_put_together(view, device, data, count, side):
    images = torch.rand(9, count, side, side + 3, generator=torch.Generator().manual_seed(side)).to(device)
    drawn = data.draw(st.permutations(range(9)))
    cut = data.draw(st.integers(1, 8))
    seeds = data.draw(st.sampled_from([None, torch.arange(9) * 7919]))
    whole = look(view, images, seeds)
    for part in (drawn[:cut], drawn[cut:]):
        own = None if seeds is None else seeds[part]
        alone = look(view, images[part], own)
        # Libraries multiply matrices of another number of rows in another order, and GPUs add up so, too.
        exact = device == "cpu" and isinstance(view, SobelEdges | CannyEdges | RandAugment)
        torch.testing.assert_close(alone, whole[part], rtol=0, atol=0 if exact else 1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", VIEWS, ids=describe)
def test_views_agree_on_every_device_and_stay_there(view, device):
    images = batch(7, 6, 3, 17, 23, dtype=torch.float32)
    got = view(images.to(device))
    assert got.device.type == device
    torch.testing.assert_close(got.cpu(), view(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("view", VIEWS, ids=describe)
def test_views_are_exact_inside_autocast(view):
    images = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = view(images)
    assert torch.equal(inside, view(images))


@pytest.mark.parametrize("view", VIEWS, ids=describe)
def test_views_made_first_in_inference_mode_serve_training_afterwards(view):
    images = torch.rand(2, 3, 13, 17)
    with torch.inference_mode():
        view(images)
    weight = torch.ones(1, requires_grad=True)
    (view(images) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8)]
)
@pytest.mark.parametrize(
    "view", [BoxBlur(3), Resize(0.5), SobelEdges(), CannyEdges(), LowFrequencyCrop(0.5)], ids=describe
)
def test_views_name_what_they_expect_of_a_batch(view, images):
    with pytest.raises(CurriculumError, match=r"takes a batch of images \[N, C, H, W\]"):
        view(images)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BoxBlur(0),
        lambda: GaussianBlur(-1.0),
        lambda: GaussianBlur(math.nan),
        lambda: Resize(0),
        lambda: Resize(1.5),
        lambda: Resize(0.5, "lanczos"),
        lambda: LowFrequencyCrop(0.0),
        lambda: CannyEdges(200, 100),
    ],
)
def test_views_refuse_parameters_that_make_no_sense(make):
    with pytest.raises(CurriculumError):
        make()


# Sizes ------------------------------------------------------------------------------------------------------------


def test_pixels_reads_integers_as_pixels_and_floats_as_shares():
    assert pixels(None, 32) == 32
    assert pixels(16, 32) == 16
    assert pixels(0.5, 32) == 16
    assert pixels(0.01, 32) == 1
    assert pixels(0.55, 224, multiple=32) == 128
    assert pixels(0.01, 224, multiple=32) == 32
    assert pixels(0.99, 30, multiple=4) == 28
    assert pixels(0.99, 31, multiple=4) == 31


def test_resize_goes_by_the_short_side_and_never_enlarges_unless_told():
    images = torch.rand(1, 3, 20, 40)
    assert Resize(10)(images).shape == (1, 3, 10, 20)
    assert Resize(0.25)(images.mT).shape == (1, 3, 10, 5)
    assert Resize(20)(images) is images
    assert Resize(30)(images) is images
    assert Resize(30, enlarge=True)(images).shape == (1, 3, 30, 60)
    assert LowFrequencyCrop(10)(images).shape == (1, 3, 10, 20)
    assert LowFrequencyCrop(30)(images) is images


@pytest.mark.parametrize("view", [Resize(0.5), Resize(0.5, multiple=5), LowFrequencyCrop(0.5), Chain((Resize(0.5),))])
def test_view_at_full_size_leaves_images_alone_that_were_loaded_at_its_size(view):
    fixed = at_full_size(view, 32)
    full = torch.rand(1, 3, 32, 32)
    small = view(full)
    assert torch.equal(fixed(full), small)
    assert fixed(small) is small
    assert at_full_size(identity, 32) is identity


# Draws ------------------------------------------------------------------------------------------------------------


def four_deviations(share: float, count: int) -> float:
    return 4 * (share * (1 - share) / count) ** 0.5


def test_reduced_share_reduces_each_image_with_its_probability_and_keeps_the_others():
    images = torch.rand(2000, 1, 4, 4)
    got = ReducedShare(0.3, 0.5, "area")(images)
    means = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    kept = (got == images).all((1, 2, 3))
    torch.testing.assert_close(got[~kept], means[~kept])
    assert kept.float().mean() == pytest.approx(0.7, abs=four_deviations(0.3, 2000))
    assert torch.equal(ReducedShare(0.0, 0.5)(images), images)
    torch.testing.assert_close(ReducedShare(1.0, 0.5, "area")(images), means)


def test_portions_show_each_image_through_one_view_with_its_probability():
    images = torch.rand(2000, 1, 5, 5)
    views, shares = (BoxBlur(3), identity, SobelEdges()), (0.2, 0.5, 0.3)
    got = Portions(views, shares)(images)
    seen = torch.stack([((view(images) - got).abs() < 1e-6).all((1, 2, 3)) for view in views], 1)
    assert (seen.sum(1) == 1).all()
    for count, share in zip(seen.sum(0).tolist(), shares, strict=True):
        assert count / 2000 == pytest.approx(share, abs=four_deviations(share, 2000))


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.6), (1.5, -0.5)])
def test_portions_whose_shares_are_none_are_refused(shares):
    with pytest.raises(CurriculumError, match="together 1"):
        Portions((BoxBlur(3), identity), shares)


def reduced(view: ReducedShare, images: torch.Tensor, seeds: torch.Tensor | None = None) -> torch.Tensor:
    return (look(view, images, seeds) != images).any((1, 2, 3))


def test_draws_follow_seeds_and_key_and_leave_views_equal():
    images, numbers = torch.rand(500, 1, 4, 4), torch.arange(500)
    first, other = ReducedShare(0.5, 0.5, key=(0, 1)), ReducedShare(0.5, 0.5, key=(0, 2))
    assert first == other
    assert hash(first) == hash(other)
    assert torch.equal(reduced(first, images, numbers), reduced(first, images, numbers))
    # Only the seeds count where they are given, and only the pixels where they are not.
    assert torch.equal(reduced(first, images, numbers), reduced(first, images.flip(3), numbers))
    chances = [(reduced(first, images, numbers), other) for other in (
        reduced(other, images, numbers), reduced(first, images, numbers + 500), reduced(first, images),
        reduced(first, images, numbers).flip(0),
    )]  # fmt: skip
    for one, two in chances:
        assert (one == two).float().mean() == pytest.approx(0.5, abs=four_deviations(0.5, 500))


def test_views_in_one_chain_draw_independently_of_each_other():
    images = torch.rand(2000, 1, 4, 4)
    twice = compose(ReducedShare(0.5, 0.5), ReducedShare(0.5, 0.5))
    once = compose(ReducedShare(0.5, 0.5), BoxBlur(1))
    for seeds in (None, torch.arange(2000)):
        # Reducing what is reduced already changes it again; alike draws would leave one half of the images alone.
        alone = (look(twice, images, seeds) == images).all((1, 2, 3)).float().mean()
        assert alone == pytest.approx(0.25, abs=four_deviations(0.25, 2000))
        assert reduced(once, images, seeds).float().mean() == pytest.approx(0.5, abs=four_deviations(0.5, 2000))


def test_a_view_of_ones_own_may_draw():
    class Negative:
        draws = True

        def __call__(self, images, seeds=None):
            return images if seeds is None else images * (1 - 2 * (seeds % 2)).view(-1, 1, 1, 1)

    images = torch.rand(4, 1, 2, 2)
    assert torch.equal(look(Negative(), images, torch.tensor([0, 1, 2, 3]))[1::2], -images[1::2])
    assert compose(BoxBlur(3), Negative()).draws
    assert not compose(BoxBlur(3), BoxBlur(2)).draws


# Chains -----------------------------------------------------------------------------------------------------------


def test_compose_flattens_and_drops_what_does_nothing():
    assert compose() is identity
    assert compose(identity, BoxBlur(3)) == BoxBlur(3)
    assert compose(compose(BoxBlur(3), Resize(0.5)), SobelEdges()) == Chain((BoxBlur(3), Resize(0.5), SobelEdges()))
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(compose(BoxBlur(3), Resize(0.5))(images), Resize(0.5)(BoxBlur(3)(images)))
