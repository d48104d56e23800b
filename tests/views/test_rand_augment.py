"""RandAugment's operations against torchvision's and Pillow's, and its draws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.stats import chisquare
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from curriculum_zoo.draws import seeds_of
from curriculum_zoo.errors import DataError
from curriculum_zoo.views.rand_augment import OPERATIONS, RandAugment, rand_augment

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SIDE = (20, 28)
strengths = st.floats(-1, 1)
quick = settings(max_examples=30, deadline=None)


def photograph(seed: int = 0, count: int = 1, channels: int = 3) -> torch.Tensor:
    """8-bit images with smooth and rough parts, as floats."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bilinear")
    noisy = 0.8 * smooth + 0.2 * torch.rand(count, channels, *SIDE, generator=generator)
    return (noisy * 255).round() / 255


def apply(name: str, images: torch.Tensor, strength: float) -> torch.Tensor:
    return OPERATIONS[name](images.clone(), torch.full((len(images), 1, 1, 1), strength)).clamp(0, 1)


def seeds_for(images: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    return seeds_of(torch.arange(len(images)), epoch)


COLOURS = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "color": reference.adjust_saturation,
    "sharpness": reference.adjust_sharpness,
}


@pytest.mark.parametrize("name", COLOURS)
@quick
@given(seed=st.integers(0, 1000), strength=strengths)
def test_colour_operations_equal_torchvisions(name, seed, strength):
    images = photograph(seed, 2)
    want = COLOURS[name](images, 1 + 0.9 * strength)
    torch.testing.assert_close(apply(name, images, strength), want, atol=2e-6, rtol=0)


def test_posterize_equals_torchvisions_at_every_strength():
    images = photograph()
    for magnitude in range(11):
        bits = 8 - round(4 * magnitude / 10)
        want = reference.posterize((images * 255).byte(), bits).float() / 255
        torch.testing.assert_close(apply("posterize", images, magnitude / 10), want)


@quick
@given(strength=strengths)
def test_solarize_inverts_what_is_above_its_threshold(strength):
    images = photograph()
    threshold = 256 * (1 - abs(strength))
    got = apply("solarize", images, strength)
    for value, result in zip((images * 255).round().flatten().tolist(), got.flatten().tolist(), strict=True):
        if abs(value - threshold) > 1e-3:
            assert result * 255 == pytest.approx(255 - value if value > threshold else value, abs=1e-3)


@quick
@given(seed=st.integers(0, 1000))
def test_autocontrast_and_equalize_equal_torchvisions_and_pillows(seed):
    images = photograph(seed) * 0.5 + 0.2
    images = (images * 255).round() / 255
    torch.testing.assert_close(apply("autocontrast", images, 0.3), reference.autocontrast(images), atol=1e-6, rtol=0)
    picture = Image.fromarray((images[0].permute(1, 2, 0) * 255).round().byte().numpy())
    want = np.asarray(ImageOps.equalize(picture)).transpose(2, 0, 1)
    got = (apply("equalize", images, 0.3)[0] * 255).round().byte().numpy()
    np.testing.assert_array_equal(got, want)


def test_a_flat_image_stays_as_it_is_under_autocontrast_and_equalize():
    images = torch.full((1, 3, *SIDE), 0.4)
    assert torch.equal(apply("autocontrast", images, 0.0), images)
    assert torch.equal(apply("equalize", images, 0.0), images)


@quick
@given(strength=strengths)
def test_rotation_equals_torchvisions(strength):
    images = photograph()
    want = reference.rotate(images, 30 * strength, InterpolationMode.BILINEAR)
    torch.testing.assert_close(apply("rotate", images, strength), want, atol=1e-4, rtol=0)


