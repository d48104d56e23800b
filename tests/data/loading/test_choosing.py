"""Loaders of some of the images: shared by processes without overlap, from memory and from files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.data import PhotoLoader, ResidentLoader, open_dataset
from curriculum_zoo.data.decoding.transforms import eval_transform, train_transform
from curriculum_zoo.data.loading.worker_pool import WorkerPool
from curriculum_zoo.errors import DataError
from curriculum_zoo.recipes import Augmentation, PhotoOptions

COUNT = 60
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 6, 1), dtype=np.uint8)
KEPT = torch.rand(COUNT, generator=torch.Generator().manual_seed(0)) < 0.7
WEIGHTS = torch.rand(COUNT, generator=torch.Generator().manual_seed(1))


def resident(**batching):
    changes = Augmentation(flip=True, crop_padding=1)
    batching = {"batch_size": 12, "drop_last": True, **batching}
    return ResidentLoader(IMAGES, np.arange(COUNT) % 3, augmentation=changes, **batching)


def seen(batch):
    """Number, label, weight and pixels of each image of a batch."""
    weights = batch.weights.tolist() if batch.weights is not None else [1.0] * len(batch.labels)
    pixels = [image.numpy().tobytes() for image in batch.images]
    return list(zip(batch.numbers.tolist(), batch.labels.tolist(), weights, pixels, strict=True))


@given(epoch=st.integers(0, 3), world_size=st.sampled_from([1, 2, 3]), partners=st.booleans(), start=st.integers(0, 2))
def test_processes_share_the_chosen_images_and_their_weights(epoch, world_size, partners, start):
    alone = [seen(b) for b in resident(partners=partners).choosing(KEPT, WEIGHTS).batches(epoch, start)]
    ranks = [
        resident(rank=rank, world_size=world_size, partners=partners).choosing(KEPT, WEIGHTS).batches(epoch, start)
        for rank in range(world_size)
    ]
    together = [[image for share in shares for image in seen(share)] for shares in zip(*ranks, strict=True)]
    assert together == alone
    numbers = [number for batch in alone for number, *_ in batch]
    assert len(set(numbers)) == len(numbers) == 12 * (int(KEPT.sum()) // 12 - start)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True, cutout=3)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_chosen_images_keep_their_order_their_changes_and_get_their_own_weights(augmentation, shuffle):
    loader = ResidentLoader(
        IMAGES, np.arange(COUNT) % 3, augmentation=augmentation, batch_size=7, seed=3, shuffle=shuffle
    )
    whole = [image for batch in loader.batches(2) for image in seen(batch)]
    some = [image for batch in loader.choosing(KEPT, WEIGHTS).batches(2) for image in seen(batch)]
    assert [(n, label, pixels) for n, label, _, pixels in some] == [
        (n, label, pixels) for n, label, _, pixels in whole if KEPT[n]
    ]
    assert [weight for _, _, weight, _ in some] == [float(WEIGHTS[n]) for n, *_ in some]


def test_the_whole_of_a_chosen_loader_is_every_image_once():
    loader = resident().choosing(KEPT)
    numbers = [number for batch in loader.whole().batches(1) for number in batch.numbers.tolist()]
    assert sorted(numbers) == list(range(COUNT))
    assert loader.steps == int(KEPT.sum()) // 12


def test_a_choice_that_makes_no_batch_is_refused():
    with pytest.raises(DataError, match=r"3 training image\(s\) do not make one batch of 12"):
        resident().choosing(torch.arange(COUNT) < 3)


def test_photographs_are_chosen_as_images_in_memory_are(photographs):
    photos = open_dataset(f"folder:{photographs}", image_size=32, resident=False)
    options, count = PhotoOptions(), len(photos.train_labels)
    transforms = {"training": train_transform(options, 32), "evaluation": eval_transform(options, 32)}
    pool = WorkerPool(photos.images, workers=0, channels=3, **transforms)
    kept, weights = torch.arange(count) % 3 > 0, torch.rand(count)

    def loader(rank=0, world_size=1):
        return PhotoLoader(
            pool, np.arange(count), photos.train_labels, training=True, pixels=32, batch_size=4, drop_last=True,
            rank=rank, world_size=world_size,
        )  # fmt: skip

    alone = [seen(batch) for batch in loader().choosing(kept, weights).batches(1)]
    numbers = [number for batch in alone for number, *_ in batch]
    assert len(numbers) == 16
    assert all(kept[number] for number in numbers)
    shares = [[seen(batch) for batch in loader(rank, 2).choosing(kept, weights).batches(1)] for rank in range(2)]
    assert [one + two for one, two in zip(*shares, strict=True)] == alone
    pool.close()


@given(world_size=st.sampled_from([1, 2, 3]), start=st.integers(0, 4), chooses=st.booleans(), epoch=st.integers(0, 2))
def test_batches_of_sizes_of_their_own_are_shared_like_others(world_size, start, chooses, epoch):
    def plan(step):
        return (6, 12)[step % 2], 6

    def loader(rank=0, world_size=1):
        planned = resident(rank=rank, world_size=world_size).with_plan(plan)
        return planned.choosing(KEPT, WEIGHTS) if chooses else planned

    alone = [seen(batch) for batch in loader().batches(epoch, start)]
    sizes = loader().sizes
    assert [len(batch) for batch in alone] == sizes[start:] == ([6, 12] * 5)[: len(sizes)][start:]
    assert sum(sizes) <= (int(KEPT.sum()) if chooses else COUNT) < sum(sizes) + 12
    ranks = [loader(rank, world_size).batches(epoch, start) for rank in range(world_size)]
    together = [[image for share in shares for image in seen(share)] for shares in zip(*ranks, strict=True)]
    assert together == alone
