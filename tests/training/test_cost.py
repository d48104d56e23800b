"""FLOPs of a training image, stage by stage, against a count by hand."""

import pytest
import torch
from torch import nn

from curriculum_zoo.curricula import Frozen, Stage
from curriculum_zoo.errors import ModelError, TrainingError
from curriculum_zoo.training.cost import CostMeter
from curriculum_zoo.training.objectives import CrossEntropy
from curriculum_zoo.views import Resize

# A 3x3 convolution of 2 on 5 channels that keeps an 8 px side, and a linear layer on what is pooled from it.
CONVOLUTION = 2 * 9 * 2 * 5 * 64
LINEAR = 2 * 5 * 3


@pytest.fixture
def network():
    layers = nn.Conv2d(2, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    return nn.Sequential(*layers)


@pytest.fixture
def meter(network):
    return CostMeter(network, channels=2, image_size=8, num_classes=3, objective=CrossEntropy())


def test_full_training_pays_forward_and_both_gradients(meter):
    # The images themselves need no gradient.
    assert meter.full() == 2 * CONVOLUTION + 3 * LINEAR


def test_lower_resolution_costs_by_its_pixels(meter):
    assert meter.of(Stage(name="half", view=Resize(0.5), image_size=0.5)) == 2 * CONVOLUTION // 4 + 3 * LINEAR


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("0", CONVOLUTION + 2 * LINEAR), ("3", 2 * CONVOLUTION + 2 * LINEAR)],
)
def test_frozen_parts_save_what_their_gradients_cost(meter, pattern, expected):
    assert meter.of(Stage(name="frozen", frozen=(Frozen((pattern,)),))) == expected
    assert meter.full() == 2 * CONVOLUTION + 3 * LINEAR


def test_counting_leaves_the_network_alone(network, meter):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.random.get_rng_state()
    meter.full()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_the_network_cannot_take_is_told_by_stage_and_size():
    network = nn.Sequential(nn.Conv2d(2, 5, 5), nn.Flatten(), nn.Linear(80, 3))
    meter = CostMeter(network, channels=2, image_size=8, num_classes=3, objective=CrossEntropy())
    meter.full()
    with pytest.raises(ModelError, match=r"Sequential cannot train on images of 4x4 px with 2 channels.*'half'"):
        meter.of(Stage(name="half", view=Resize(0.5), image_size=0.5))


@pytest.mark.parametrize(("side", "stride", "kernel"), [(1, 2, 3), (2, 3, 3), (1, 2, 5)])
def test_strided_convolutions_that_bf16_gets_wrong_on_the_cpu_are_refused(side, stride, kernel):
    layers = nn.Conv2d(2, 5, kernel, stride, kernel // 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    options = {"channels": 2, "image_size": side, "num_classes": 3, "objective": CrossEntropy()}
    with pytest.raises(TrainingError, match=rf"stage 'full'.*stride {stride} sees {side}x{side} px\. Use fp32"):
        CostMeter(nn.Sequential(*layers), precision="bf16", **options).full()
    CostMeter(nn.Sequential(*layers), precision="fp32", **options).full()
    CostMeter(nn.Sequential(*layers), precision="bf16", **{**options, "image_size": stride}).full()