@quick
@given(strength=strengths)
def test_shears_and_shifts_take_each_pixel_from_where_they_say(strength):
    images = photograph()
    height, width = SIDE
    plane = images[0, 0].numpy()
    wide = int(strength * 150 / 331 * width)
    high = int(strength * 150 / 331 * height)
    slope = 0.3 * strength
    sources = {
        "translate_x": lambda y, x: (y, x + wide),
        "translate_y": lambda y, x: (y + high, x),
        "shear_x": lambda y, x: (y, x + slope * (y - (height - 1) / 2)),
        "shear_y": lambda y, x: (y + slope * (x - (width - 1) / 2), x),
    }
    for name, source in sources.items():
        got = apply(name, images, strength)[0, 0].numpy()
        for y, x in ((0, 0), (3, 21), (10, 14), (19, 27), (17, 5)):
            assert got[y, x] == pytest.approx(bilinear(plane, *source(y, x)), abs=1e-4), name


def bilinear(plane: np.ndarray, y: float, x: float) -> float:
    """The plane between its pixels; black beyond them."""
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += weight * plane[row, column]
    return total


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)),
    magnitude=st.floats(0, 10),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    channels_last=st.booleans(),
)
def test_range_dtype_format_and_input_are_kept(seed, shape, magnitude, dtype, channels_last):
    format = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).contiguous(memory_format=format)
    before = images.clone()
    got = rand_augment(images, magnitude, seeds_for(images, seed), operations=6)
    assert torch.equal(images, before)
    assert (got.shape, got.dtype) == (images.shape, dtype)
    assert got.is_contiguous(memory_format=format)
    assert torch.isfinite(got).all()
    assert got.numel() == 0 or (got.min() >= 0 and got.max() <= 1)


@pytest.mark.parametrize("device", DEVICES)
def test_draws_follow_the_seeds_alone_on_every_device(device):
    images = photograph(count=16)
    once = rand_augment(images, 5, seeds_for(images))
    there = rand_augment(images.to(device), 5, seeds_for(images).to(device))
    torch.testing.assert_close(there.cpu(), once, rtol=0, atol=0 if device == "cpu" else 1e-5)
    assert not torch.equal(once, rand_augment(images, 5, seeds_for(images, 1)))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(RandAugment(5, key=(1,))(images), RandAugment(5, key=(1,))(images))
    assert not torch.equal(RandAugment(5, key=(1,))(images), RandAugment(5, key=(2,))(images))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_gray_image_is_augmented_alike_alone_and_in_a_batch(threads):
    # 220 x 220 px: enough for torch to add up a single plane's brightness on several threads.
    images = torch.rand(3, 1, 220, 220)
    strength = torch.full((3, 1, 1, 1), 0.7)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for operation in OPERATIONS.values():
            whole = operation(images.clone(), strength)
            alone = torch.cat([operation(image.clone(), strength[:1]) for image in images.split(1)])
            assert torch.equal(alone, whole), operation
    finally:
        torch.set_num_threads(before)


def test_every_image_has_a_draw_of_its_own_and_every_operation_its_turn():
    images = photograph().expand(1400, -1, -1, -1)
    once = rand_augment(images, 7, seeds_for(images), operations=1)
    # Of the fourteen, three go one way only and the identity nowhere; all others have two signs.
    kinds: list[torch.Tensor] = []
    expected = []
    for result in (apply(name, images[:1], sign * 0.7) for name in OPERATIONS for sign in (-1, 1)):
        alike = [number for number, kind in enumerate(kinds) if torch.allclose(kind, result, atol=1e-4)]
        if not alike:
            kinds.append(result)
            expected.append(0)
        expected[alike[0] if alike else -1] += 50
    counts = [int(((once - kind).abs() < 1e-4).all(1).all(1).all(1).sum()) for kind in kinds]
    assert sum(counts) == 1400
    assert chisquare(counts, expected).pvalue > 1e-3


def test_magnitude_zero_changes_an_image_by_nothing_that_has_a_strength():
    images = photograph()
    for name in OPERATIONS:
        if name not in ("autocontrast", "equalize"):
            torch.testing.assert_close(apply(name, images, 0.0), images, atol=1e-5, rtol=0)


def test_bad_images_and_magnitudes_are_named():
    with pytest.raises(DataError, match="floating point"):
        rand_augment(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 5, torch.zeros(1))
    with pytest.raises(DataError, match="between 0 and 10, got 11"):
        rand_augment(torch.zeros(1, 3, 8, 8), 11, torch.zeros(1))
