"""Photographs read as they are needed, by real worker processes."""

import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from curriculum_zoo.data import PhotoLoader, open_dataset
from curriculum_zoo.data.decoding.transforms import eval_transform, train_transform
from curriculum_zoo.data.loading.worker_pool import ReadRequest, WorkerPool
from curriculum_zoo.errors import DataError, RecipeError, TrainingError
from curriculum_zoo.recipes import PhotoOptions

SIDE = 32


def opened(top, **settings):
    return open_dataset(f"folder:{top}", image_size=SIDE, resident=False, **settings)


def pool_for(photos, workers=0, options=None, channels=3):
    options = options or PhotoOptions()
    transforms = {"training": train_transform(options, SIDE), "evaluation": eval_transform(options, SIDE)}
    return WorkerPool(photos.images, workers=workers, channels=channels, **transforms)


def loader_for(photos, pool=None, indices=None, **settings):
    indices = np.arange(len(photos.train_labels)) if indices is None else indices
    settings = {"batch_size": 5, "training": True, "pixels": SIDE, **settings}
    return PhotoLoader(pool or pool_for(photos), indices, photos.labels[indices], **settings)


def walked(batches):
    """All images and labels of some batches."""
    images, labels, *_ = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.fixture(scope="module")
def photos(photographs):
    return opened(photographs)


@pytest.fixture(scope="module")
def pool(photos):
    pool = pool_for(photos, workers=2)
    yield pool
    pool.close()


def children():
    """Processes that this one started and that are still there."""
    task = f"/proc/self/task/{os.getpid()}/children"
    with open(task) as file:
        return {int(number) for number in file.read().split()}


def test_batches_are_images_from_0_to_1_with_their_labels(photos):
    loader = loader_for(photos, training=False, shuffle=False)
    images, labels = walked(loader.batches(0))
    assert images.shape == (24, 3, SIDE, SIDE)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert 0 <= images.min() < 0.1 < 0.9 < images.max() <= 1
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == photos.train_labels.tolist()
    assert loader.steps == 5


def test_epochs_are_permutations_that_differ(photos):
    seen = []
    for epoch in (0, 1):
        _, labels = walked(loader_for(photos).batches(epoch))
        assert np.bincount(labels).tolist() == [8, 8, 8]
        seen.append(labels.tolist())
    assert seen[0] != seen[1]


def test_what_is_seen_depends_on_seed_and_epoch_alone(photos, pool):
    """Neither on how many workers there are, nor on batches, nor on what was read before."""
    alone, _ = walked(loader_for(photos).batches(3))
    by_two, _ = walked(loader_for(photos, pool).batches(3))
    assert torch.equal(alone, by_two)
    other_batches, _ = walked(loader_for(photos, pool).with_batch_size(7).batches(3))
    assert torch.equal(alone, other_batches)
    assert not torch.equal(alone, walked(loader_for(photos, pool).batches(4))[0])
    assert not torch.equal(alone, walked(loader_for(photos, pool, seed=1).batches(3))[0])


def test_reading_goes_on_from_any_batch(photos, pool):
    loader = loader_for(photos, pool)
    whole = list(loader.batches(1))
    for start in (1, 3, 5):
        rest = list(loader.batches(1, start=start))
        assert len(rest) == len(whole) - start
        assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, whole[start:], strict=True))


def test_reading_leaves_torchs_own_generator_alone(photos):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(loader_for(photos).batches(0))
    assert torch.equal(torch.rand(3), expected)


def test_workers_never_restart_when_the_resolution_or_the_task_changes(photos, pool):
    list(loader_for(photos, pool).batches(0))
    workers = children()
    assert len(workers) >= 2
    held_out = loader_for(photos, pool, indices=photos.test_indices, training=False, shuffle=False)
    for pixels in (16, 32, 24, 8):
        images, *_ = next(loader_for(photos, pool).with_pixels(pixels).batches(pixels))  # and leave the rest
        assert images.shape == (5, 3, pixels, pixels)
        assert walked(held_out.batches(0))[0].shape == (6, 3, SIDE, SIDE)
    assert children() == workers


