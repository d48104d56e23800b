"""Whatever is drawn for an image is a function of seed, epoch and its number: of batches from memory and of files."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum_zoo.data import PhotoLoader, ResidentLoader, open_dataset
from curriculum_zoo.data.decoding.transforms import eval_transform, train_transform
from curriculum_zoo.data.loading.worker_pool import WorkerPool
from curriculum_zoo.data.sets.canvas import Canvas
from curriculum_zoo.draws import random_below, seeds_of
from curriculum_zoo.errors import DataError
from curriculum_zoo.recipes import Augmentation, PhotoOptions

COUNT, SIDE = 30, 6
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 1), dtype=np.uint8)
LABELS = np.arange(COUNT) % 7
CHANGES = Augmentation(flip=True, crop_padding=2, cutout=3)

numbers_of_some = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=COUNT, unique=True).map(np.array)


def resident(numbers=None, **batching):
    """A loader of some images, each mirrored, shifted and cut into, then placed on a canvas with noise."""
    numbers = np.arange(COUNT) if numbers is None else numbers
    drawing = {"augmentation": CHANGES, "render": Canvas("noisy", 9)}
    return ResidentLoader(IMAGES[numbers], LABELS[numbers], numbers=numbers, **{**drawing, "batch_size": 4, **batching})


def entries(batch):
    """Number, label and pixels of each image of a batch."""
    images = batch.images.mul(255).round().byte().numpy()
    return [
        (number, label, image.tobytes())
        for number, label, image in zip(batch.numbers.tolist(), batch.labels.tolist(), images, strict=True)
    ]


def walk(loader, epoch, start=0):
    return [entry for batch in loader.batches(epoch, start) for entry in entries(batch)]


def pairs(loader, epoch, start=0):
    """Each image of an epoch with its partner."""
    return [
        pair
        for batch in loader.batches(epoch, start)
        for pair in zip(entries(batch), entries(batch.partners), strict=True)
    ]


def in_turn(loaders, epoch, read=walk):
    """What processes see together: their shares of each batch, one after the other."""
    shares = [[read(_One(batch), epoch) for batch in loader.batches(epoch)] for loader in loaders]
    return [entry for batch in zip(*shares, strict=True) for share in batch for entry in share]


class _One:
    """A loader of the one batch."""

    def __init__(self, batch):
        self.batch = batch

    def batches(self, epoch, start=0):
        return [self.batch]


@given(numbers=numbers_of_some, epoch=st.integers(0, 3), seed=st.integers(0, 3), shuffle=st.booleans())
def test_other_images_in_the_loader_change_neither_an_images_pixels_nor_the_order(numbers, epoch, seed, shuffle):
    whole = walk(resident(seed=seed, shuffle=shuffle), epoch)
    some = walk(resident(numbers, seed=seed, shuffle=shuffle), epoch)
    if shuffle:
        assert some == [entry for entry in whole if entry[0] in set(numbers.tolist())]
    else:
        assert some == [whole[number] for number in numbers]


@given(
    size=st.integers(1, 9),
    processes=st.integers(1, 4),
    start=st.integers(0, 3),
    numbers=numbers_of_some,
    partners=st.booleans(),
)
def test_batches_processes_and_a_late_start_change_nothing(size, processes, start, numbers, partners):
    read = pairs if partners else walk
    [whole] = resident(numbers, batch_size=COUNT, partners=partners).batches(2)
    whole = read(_One(whole), 2)
    settings = {"batch_size": size * processes, "partners": partners}
    loaders = [resident(numbers, rank=rank, world_size=processes, **settings) for rank in range(processes)]
    assert in_turn(loaders, 2, read) == whole
    alone = resident(numbers, **settings)
    assert read(alone, 2, min(start, alone.steps)) == whole[min(start, alone.steps) * size * processes :]


@given(numbers=numbers_of_some, epoch=st.integers(0, 3), seed=st.integers(0, 3))
def test_partners_are_a_permutation_each_changed_as_it_would_be_by_itself(numbers, epoch, seed):
    found = pairs(resident(numbers, partners=True, seed=seed), epoch)
    own, partners = zip(*found, strict=True)
    assert list(own) == walk(resident(numbers, seed=seed), epoch)
    assert sorted(partners) == sorted(own)
    # Two images are each other's; of an odd number, one stays alone.
    assert sum(image == partner for image, partner in found) == len(numbers) % 2


def test_partners_are_drawn_from_seed_and_epoch():
    def partner_of(seed, epoch):
        [batch] = ResidentLoader(IMAGES, LABELS, batch_size=COUNT, partners=True, seed=seed).batches(epoch)
        return dict(zip(batch.numbers.tolist(), batch.partners.numbers.tolist(), strict=True))

    first = partner_of(0, 0)
    assert first == partner_of(0, 0)
    for other in (partner_of(0, 1), partner_of(1, 0)):
        assert sum(first[number] == other[number] for number in first) < 8
    counts = np.zeros((COUNT, COUNT))
    for epoch in range(300):
        for number, partner in partner_of(3, epoch).items():
            counts[number, partner] += 1
    assert (np.diag(counts) == 0).all()
    off = counts[~np.eye(COUNT, dtype=bool)]
    expected = 300 / (COUNT - 1)
    assert abs(((off - expected) ** 2 / expected).sum() / len(off) - 1) < 0.3  # all others are alike likely


def test_partners_keep_the_layout_in_memory():
    for channels_last in (True, False):
        [batch] = ResidentLoader(
            np.repeat(IMAGES, 3, axis=3), LABELS, batch_size=COUNT, partners=True, channels_last=channels_last
        ).batches(0)
        wanted = torch.channels_last if channels_last else torch.contiguous_format
        assert batch.images.is_contiguous(memory_format=wanted)
        assert batch.partners.images.is_contiguous(memory_format=wanted)
        assert batch.partners.partners is None


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_images_changes_are_those_that_its_seed_says(shuffle):
    """By loops over the documented draws: which of them belongs to which number of the seed."""
    epoch, seed, pad, hole = 5, 11, CHANGES.crop_padding, CHANGES.cutout
    numbers = np.array([4, 0, 17, 2**40])
    loader = ResidentLoader(
        IMAGES[:4], np.zeros(4, int), numbers=numbers, augmentation=CHANGES, batch_size=4, seed=seed, shuffle=shuffle
    )
    [batch] = loader.batches(epoch)
    order = (
        np.argsort(seeds_of(torch.from_numpy(numbers), seed, epoch, 0xDA7A, 0, True).numpy()) if shuffle else range(4)
    )
    assert batch.numbers.tolist() == [numbers[place] for place in order]
    for image, place in zip(batch.images, order, strict=True):
        own = seeds_of(torch.tensor([numbers[place]]), seed, epoch, 0xDA7A, 1, shuffle)
        draw = functools.partial(random_below, own)
        flip, (top, left) = draw(2, 1, 0).item(), draw(2 * pad + 1, 2, 1)[0].tolist()
        row, column = draw(SIDE, 1, 2).item() - hole // 2, draw(SIDE, 1, 3).item() - hole // 2
        expected = np.pad(IMAGES[place, ..., 0], pad)[top : top + SIDE, left : left + SIDE]
        expected = (expected[:, ::-1] if flip else expected).copy()
        expected[max(0, row) : row + hole, max(0, column) : column + hole] = 0
        np.testing.assert_array_equal(image[0].mul(255).round().numpy(), expected)


def test_training_and_evaluation_draw_from_different_streams():
    same = {"batch_size": COUNT, "augmentation": CHANGES}
    images = np.repeat(IMAGES[:1], COUNT, axis=0)
    trained, evaluated = (
        dict(entry[::2] for entry in walk(ResidentLoader(images, LABELS, shuffle=shuffle, **same), 0))
        for shuffle in (True, False)
    )
    assert sum(trained[number] == evaluated[number] for number in trained) < 4


def test_numbers_must_be_one_for_each_image():
    with pytest.raises(DataError, match="There are 3 numbers for 4 images"):
        ResidentLoader(IMAGES[:4], LABELS[:4], numbers=np.arange(3), batch_size=2)


# Images that are read from files


@pytest.fixture(scope="module")
def photos(photographs):
    return open_dataset(f"folder:{photographs}", image_size=24, resident=False)


def read(photos, indices=None, workers=0, **batching):
    """A loader of some photographs, cropped, mirrored and recoloured."""
    options = PhotoOptions()
    transforms = {"training": train_transform(options, 24), "evaluation": eval_transform(options, 24)}
    pool = WorkerPool(photos.images, workers=workers, **transforms)
    indices = np.arange(len(photos.train_labels)) if indices is None else indices
    settings = {"numbers": indices, "training": True, "pixels": 24, "batch_size": 4, **batching}
    return PhotoLoader(pool, indices, photos.labels[indices], **settings)


@settings(max_examples=8)
@given(
    indices=st.lists(st.integers(0, 23), min_size=1, max_size=12, unique=True).map(np.array),
    size=st.integers(1, 5),
    processes=st.integers(1, 3),
    start=st.integers(0, 2),
)
def test_photographs_depend_neither_on_others_nor_on_batches_nor_on_processes(photos, indices, size, processes, start):
    by_number = {entry[0]: entry for entry in _whole_epoch(photos)}
    batching = {"batch_size": size * processes, "partners": True}
    loaders = [read(photos, indices, rank=rank, world_size=processes, **batching) for rank in range(processes)]
    found = in_turn(loaders, 1, pairs)
    assert sorted(image[0] for image, _ in found) == sorted(indices)
    assert all(entry == by_number[entry[0]] for pair in found for entry in pair)
    assert sorted(partner[0] for _, partner in found) == sorted(indices)
    first = min(start, loaders[0].steps)
    assert pairs(read(photos, indices, **batching), 1, first) == found[first * size * processes :]


@functools.cache
def _whole_epoch(photos):
    return walk(read(photos), 1)


def test_photographs_have_the_same_partners_as_images_in_memory(photos):
    """Where images are kept decides nothing about their order and partners."""
    in_memory = ResidentLoader(IMAGES[:24], photos.train_labels, batch_size=4, partners=True, seed=2)
    for epoch in (0, 3):
        by_name = [
            [(image[0], partner[0]) for image, partner in pairs(loader, epoch)]
            for loader in (in_memory, read(photos, partners=True, seed=2))
        ]
        assert by_name[0] == by_name[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_image_that_cannot_be_read_changes_no_other_and_is_nobodys_partner(write_photographs, tmp_path, processes):
    write_photographs(tmp_path, {"cat": 8, "dog": 8})
    photos = open_dataset(f"folder:{tmp_path}", image_size=24, resident=False)
    indices = np.arange(len(photos.train_labels))

    def seen():
        settings = {"partners": True, "on_bad_image": "skip", "world_size": processes}
        return in_turn([read(photos, indices, rank=rank, **settings) for rank in range(processes)], 0, pairs)

    before = seen()
    bad = {before[number][0][0] for number in (1, 4)}
    for index in bad:
        with open(photos.images.name(index), "wb"):
            pass
    after = seen()
    assert [image for image, _ in after] == [image for image, _ in before if image[0] not in bad]
    partners = dict(before)
    for image, partner in after:
        assert partner == (image if partners[image][0] in bad else partners[image])
    assert sum(image == partner for image, partner in after) == 2


def test_a_process_whose_share_of_the_last_batch_is_empty_goes_on(photos):
    """Five images in batches of four for two processes: the last batch has one image, and it is the second's."""
    indices = np.arange(5)
    shapes = []
    for rank in (0, 1):
        loader = read(photos, indices, rank=rank, world_size=2, training=False, shuffle=False)
        shapes.append([tuple(batch.images.shape) for batch in loader.batches(0)])
    assert shapes == [[(2, 3, 24, 24), (0, 3, 24, 24)], [(2, 3, 24, 24), (1, 3, 24, 24)]]
