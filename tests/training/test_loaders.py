"""The loaders of a run: batches that grow with the pixels saved, in sizes that can be shared."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curriculum_zoo.curricula import Stage
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training.loaders import batch_grain
from curriculum_zoo.training.prepare import prepare


def scaled(batch_size, accumulation, side, full):
    recipe = Recipe(model="simple_cnn", data="demo", batch_size=batch_size, accumulation=accumulation)
    stage = Stage(name="small", image_size=side, scale_batch=True)
    return stage.scaled_batch(batch_size, full, batch_grain(recipe))


@given(
    shared=st.integers(1, 64),
    processes=st.integers(1, 16),
    accumulation=st.sampled_from([1, 2, 4]),
    side=st.integers(16, 224),
)
def test_scaled_batches_can_be_shared_by_processes_and_accumulation(shared, processes, accumulation, side):
    """By as many processes as share the recipe's batches by eight images each, or multiples of eight."""
    batch_size = 8 * shared * processes
    assume(batch_size % accumulation == 0)
    size, scale = scaled(batch_size, accumulation, side, 224)
    grain = batch_grain(Recipe(model="simple_cnn", data="demo", batch_size=batch_size, accumulation=accumulation))
    assert size % processes == 0
    assert size % accumulation == 0
    assert scale == size / batch_size
    wanted = (224 / side) ** 2
    assert abs(size - batch_size * wanted) <= grain / 2 + 1e-6
    assert grain == batch_size // 8 or batch_size // 8 % accumulation


def test_the_papers_example_has_a_size_that_people_can_type():
    # 128 images at 224 px are 697 at 96 px, a prime number times 17.
    assert scaled(128, 1, 96, 224) == (704, 5.5)


@pytest.mark.parametrize(("batch_size", "grain"), [(128, 16), (48, 6), (12, 3), (7, 7), (10, 5)])
def test_sizes_are_multiples_of_an_eighth_of_the_batch_where_that_is_whole(batch_size, grain):
    assert batch_grain(Recipe(model="simple_cnn", data="demo", batch_size=batch_size)) == grain


def test_batch_and_learning_rate_grow_together(recipe, train):
    curriculum = "trd(resolution=8,participation=1.0,scale_batch=true)"
    wanted = recipe({"schedule.name": "constant", "schedule.warmup": 0.0, "batch_size": 36}, curriculum=curriculum)
    parts = prepare(wanted, device="cpu")
    stage = parts.curriculum.stage(0)
    loader = parts.loaders.training(stage)
    assert (loader.batch_size, loader.steps) == (144, 2)
    assert train(wanted).metrics[0]["lr"] == pytest.approx(4 * 0.05)


def test_calibration_sees_the_same_few_augmented_batches_each_time(recipe):
    loaders = prepare(recipe({"augmentation.crop_padding": 2}), device="cpu").loaders
    first, again = ([images.sum().item() for images in loaders.calibration(3)] for _ in range(2))
    assert first == again
    assert len(first) == 1  # 288 images make one batch of 256
    assert len(list(loaders.calibration(0))) == 0