def test_a_smaller_stage_sees_the_same_crops(photos, pool):
    large, _ = walked(loader_for(photos, pool).batches(2))
    small, _ = walked(loader_for(photos, pool).with_pixels(16).batches(2))
    shrunk = torch.nn.functional.interpolate(large, size=16, mode="bilinear", antialias=True)
    others = shrunk.roll(1, 0)
    assert (small - shrunk).abs().mean() < 0.04 < 0.15 < (small - others).abs().mean()


def test_processes_share_the_batches_of_one(photos):
    whole = list(loader_for(photos, batch_size=6).batches(0))
    shares = [list(loader_for(photos, batch_size=6, rank=rank, world_size=3).batches(0)) for rank in range(3)]
    for step, (images, labels, *_) in enumerate(whole):
        assert torch.equal(torch.cat([share[step][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[step][1] for share in shares]), labels)


def test_gray_images_have_one_channel(photographs):
    gray = opened(photographs, channels=1)
    colour = loader_for(opened(photographs), training=False, shuffle=False)
    loader = loader_for(gray, pool_for(gray, channels=1), training=False, shuffle=False)
    rgb, luma = walked(colour.batches(0))[0], walked(loader.batches(0))[0]
    assert luma.shape == (24, 1, SIDE, SIDE)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert ((rgb * weights).sum(1, keepdim=True) - luma).abs().max() < 0.005


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 5, "world_size": 2}, r"which 2 process\(es\) cannot share evenly\. Take 4"),
        ({"batch_size": 25, "drop_last": True}, "at most 24"),
    ],
)
def test_batches_that_cannot_be_are_refused(settings, message, photos):
    with pytest.raises(DataError, match=message):
        loader_for(photos, **settings)


@pytest.fixture
def damaged(write_photographs, tmp_path):
    """``damaged(names)``: a set of 2 classes, 10 photographs each, in which those files are cut short."""

    def make(names):
        write_photographs(tmp_path, {"cat": 10, "dog": 10})
        for name in names:
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        return opened(tmp_path, seed=1)

    return make


def test_an_image_that_cannot_be_read_is_named(damaged):
    photos = damaged(["cat/003.jpg"])
    loader = loader_for(photos, pool_for(photos, workers=1), indices=np.arange(16))
    wrong = r"cat/003\.jpg cannot be read: .*truncated.* photos\.on_bad_image=skip"
    with pytest.raises(DataError, match=wrong):
        list(loader.batches(0))
    with pytest.raises(DataError, match=wrong):  # and once more, by the same workers
        list(loader.batches(0))
    loader.pool.close()


def test_images_left_out_are_listed_and_their_batches_are_smaller(damaged):
    names = ["cat/003.jpg", "dog/000.jpg", "dog/007.jpg"]
    photos = damaged(names)
    loader = loader_for(photos, indices=np.arange(16), on_bad_image="skip", shuffle=False)
    images, labels = walked(loader.batches(0))
    bad = [photos.images.name(index) for index in range(16) if photos.images.name(index).endswith(tuple(names))]
    assert sorted(loader.skipped) == sorted(bad) != []
    assert all("truncated" in reason for reason in loader.skipped.values())
    assert len(images) == len(labels) == 16 - len(bad)
    kept = [index for index in range(16) if photos.images.name(index) not in loader.skipped]
    assert labels.tolist() == photos.labels[kept].tolist()
    again = loader.with_pixels(16)
    list(again.batches(1))
    assert again.skipped is loader.skipped
    assert len(loader.skipped) == len(bad)


def test_a_batch_without_any_image_is_refused(damaged):
    photos = damaged([f"cat/{number:03}.jpg" for number in range(10)])
    cats = np.flatnonzero(photos.train_labels == 0)
    with pytest.raises(DataError, match=r"None of the 5 images of a batch can be read\. The first: .*cat/"):
        list(loader_for(photos, indices=cats, on_bad_image="skip").batches(0))


