"""Images that a data set draws anew at every load, by a function of its own."""

import hashlib

import numpy as np
import pytest
import torch

from curriculum_zoo.data import ImageSet, ResidentLoader
from curriculum_zoo.draws import image_seeds, random_below
from curriculum_zoo.errors import DataError
from curriculum_zoo.recipes import Augmentation


def dimmed(images, seeds):
    """Each image darker by a random amount, with a row of its brightness below."""
    light = random_below(seeds, 8, 1)[:, :, None, None]
    dim = (images * (light + 1) // 8).to(torch.uint8)
    return torch.cat([dim, (light * 30).to(torch.uint8).expand(-1, 1, *images.shape[2:])], dim=1)


def make(render=dimmed, **changes):
    rng = np.random.default_rng(0)
    fields = {
        "name": "toy",
        "train_images": rng.integers(0, 256, (12, 4, 5, 3), dtype=np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "test_labels": np.arange(6) % 3,
        "classes": ("a", "b", "c"),
    }
    return ImageSet(**{**fields, **changes}, render=render)


def batches_of(made, epoch=0, **settings):
    settings = {"batch_size": 4, "shuffle": False, **settings}
    loader = ResidentLoader(made.train_images, made.train_labels, render=made.render, **settings)
    return torch.cat([batch.images for batch in loader.batches(epoch)]).mul(255).round().byte().permute(0, 2, 3, 1)


def test_the_set_has_the_size_of_what_is_drawn_and_keeps_what_is_stored():
    made = make()
    assert (made.image_size, made.channels) == ((5, 5), 3)
    assert made.train_images.shape == (12, 4, 5, 3)
    assert "render" not in repr(made)


def test_each_image_is_drawn_from_itself_and_its_own_number():
    made = make()
    drawn = batches_of(made)
    light = drawn[:, 4, 0, 0] // 30
    assert len(set(light.tolist())) > 3
    for image, stored, level in zip(drawn, made.train_images, light.tolist(), strict=True):
        assert (image[:4].numpy() == stored.astype(int) * (level + 1) // 8).all()


def test_images_are_shuffled_and_augmented_before_they_are_drawn():
    augmentation = Augmentation(flip=True, crop_padding=1, cutout=2)
    drawn = batches_of(make(), 1, augmentation=augmentation, shuffle=True)
    plain = batches_of(make(None), 1, augmentation=augmentation, shuffle=True)
    light = drawn[:, 4:5, :1, :1] // 30
    assert torch.equal(drawn[:, :4], (plain.int() * (light.int() + 1) // 8).byte())


def test_mean_and_deviation_are_those_of_one_drawing_the_same_at_every_call():
    made, seeds = make(), image_seeds(12)
    indices = [3, 7, 7, 11]
    drawn = dimmed(torch.from_numpy(made.train_images[indices]), seeds[indices]).reshape(-1, 3).numpy() / 255
    mean, std = made.mean_std(indices)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, drawn.std(axis=0), rtol=1e-9)
    assert made.mean_std() == make().mean_std()


def test_the_fingerprint_covers_what_is_drawn():
    made = make()
    digest = hashlib.sha256()
    for array in (made.train_images, made.train_labels, made.test_images, made.test_labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    digest.update(b"(12, 5, 5, 3)" + dimmed(torch.from_numpy(made.train_images), image_seeds(12)).numpy().tobytes())
    assert made.fingerprint == digest.hexdigest() == make().fingerprint
    assert len({made.fingerprint, make(None).fingerprint, make(lambda images, _: 255 - images).fingerprint}) == 3


def test_conversions_follow_the_drawing():
    made = make()
    gray, small = made.converted(channels=1), made.converted(image_size=2)
    assert made.converted(image_size=5, channels=3) is made
    assert (gray.image_size, gray.channels, small.image_size, small.channels) == ((5, 5), 1, (2, 2), 3)
    luma = np.rint(batches_of(made).numpy() @ [0.299, 0.587, 0.114])
    assert abs(batches_of(gray)[..., 0].numpy() - luma).max() <= 1
    one_by_one, together = small.converted(channels=1), made.converted(image_size=2, channels=1)
    assert (batches_of(one_by_one).int() - batches_of(together).int()).abs().max() <= 1
    with pytest.raises(DataError, match="cannot be turned into 2"):
        made.converted(channels=2)


def drawn_by_a_generator(images, seeds):
    return torch.randint_like(images, 256)


@pytest.mark.parametrize(
    ("render", "message"),
    [
        ("twice", "toy: render is a str. It must be a function of images and seeds"),
        (lambda images, seeds: images / 255, r"render made torch\.float32 \[2, 4, 5, 3\] of two images"),
        (lambda images, seeds: images[0], r"render made torch\.uint8 \[4, 5, 3\] of two images"),
        (lambda images, seeds: images[:1], r"render made torch\.uint8 \[1, 4, 5, 3\] of two images"),
        (drawn_by_a_generator, "draws an image differently in another batch.*the image's own seed"),
        (lambda images, seeds: images.repeat(1, len(images), 1, 1), "draws an image differently in another batch"),
    ],
)
def test_what_is_no_drawing_is_refused(render, message):
    with pytest.raises(DataError, match=message):
        make(render)


def test_a_processs_share_is_what_one_alone_would_have_drawn():
    made = make()
    alone = batches_of(made, 2, shuffle=True, seed=5)
    shares = [batches_of(made, 2, shuffle=True, seed=5, rank=rank, world_size=2).view(3, 2, 5, 5, 3) for rank in (0, 1)]
    assert torch.equal(torch.cat(shares, dim=1).flatten(0, 1), alone)


def test_an_empty_share_of_a_last_batch_has_the_shape_of_what_is_drawn():
    made = make()
    shares = []
    for rank in (0, 1):
        loader = ResidentLoader(
            made.train_images[:5],
            made.train_labels[:5],
            batch_size=4,
            rank=rank,
            world_size=2,
            render=made.converted(image_size=3).render,
        )
        shares.append([tuple(batch.images.shape) for batch in loader.batches(0)])
    assert shares == [[(2, 3, 3, 3), (0, 3, 3, 3)], [(2, 3, 3, 3), (1, 3, 3, 3)]]
