"""What all corruptions promise: an image's own result whatever the batch, range and format, rising severity, names."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import curriculum_zoo
from curriculum_zoo.draws import image_seeds
from curriculum_zoo.errors import CurriculumError, DataError, UnknownNameError
from curriculum_zoo.views import corruptions
from curriculum_zoo.views.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES, corrupt, corruption_names
from curriculum_zoo.views.corruptions.blur import zoom_blur
from curriculum_zoo.views.corruptions.digital import contrast
from curriculum_zoo.views.corruptions.severities import parameters_of, published_side

ALL = (*CORRUPTIONS, *EXTRA_CORRUPTIONS)
DRAWLESS = {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
}
# The published parameters trade one change for another: less blur for more rounds, less of the image for more frost,
# less of the affine map for more local displacement. The squared distance follows one of the two.
TRADING = {"glass_blur", "frost", "elastic_transform"}

kinds = pytest.mark.parametrize("kind", ALL)


def distances(images, kind, seeds):
    """Mean squared distance from the images at each severity."""
    return [float((corrupt(images, kind, severity, seeds) - images).square().mean()) for severity in SEVERITIES]


# The image's own ------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 29, 37), (3, 70, 51)])
def test_an_image_is_corrupted_alike_bit_for_bit_in_every_batch_and_place(natural, kind, channels, height, width):
    images, seeds = natural(1, 7, channels, height, width), image_seeds(7, 3)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    for severity in (3, 5):
        whole = corrupt(images, kind, severity, seeds)
        assert torch.equal(whole, images) == (kind == "saturate" and channels == 1)
        parts = [corrupt(images[part], kind, severity, seeds[part]) for part in (slice(0, 1), slice(1, 4), slice(4, 7))]
        assert torch.equal(torch.cat(parts), whole)
        assert torch.equal(corrupt(images[order], kind, severity, seeds[order]), whole[order])


@kinds
def test_pieces_of_a_large_batch_come_out_as_the_whole_does(natural, kind, monkeypatch):
    images, seeds = natural(2, 10, 3, 32, 32), image_seeds(10, 1)
    whole = corrupt(images, kind, 4, seeds)
    monkeypatch.setattr(corruptions, "_PIECE", 3 * 32 * 32)
    assert torch.equal(corrupt(images, kind, 4, seeds), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_corrupts_as_the_cpu_does_bit_for_bit(natural):
    images, seeds = natural(3, 8, 3, 33, 40), image_seeds(8, 2)
    for kind, severity in itertools.product(ALL, SEVERITIES):
        got = corrupt(images.cuda(), kind, severity, seeds.cuda())
        assert torch.equal(got.cpu(), corrupt(images, kind, severity, seeds)), (kind, severity)


@kinds
def test_draws_follow_the_seed_alone(natural, kind):
    images = natural(4, 1, 3, 32, 32).expand(3, -1, -1, -1).contiguous()
    first, other, again = corrupt(images, kind, 5, torch.tensor([11, 12, 11]))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind in DRAWLESS)


def test_kinds_share_no_draws(natural):
    gray, seeds = torch.full((4, 3, 32, 32), 128 / 255), image_seeds(4, 5)
    noises = [corrupt(gray, kind, 3, seeds) - gray for kind in ("gaussian_noise", "speckle_noise", "shot_noise")]
    correlation = np.corrcoef(torch.stack(noises).flatten(1).numpy())
    assert np.abs(correlation - np.eye(3)).max() < 0.05


def test_severities_of_a_kind_share_their_draws(natural):
    gray, seeds = torch.full((4, 3, 32, 32), 128 / 255), image_seeds(4, 5)
    noises = [corrupt(gray, "gaussian_noise", severity, seeds) - gray for severity in (1, 5)]
    assert np.corrcoef(torch.stack(noises).flatten(1).numpy())[0, 1] > 0.99


# Range, type and format -----------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_range_dtype_and_memory_format_are_kept_and_so_is_the_input(natural, kind, dtype, format):
    seeds = image_seeds(3, 8)
    exact = natural(5, 3, 3, 20, 24)
    images = exact.to(dtype).contiguous(memory_format=format)
    before = images.clone()
    got = corrupt(images, kind, 4, seeds)
    assert torch.equal(images, before)
    assert got.dtype == dtype
    assert got.shape == images.shape
    assert got.is_contiguous(memory_format=format)
    # Eight bits go in and come out, whatever type carries them.
    levels = corrupt(exact, kind, 4, seeds).mul(255).round()
    assert torch.equal(got.double().mul(255).round(), levels.double())
    if dtype in (torch.float32, torch.float64):
        assert torch.equal(got, levels.to(dtype) / 255)


def test_the_result_is_what_the_operation_makes_of_the_levels_rounded_to_levels(natural):
    images, seeds = natural(7, 3, 3, 32, 32), image_seeds(3, 1)
    noisy = images + 0.3 / 255 * torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    for kind, operation in (("contrast", contrast), ("zoom_blur", zoom_blur)):
        want = operation(images, None, *parameters_of(kind, 5, 32)).clamp(0, 1).mul(255).round() / 255
        assert torch.equal(corrupt(noisy, kind, 5, seeds), want)


@given(
    st.sampled_from(ALL),
    st.sampled_from(SEVERITIES),
    st.integers(1, 3),
    st.sampled_from((1, 3)),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_images_of_any_size_are_corrupted(kind, severity, count, channels, height, width, seed):
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    seeds = image_seeds(count, seed)
    got = corrupt(images, kind, severity, seeds)
    assert got.shape == images.shape
    assert torch.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= 1
    assert torch.equal(got, got.mul(255).round() / 255)
    assert torch.equal(corrupt(images[-1:], kind, severity, seeds[-1:]), got[-1:])


@kinds
def test_black_and_white_images_give_no_undefined_numbers(kind):
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 32, 32).contiguous()
    for severity in SEVERITIES:
        assert torch.isfinite(corrupt(images, kind, severity, image_seeds(2, 1))).all()


# Severity -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if kind not in TRADING])
@pytest.mark.parametrize(("side", "count"), [(32, 60), (64, 24), (224, 4)])
def test_images_get_farther_away_with_severity(natural, kind, side, count):
    steps = np.diff(distances(natural(6, count, 3, side, side), kind, image_seeds(count, 4)))
    # Severities 3 and 4 of CIFAR-10-C's motion blur differ in taps that weigh nothing.
    same = [False, False, (kind, side) == ("motion_blur", 32), False]
    assert (steps > np.where(same, -1e-9, 0)).all(), steps


@pytest.mark.parametrize("kind", ["glass_blur", "frost"])
@pytest.mark.parametrize(("side", "count"), [(32, 60), (64, 24), (224, 4)])
def test_images_are_farther_away_at_the_last_severity_than_at_the_first(natural, kind, side, count):
    near, *_, far = distances(natural(6, count, 3, side, side), kind, image_seeds(count, 4))
    assert far > 1.1 * near


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if kind not in TRADING | {"motion_blur"}])
def test_pictures_of_clothes_get_farther_away_with_severity(kind):
    pictures = torch.from_numpy(curriculum_zoo.open_dataset("demo").test_images[:60])
    steps = np.diff(distances(pictures.permute(0, 3, 1, 2).float() / 255, kind, image_seeds(60, 4)))
    assert (steps > 0).all(), steps


def test_every_kind_has_five_severities_at_each_published_size():
    for kind in ALL:
        for side in (32, 64, 224):
            assert len({parameters_of(kind, severity, side) for severity in SEVERITIES}) == 5


def test_the_published_parameters_of_the_nearest_size_serve():
    sides = [1, 28, 32, 45, 46, 64, 96, 119, 120, 224, 512]
    assert [published_side(side) for side in sides] == [32, 32, 32, 32, 64, 64, 64, 64, 224, 224, 224]
    assert parameters_of("gaussian_noise", 1, 28) == (0.04,)
    assert parameters_of("motion_blur", 5, 200) == (20, 15)


def test_the_short_side_decides():
    tall = torch.full((1, 1, 200, 32), 0.5)
    noise = corrupt(tall, "gaussian_noise", 5, image_seeds(1, 1)) - 0.5
    assert noise.std() == pytest.approx(0.10, rel=0.03)


# Names and errors -----------------------------------------------------------------------------------------------------


def test_the_fifteen_kinds_and_their_families_are_the_papers():
    assert corruption_names() == tuple(CORRUPTIONS)
    assert len(CORRUPTIONS) == 15
    counts = {family: list(CORRUPTIONS.values()).count(family) for family in CORRUPTIONS.values()}
    assert counts == {"noise": 3, "blur": 4, "weather": 4, "digital": 4}


def test_families_and_names_select_each_kind_once_in_the_published_order():
    assert corruption_names(["jpeg_compression", "noise", "shot_noise"]) == (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "jpeg_compression",
    )
    assert corruption_names(["extra"]) == tuple(EXTRA_CORRUPTIONS)
    assert corruption_names(["blur", "weather", "digital", "noise"]) == corruption_names()


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'motion-blur'.*Did you mean 'motion_blur'"):
        corruption_names(["noise", "motion-blur"])
    with pytest.raises(UnknownNameError, match=r"'fogg'.*'fog'"):
        corrupt(torch.zeros(1, 3, 8, 8), "fogg", 1, image_seeds(1, 1))
    with pytest.raises(UnknownNameError, match="No corruption named 'blur'"):
        corrupt(torch.zeros(1, 3, 8, 8), "blur", 1, image_seeds(1, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"severity": 0}, DataError, "fog: severity must be a whole number from 1 to 5, got 0"),
        ({"severity": 6}, DataError, "got 6"),
        ({"severity": 2.5}, DataError, "got 2.5"),
        ({"severity": "5"}, DataError, "got '5'"),
        ({"seeds": torch.zeros(3, dtype=torch.int64)}, DataError, r"seeds must be int64 \[2\].*\[3\]"),
        ({"seeds": torch.zeros(2)}, DataError, "torch.float32"),
        ({"images": torch.zeros(2, 4, 8, 8)}, DataError, "1 or 3 channels; these have 4"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, CurriculumError, "floating point"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(change, error, message):
    arguments = {"images": torch.zeros(2, 3, 8, 8), "kind": "fog", "severity": 1, "seeds": image_seeds(2, 1)}
    with pytest.raises(error, match=message):
        corrupt(**(arguments | change))