def test_a_worker_that_dies_is_told_of(photos):
    pool = pool_for(photos, workers=1)
    batches = loader_for(photos, pool, batch_size=1).batches(0)
    before = children()
    next(batches)
    worker = max(children() - before)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"A process that reads images died: SIGKILL, .*Use fewer workers"):
        list(batches)
    pool.close()
    images, _ = walked(loader_for(photos, pool).batches(0))  # others take its place
    assert len(images) == 24
    pool.close()


def test_what_a_worker_is_sent_survives_pickling(photos, photographs, tmp_path):
    """As it must where processes are spawned, on Windows and macOS; changes and pipelines of one's own included."""
    import albumentations

    albumentations.save(albumentations.Compose([albumentations.RandomCrop(24, 24, p=1)]), tmp_path / "own.json")
    request = ReadRequest(np.array([3, 29]), np.array([5, 2**64 - 1], np.uint64), training=True, pixels=SIDE)
    for options in (PhotoOptions(), PhotoOptions(train_pipeline=str(tmp_path / "own.json"))):
        sent = pool_for(photos, options=options)._dataset
        received, request_received = pickle.loads(pickle.dumps((sent, request)))
        assert torch.equal(received[request_received].pixels, sent[request].pixels)


@pytest.mark.slow
def test_spawned_workers_read_what_forked_ones_read(photos):
    spawned = pool_for(photos, workers=1)
    spawned._loader.multiprocessing_context = "spawn"
    images, labels = walked(loader_for(photos, spawned).batches(1))
    spawned.close()
    expected_images, expected_labels = walked(loader_for(photos).batches(1))
    assert torch.equal(images, expected_images)
    assert torch.equal(labels, expected_labels)


def test_a_task_that_another_one_ended_says_so(photos):
    loader = loader_for(photos)
    first = loader.batches(0)
    next(first)
    next(loader.batches(1))
    with pytest.raises(TrainingError, match="given another task"):
        list(first)


def test_processes_that_train_together_share_the_processors(photos, monkeypatch):
    monkeypatch.setattr("curriculum_zoo.data.loading.worker_pool.available_processors", lambda: 12)
    assert pool_for(photos, workers=None).workers == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert pool_for(photos, workers=None).workers == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "40")
    assert pool_for(photos, workers=None).workers == 1


def test_a_closed_pool_leaves_no_process(photos):
    before = children()
    pool = pool_for(photos, workers=2)
    list(loader_for(photos, pool).batches(0))
    assert len(children() - before) == 2
    pool.close()
    for _ in range(100):
        if not children() - before:
            break
        time.sleep(0.05)
    assert not children() - before


def test_a_pipeline_that_fails_on_an_image_stops_whatever_is_said_of_bad_images(photos, tmp_path):
    import albumentations

    albumentations.save(albumentations.RandomCrop(60, 60, p=1), tmp_path / "pipeline.json")
    pool = pool_for(photos, options=PhotoOptions(train_pipeline=str(tmp_path / "pipeline.json")))
    assert len(walked(loader_for(photos, pool).batches(0))[0]) == 24
    Image.new("RGB", (40, 40)).save(tmp_path / "tiny.png")

    class Small:
        def __len__(self):
            return len(photos.images)

        def name(self, index):
            return "tiny.png"

        def content(self, index):
            return (tmp_path / "tiny.png").read_bytes()

    pool = WorkerPool(
        Small(),
        training=train_transform(PhotoOptions(train_pipeline=str(tmp_path / "pipeline.json")), SIDE),
        evaluation=eval_transform(PhotoOptions(), SIDE),
        workers=0,
    )
    with pytest.raises(
        RecipeError, match=r"photos\.train_pipeline .*pipeline\.json cannot take tiny\.png: CropSizeError"
    ):
        list(loader_for(photos, pool, on_bad_image="skip").batches(0))
