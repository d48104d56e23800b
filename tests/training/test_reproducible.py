"""Deterministic kernels are asked for while a run lasts, and those that have none are told."""

import contextlib
import json
import warnings

import pytest
import torch
from torch import nn

from curriculum_zoo.registry import register_model
from curriculum_zoo.training.reproducible import reproducible


def settings():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


@pytest.mark.parametrize("before", [(False, False, True, False, True), (True, False, False, True, False)])
def test_settings_are_put_back_whatever_they_were_and_whatever_happens(before):
    usual = settings()
    try:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[3:]
        during = []
        with contextlib.suppress(ZeroDivisionError), reproducible():
            during.append(settings())
            raise ZeroDivisionError
        assert during == [(True, True, False, True, False)]
        assert settings() == before
    finally:
        torch.use_deterministic_algorithms(usual[0], warn_only=usual[1])
        torch.utils.deterministic.fill_uninitialized_memory = usual[2]
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = usual[3:]


def pooled(images):
    """A kernel without a deterministic form, on the CPU too."""
    return nn.functional.max_unpool2d(*nn.functional.max_pool2d(images, 2, return_indices=True), 2)


def test_kernels_that_are_not_deterministic_are_named_each_time_and_other_warnings_shown():
    for _ in range(2):
        with warnings.catch_warnings(record=True) as shown, reproducible() as found:
            warnings.simplefilter("always")
            pooled(torch.rand(1, 1, 4, 4))
            pooled(torch.rand(1, 1, 4, 4))
            warnings.warn("something else", stacklevel=1)
        assert found == {"max_unpooling2d_forward_out"}
        assert [str(warning.message) for warning in shown] == ["something else"]


@pytest.mark.usefixtures("clean_registry")
def test_a_run_records_the_kernels_that_were_not_deterministic(recipe, train):
    @register_model
    def unpooling_net(pretrained=False, num_classes=10):
        class Unpooling(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(3, num_classes)

            def forward(self, images):
                return self.head(pooled(images).mean((2, 3)))

        return Unpooling()

    facts = {}
    for model in ("unpooling_net", "simple_cnn"):
        folder = train(recipe(model=model, epochs=1), model).folder
        facts[model] = json.loads((folder / "environment.json").read_text())
    assert facts["unpooling_net"]["not_deterministic"] == ["max_unpooling2d_forward_out"]
    assert facts["unpooling_net"]["data"] == facts["simple_cnn"]["data"]
    assert "not_deterministic" not in facts["simple_cnn"]
