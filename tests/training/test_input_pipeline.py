"""What a network sees of an image depends on that image, seed and epoch, whatever else is in its batch."""

import pytest
import torch

from curriculum_zoo.data import Batch
from curriculum_zoo.training.input_pipeline import InputPipeline
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.streams import AUGMENTATION, MIXING, VIEW, image_seeds

RECIPES = {
    "random augmentation": {"curriculum": "low_frequency(sizes=(0.5,1.0),augment_strength=(9,9))", "epochs": 6},
    "replay": {"curriculum": "progressive_sharpening(kernels=(5,3,1),replay=0.4)", "epochs": 3},
    "reduced shares": {"curriculum": "trd(variant=batch)"},
    "mixing": {"mixing.mixup": 0.4, "mixing.cutmix": 1.0, "mixing.probability": 0.8},
    "mixing of edges": {"mixing.mixup": 0.4, "curriculum": "hrt(edge_epochs=1)"},
}


def seen(parts, batch, epoch=1, seed=None):
    recipe = parts.recipe if seed is None else parts.recipe.changed({"seed": seed})
    stage = parts.curriculum.stage(epoch)
    pipeline = InputPipeline(recipe, parts.normalize, parts.num_classes)
    return pipeline(batch, stage, stage.view, epoch)


def chosen(batch, rows):
    partners = batch.partners and chosen(batch.partners, rows)
    return Batch(batch.images[rows], batch.labels[rows], batch.numbers[rows], partners)


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_seen_whole_is_its_images_seen_one_by_one(recipe, name):
    parts = prepare(recipe(RECIPES[name]), device="cpu")
    batch = next(iter(parts.loaders.training(parts.curriculum.stage(1)).batches(1)))
    images, targets = seen(parts, batch)
    for rows in ([3], [7, 2], list(range(20, 48))):
        some_images, some_targets = seen(parts, chosen(batch, rows))
        torch.testing.assert_close(some_images, images[rows], rtol=0, atol=1e-5)
        assert torch.equal(some_targets, targets[rows])


@pytest.mark.parametrize("name", RECIPES)
def test_other_seeds_and_other_images_draw_otherwise(recipe, name):
    parts = prepare(recipe(RECIPES[name]), device="cpu")
    batch = next(iter(parts.loaders.training(parts.curriculum.stage(1)).batches(1)))
    images, _ = seen(parts, batch)
    assert not torch.equal(seen(parts, batch, seed=99)[0], images)
    assert not torch.equal(seen(parts, batch._replace(numbers=batch.numbers + 1000))[0], images)


def test_without_mixing_targets_are_class_numbers(recipe):
    parts = prepare(recipe(), device="cpu")
    batch = next(iter(parts.loaders.training(parts.curriculum.stage(1)).batches(1)))
    assert batch.partners is None
    images, targets = seen(parts, batch)
    assert torch.equal(targets, batch.labels)
    assert torch.equal(images, parts.normalize(batch.images))


def test_streams_are_apart():
    numbers = torch.arange(1000)
    seeds = [image_seeds(numbers, 0, 3, stream) for stream in (AUGMENTATION, VIEW, MIXING)]
    assert len(torch.cat(seeds).unique()) == 3000
