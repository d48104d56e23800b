"""What a config asks for is built where it is about as large as its weights, by whatever means its builder works."""

import threading

import pytest
import torch
from torch import nn

from curriculum_zoo import create_model
from curriculum_zoo.errors import WeightsError
from curriculum_zoo.models.bounded_building import SPARE, build_within

MUCH = SPARE + 1


def wide(features=MUCH, num_classes=1, **_):
    return nn.Linear(features, num_classes, bias=False)


def test_a_network_may_have_as_many_numbers_as_bytes_and_what_is_to_spare():
    assert build_within(wide, 1, "it", 1).weight.device.type == "cpu"
    with pytest.raises(WeightsError, match=r"it: its config asks for a network of more than 16,777,216 numbers"):
        build_within(wide, 0, "it", 1)


def test_a_network_too_large_is_never_made_on_a_device():
    made = []

    def noting(**options):
        network = wide(2**40, **options)
        made.append(network.weight.device.type)
        return network

    with pytest.raises(WeightsError):
        build_within(noting, 10**6, "it", 1)
    assert made == []


def test_a_builder_that_needs_the_values_of_its_tensors_is_stopped_at_the_first_too_many():
    layers = []

    def by_value(depth, **_):
        layers.clear()
        for _ in range(depth):
            layers.append(nn.Linear(2**10, 2**10, bias=False))
            float(layers[-1].weight.detach().sum())  # which no tensor without a device can tell
        return nn.Sequential(*layers)

    assert len(build_within(by_value, 0, "it", None, depth=3)) == 3
    with pytest.raises(WeightsError):
        build_within(by_value, 0, "it", None, depth=10**6)
    assert len(layers) == SPARE // 2**20


def test_classes_that_the_user_asks_for_are_not_the_configs_fault():
    options = {"features": 2**12, "num_classes": 2**13}
    assert build_within(wide, 0, "it", 10, **options).out_features == 2**13
    with pytest.raises(WeightsError):
        build_within(wide, 0, "it", 2**13, **options)


def test_what_other_threads_build_meanwhile_is_not_counted():
    def beside(**_):
        other = threading.Thread(target=wide)
        other.start()
        other.join()
        return wide(1)

    assert build_within(beside, 0, "it", 1).in_features == 1


def test_a_builders_own_error_is_what_is_told_and_no_draw_is_lost():
    def failing(**_):
        raise ValueError("no such depth")

    with pytest.raises(ValueError, match="no such depth"):
        build_within(failing, 0, "it", 1)
    torch.manual_seed(5)
    alone = wide(8).weight
    torch.manual_seed(5)
    assert torch.equal(build_within(wide, 0, "it", 1, features=8).weight, alone)


def test_a_released_network_still_comes_on_the_device_and_in_the_type_that_were_asked_for():
    model = create_model("resnet20_cifar", pretrained=True, dtype=torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
