"""Batches from memory: which images, in which order, changed how."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.data import ResidentLoader
from curriculum_zoo.errors import DataError, RecipeError
from curriculum_zoo.recipes import Augmentation

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def numbered_images(count, height=4, width=5, channels=3):
    """Images that tell their own number in every pixel, which is also their label."""
    numbers = np.arange(count, dtype=np.int64)
    images = np.empty((count, height, width, channels), dtype=np.uint8)
    images[:] = (numbers % 256)[:, None, None, None]
    return images, numbers


def walk(loader, epoch=0, start=0):
    """All images and labels of an epoch as arrays, bytes again."""
    batches = [
        (batch.images.mul(255).round().byte().cpu(), batch.labels.cpu()) for batch in loader.batches(epoch, start)
    ]
    return torch.cat([images for images, _ in batches]).numpy(), torch.cat([labels for _, labels in batches]).numpy()


def changed(image, augmentation, flip, top, left, centre):
    """One image [H, W, C] augmented pixel by pixel."""
    height, width, channels = image.shape
    pad, hole = augmentation.crop_padding, augmentation.cutout
    mode = {"zeros": "constant", "reflect": "reflect"}[augmentation.padding]
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    result = np.zeros_like(image)
    for y, x, c in itertools.product(range(height), range(width), range(channels)):
        inside_y = centre[0] - hole // 2 <= y < centre[0] - hole // 2 + hole
        inside_x = centre[1] - hole // 2 <= x < centre[1] - hole // 2 + hole
        if not (inside_y and inside_x):
            result[y, x, c] = padded[top + y, left + (width - 1 - x if flip else x), c]
    return result


def outcomes(image, augmentation):
    """Everything that may become of an image: bytes → the draws that lead there."""
    height, width, _ = image.shape
    flips = (False, True) if augmentation.flip else (False,)
    shifts = range(2 * augmentation.crop_padding + 1)
    centres = list(itertools.product(range(height), range(width))) if augmentation.cutout else [(0, 0)]
    found = {}
    for draw in itertools.product(flips, shifts, shifts, centres):
        found.setdefault(changed(image, augmentation, *draw).tobytes(), []).append(draw)
    return found


AUGMENTATIONS = [
    Augmentation(flip=True),
    Augmentation(crop_padding=2),
    Augmentation(crop_padding=3, padding="reflect"),
    Augmentation(cutout=2),
    Augmentation(flip=True, crop_padding=1, cutout=3),
    Augmentation(flip=True, crop_padding=1, padding="reflect", cutout=1),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_each_image_becomes_what_a_literal_loop_makes_of_it(augmentation, channels, device):
    image = np.arange(1, 4 * 5 * channels + 1, dtype=np.uint8).reshape(4, 5, channels)
    loader = ResidentLoader(
        np.repeat(image[None], 10_000, axis=0),
        np.zeros(10_000, int),
        batch_size=256,
        augmentation=augmentation,
        device=device,
    )
    possible = outcomes(image, augmentation)
    seen = {result.tobytes() for result in np.ascontiguousarray(walk(loader)[0].transpose(0, 2, 3, 1))}
    assert seen == set(possible)  # nothing else happens, and in 10,000 images everything does


def test_every_flip_shift_and_hole_is_as_likely_as_every_other():
    augmentation = Augmentation(flip=True, crop_padding=1, padding="reflect", cutout=1)
    image = np.arange(1, 4 * 5 * 3 + 1, dtype=np.uint8).reshape(4, 5, 3)
    possible = outcomes(image, augmentation)
    assert all(len(draws) == 1 for draws in possible.values())
    count = 20_000
    loader = ResidentLoader(
        np.repeat(image[None], count, axis=0), np.zeros(count, int), batch_size=1000, augmentation=augmentation, seed=3
    )
    results = np.ascontiguousarray(walk(loader)[0].transpose(0, 2, 3, 1))
    draws = [possible[result.tobytes()][0] for result in results]
    for value in (lambda d: d[0], lambda d: d[1], lambda d: d[2], lambda d: d[3], lambda d: d[:3]):
        _, counts = np.unique([str(value(draw)) for draw in draws], return_counts=True)
        expected = count / len(counts)
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < len(counts) - 1 + 4 * np.sqrt(2 * len(counts))  # four deviations above its mean


def test_neighbours_in_a_batch_are_drawn_independently():
    image = np.array([[[1], [2]]], dtype=np.uint8)
    loader = ResidentLoader(
        np.repeat(image[None], 4096, axis=0), np.zeros(4096, int), batch_size=4096, augmentation=Augmentation(flip=True)
    )
    flipped = walk(loader)[0][:, 0, 0, 0] == 2
    assert 0.47 < flipped.mean() < 0.53
    assert 0.47 < (flipped[1:] == flipped[:-1]).mean() < 0.53
    assert 0.47 < (flipped == (walk(loader, epoch=1)[0][:, 0, 0, 0] == 2)).mean() < 0.53


@pytest.mark.parametrize("batch_size", [64, 4096])
def test_alternating_flips_mirror_each_image_in_every_other_epoch(batch_size):
    image = np.array([[[1], [2]]], dtype=np.uint8)
    augmentation = Augmentation(flip="alternating")
    images = np.repeat(image[None], 4096, axis=0)
    loader = ResidentLoader(images, np.arange(4096), batch_size=batch_size, augmentation=augmentation, seed=3)

    def flipped(epoch):
        pixels, labels = walk(loader, epoch=epoch)[:2]
        return (pixels[:, 0, 0, 0] == 2)[np.argsort(labels)]

    first = flipped(0)
    assert 0.47 < first.mean() < 0.53
    assert 0.47 < (first[1:] == first[:-1]).mean() < 0.53
    for epoch in range(1, 5):
        assert (flipped(epoch) == (first if epoch % 2 == 0 else ~first)).all()


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 70),
    seed=st.integers(0, 10),
    epoch=st.integers(0, 300),
    augmented=st.booleans(),
    shuffle=st.booleans(),
)
def test_every_image_comes_once_an_epoch_with_its_own_label(count, batch_size, seed, epoch, augmented, shuffle):
    images, numbers = numbered_images(count)
    augmentation = Augmentation(flip=True, crop_padding=1, padding="reflect") if augmented else None
    loader = ResidentLoader(
        images, numbers, batch_size=batch_size, seed=seed, augmentation=augmentation, shuffle=shuffle
    )
    seen, labels = walk(loader, epoch)
    assert sorted(labels) == list(range(count))
    assert (seen == labels[:, None, None, None]).all()
    assert shuffle or (labels == numbers).all()


@given(count=st.integers(1, 60), batch_size=st.integers(1, 60), drop_last=st.booleans())
def test_steps_is_the_number_of_batches_and_only_the_last_may_be_short(count, batch_size, drop_last):
    batch_size = min(batch_size, count)
    loader = ResidentLoader(*numbered_images(count), batch_size=batch_size, drop_last=drop_last)
    sizes = [len(batch.labels) for batch in loader.batches(0)]
    assert len(sizes) == loader.steps
    assert all(size == batch_size for size in sizes[: count // batch_size])
    assert sum(sizes) == (count // batch_size * batch_size if drop_last else count)


@given(start=st.integers(0, 7), epoch=st.integers(0, 5))
def test_starting_in_the_middle_gives_the_rest_of_the_epoch(start, epoch):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), dtype=np.uint8)
    augmentation = Augmentation(flip=True, crop_padding=2, cutout=3)
    loader = ResidentLoader(images, np.arange(50), batch_size=8, augmentation=augmentation, seed=1)
    whole = list(loader.batches(epoch))
    rest = list(loader.batches(epoch, start))
    assert len(rest) == loader.steps - start
    for expected, batch in zip(whole[start:], rest, strict=True):
        assert all(torch.equal(*pair) for pair in zip(expected[:3], batch[:3], strict=True))


@given(world_size=st.sampled_from([1, 2, 3, 4]), count=st.integers(12, 70), shuffle=st.booleans())
def test_processes_share_the_batches_that_one_alone_would_see(world_size, count, shuffle):
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    settings = {
        "batch_size": 12,
        "augmentation": Augmentation(flip=True, crop_padding=2, cutout=3),
        "seed": 4,
        "shuffle": shuffle,
    }
    alone = list(ResidentLoader(images, np.arange(count), **settings).batches(2))
    shares = [
        list(ResidentLoader(images, np.arange(count), rank=rank, world_size=world_size, **settings).batches(2))
        for rank in range(world_size)
    ]
    for step, batch in enumerate(alone):
        for which, expected in enumerate(batch[:3]):
            assert torch.equal(torch.cat([share[step][which] for share in shares]), expected)


def test_seed_and_epoch_each_change_order_and_draws():
    images = np.random.default_rng(0).integers(0, 256, (64, 6, 6, 3), dtype=np.uint8)
    augmentation = Augmentation(crop_padding=2)

    def epoch(seed, epoch, shuffle):
        loader = ResidentLoader(
            images, np.arange(64), batch_size=16, augmentation=augmentation, seed=seed, shuffle=shuffle
        )
        return walk(loader, epoch)

    for shuffle, part in ((True, 1), (False, 0)):  # labels tell the order; unshuffled images tell the draws
        same, other_seed, other_epoch = (epoch(*which, shuffle)[part] for which in ((0, 1), (1, 1), (0, 2)))
        assert (same == epoch(0, 1, shuffle)[part]).all()
        assert (same != other_seed).any()
        assert (same != other_epoch).any()
        assert (other_seed != other_epoch).any()


def test_another_batch_size_keeps_order_and_draws_and_shares_the_memory():
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    loader = ResidentLoader(images, np.arange(40), batch_size=8, augmentation=Augmentation(flip=True, crop_padding=1))
    larger = loader.with_batch_size(20)
    assert (loader.steps, larger.steps) == (5, 2)
    for one, other in zip(walk(loader, 3), walk(larger, 3), strict=True):
        assert (one == other).all()
    assert larger._images.data_ptr() == loader._images.data_ptr()
    with pytest.raises(DataError, match="do not make one batch of 64"):
        ResidentLoader(images, np.arange(40), batch_size=8, drop_last=True).with_batch_size(64)


def test_more_augmentation_leaves_the_draws_of_the_rest_alone():
    image = np.arange(1, 37, dtype=np.uint8).reshape(6, 6, 1)
    images, labels = np.repeat(image[None], 50, axis=0), np.zeros(50, int)

    def results(**augmentation):
        return walk(ResidentLoader(images, labels, batch_size=50, augmentation=Augmentation(**augmentation)))[0]

    plain, holed = results(flip=True, crop_padding=1), results(flip=True, crop_padding=1, cutout=2)
    assert ((holed == plain) | (holed == 0)).all()
    assert (holed != plain).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augmentation", [None, Augmentation(flip=True, crop_padding=1)], ids=str)
@pytest.mark.parametrize("channels_last", [True, False])
def test_batches_are_floats_from_zero_to_one_in_the_layout_asked_for(augmentation, channels_last, device):
    images = np.array([0, 51, 255], dtype=np.uint8).repeat(16).reshape(1, 4, 4, 3).repeat(5, axis=0)
    loader = ResidentLoader(
        images, np.arange(5), batch_size=5, augmentation=augmentation, channels_last=channels_last, device=device
    )
    batch, labels, *_ = next(iter(loader.batches(0)))
    assert (batch.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert (batch.device.type, labels.device.type) == (device, device)
    assert batch.shape == (5, 3, 4, 4)
    assert batch.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert set(batch.unique().tolist()) == {0.0, float(np.float32(51) / np.float32(255)), 1.0}


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_makes_the_same_batches(device):
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    augmentation = Augmentation(flip=True, crop_padding=2, padding="reflect", cutout=3)
    loaders = [
        ResidentLoader(images, np.arange(50), batch_size=16, augmentation=augmentation, device=where)
        for where in ("cpu", device)
    ]
    for one, other in zip(*(walk(loader, 1) for loader in loaders), strict=True):
        assert (one == other).all()


def test_no_batch_waits_for_the_device():
    images, labels = numbered_images(40)
    augmentation = Augmentation(flip=True, crop_padding=2, padding="reflect", cutout=3)
    for device in DEVICES:
        loader = ResidentLoader(images, labels, batch_size=4, augmentation=augmentation, device=device, partners=True)
        batches = loader.batches(0)
        next(batches)  # what an epoch needs is moved to the device at its beginning
        before = torch.cuda.get_sync_debug_mode() if device == "cuda" else 0
        try:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            assert len(list(batches)) == 9
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode(before)


def test_images_stay_bytes_and_are_not_copied_without_need():
    images, labels = numbered_images(20)
    for augmentation in (None, Augmentation(flip=True), Augmentation(flip=True, crop_padding=1, cutout=2)):
        loader = ResidentLoader(images, labels, batch_size=4, augmentation=augmentation)
        list(loader.batches(0))
        kept = [value for value in vars(loader).values() if isinstance(value, torch.Tensor)]
        assert {tensor.dtype for tensor in kept} == {torch.uint8, torch.int64}
        shared = any(tensor.data_ptr() == images.ctypes.data for tensor in kept)
        assert shared == (augmentation is None or augmentation.crop_padding == 0)


def test_no_global_generator_is_touched():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must stay as it is
    torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    augmentation = Augmentation(flip=True, crop_padding=1, cutout=2)
    list(ResidentLoader(*numbered_images(20), batch_size=4, augmentation=augmentation).batches(0))
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert before == after


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batch_size": 0}, DataError, r"batch_size is 0.*Take 1"),
        ({"batch_size": 9, "world_size": 2}, DataError, r"batch_size is 9, which 2 process\(es\).*Take 8"),
        ({"batch_size": 1, "world_size": 3}, DataError, r"Take 3, or another multiple of 3"),
        ({"batch_size": 11, "drop_last": True}, DataError, r"10 training image\(s\) do not make one batch of 11"),
        (
            {"batch_size": 2, "augmentation": Augmentation(crop_padding=4)},
            RecipeError,
            "crop_padding must be below.*4 p",
        ),
        (
            {"batch_size": 2, "augmentation": Augmentation(cutout=5)},
            RecipeError,
            "cutout must be at most.*4 pixels, got 5",
        ),
    ],
)
def test_what_cannot_be_batched_is_refused_with_a_remedy(settings, error, message):
    with pytest.raises(error, match=message):
        ResidentLoader(*numbered_images(10), **settings)


def test_labels_must_match_the_images():
    with pytest.raises(DataError, match=r"labels \[N\]; got \(10, 4, 5, 3\) and \(9,\)"):
        ResidentLoader(numbered_images(10)[0], np.zeros(9, int), batch_size=2)


def test_images_must_be_bytes():
    with pytest.raises(DataError, match=r"must be uint8, from 0 to 255; got torch\.float32"):
        ResidentLoader(numbered_images(10)[0].astype(np.float32), np.zeros(10, int), batch_size=2)


def test_padding_that_does_not_fit_memory_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("curriculum_zoo.data.memory.available_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"10 training images, padded for augmentation, take .* are available"):
        ResidentLoader(*numbered_images(10), batch_size=2, augmentation=Augmentation(crop_padding=1))
