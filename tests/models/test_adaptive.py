"""Adaptive networks are what they can do: the protocol takes any network with its methods, and no other."""

import pytest
import torch
from torch import nn

from curriculum_zoo.models import create_model
from curriculum_zoo.models.adaptive import AdaptiveNetwork


class Whole(nn.Module):
    """Has one level, a base and a count of its cost, and so looks at nothing closer; it only lacks `glimpse`."""

    base = (4, 4)

    def levels_for(self, height, width):
        return 1

    def multiply_adds(self, glimpses, levels=None):
        return torch.zeros(glimpses.rows, dtype=torch.int64)


class Adaptive(Whole):
    def glimpse(self, images, levels=None, attend=None, *, every_level=True):
        raise NotImplementedError


@pytest.mark.parametrize("name", ["glimpse_pyramid_m1", "glimpse_pyramid_in_m1"])
def test_glimpse_pyramids_are_adaptive(name):
    assert isinstance(create_model(name), AdaptiveNetwork)


@pytest.mark.parametrize("name", ["glimpse_baseline_m1", "simple_cnn", "hiresnet20_cifar", "timm/test_vit"])
def test_networks_that_look_at_whole_images_are_not(name):
    assert not isinstance(create_model(name), AdaptiveNetwork)


def test_any_network_with_the_methods_is_adaptive_and_one_without_a_single_one_is_not():
    assert isinstance(Adaptive(), AdaptiveNetwork)
    assert not isinstance(Whole(), AdaptiveNetwork)


def test_what_an_answer_cost_is_counted_row_by_row():
    network = create_model("glimpse_pyramid_m1").eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([0, 2, 9])

    def attend(probabilities, level):
        return torch.arange(9) < counts[:, None]

    glimpses = network.glimpse(images, attend=attend)
    crop, choice, merged, image = 112_896, 28_224, 36_864 + 8_192, 64 * 10  # the paper's table 3
    expected = crop * (1 + counts) + choice + merged * (counts > 0) + image
    assert torch.equal(network.multiply_adds(glimpses), expected)
    assert torch.equal(network.multiply_adds(glimpses, 1), torch.full((3,), crop + image))
