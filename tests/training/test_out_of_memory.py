"""Where memory is exhausted the error says what would fit."""

import pytest
import torch

from curriculum_zoo.errors import TrainingError
from curriculum_zoo.training.objectives import CrossEntropy
from curriculum_zoo.training.out_of_memory import advice, is_out_of_memory, most_that_fit


def room_for(most):
    def attempt(images):
        if images > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return attempt


@pytest.mark.parametrize(("room", "found"), [(100, 32), (32, 32), (31, 16), (1, 1), (0, None)])
def test_what_fits_is_found_by_halving(room, found):
    assert most_that_fit(room_for(room), 64) == found


def test_other_errors_are_not_taken_for_memory():
    def attempt(images):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        most_that_fit(attempt, 8)
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((48, 1, 48, 12), "12 images at a time would fit. Set accumulation=4, or batch_size=12."),
        ((48, 2, 48, 6), "6 images at a time would fit. Set accumulation=8, or batch_size=12."),
        ((48, 1, 192, 24), "24 images at a time would fit. Set accumulation=8, or batch_size=6."),
        ((50, 1, 50, 12), "12 images at a time would fit. Set accumulation=5, or batch_size=12."),
        ((48, 3, 48, None), "Lower batch_size, or raise accumulation above 3."),
    ],
)
def test_the_advice_is_a_recipe_that_fits(sizes, words):
    assert advice(*sizes) == words


def test_a_training_that_runs_out_of_memory_says_what_would_fit(recipe, train, tmp_path, monkeypatch):
    computed = CrossEntropy.__call__

    def limited(self, model, images, targets, stage):
        room_for(12)(len(images))
        return computed(self, model, images, targets, stage)

    with monkeypatch.context() as patch:
        patch.setattr(CrossEntropy, "__call__", limited)
        with pytest.raises(
            TrainingError,
            match=r"epoch 0, step 0, stage 'full': a batch of 48 images of 16 px.* accumulation=4, or batch_size=12",
        ):
            train(recipe())
        train(recipe({"accumulation": 4, "epochs": 1}), "advised")
