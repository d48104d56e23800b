"""Tensors fitted to a network: its channels and classes as timm has them, and numbers that are numbers."""

import pytest
import timm
import torch
from torch import nn

from curriculum_zoo.errors import WeightsError
from curriculum_zoo.models.fitting import fit_classifier, fit_first_convolution, load_tensors


def network(channels=3, classes=4):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, classes))
    model.pretrained_cfg = {"first_conv": "0", "classifier": "3"}
    return model


@pytest.mark.parametrize("before", [1, 2, 3, 4])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 7])
def test_a_first_convolution_gives_the_same_for_images_whose_channels_are_all_alike(before, after):
    old, new = network(before), network(after)
    tensors = dict(old.state_dict())
    fit_first_convolution(new, tensors, before)
    load_tensors(new, tensors, source="old")
    gray = torch.rand(2, 1, 3, 3)
    same, other = old[0](gray.expand(2, before, 3, 3)), new[0](gray.expand(2, after, 3, 3))
    if after > 1 and (after % before == 0 or before == 1):
        torch.testing.assert_close(other, same)
    if before == 3:
        expected = timm.models.adapt_input_conv(after, old[0].weight)
        assert torch.equal(new[0].weight, expected)


def test_weights_that_are_not_of_the_channels_stated_are_refused():
    tensors = dict(network(2).state_dict())
    fit_first_convolution(network(3), tensors, 4)
    with pytest.raises(WeightsError, match=r"0\.weight has shape \[5, 2, 3, 3\], expected \[5, 3, 3, 3\]"):
        load_tensors(network(3), tensors, source="old")


@pytest.mark.parametrize("classes", [0, 3, 4])
def test_a_classifier_of_another_size_stays_the_networks_own(classes):
    old, new = network(classes=4), network(classes=classes or 2)
    if not classes:
        new[3] = nn.Identity()
    tensors = dict(old.state_dict())
    fit_classifier(new, tensors)
    own = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    load_tensors(new, tensors, source="old")
    assert torch.equal(new[0].weight, old[0].weight)
    if classes:
        kept = old if classes == 4 else None
        assert torch.equal(new[3].weight, kept[3].weight if kept else own["3.weight"])


def test_finite_numbers_whose_sum_overflows_are_finite():
    model = network()
    state = model.state_dict()
    state["3.weight"] = torch.full_like(state["3.weight"], 3e38)
    load_tensors(model, state, source="there")
    for number in (float("inf"), float("-inf"), float("nan")):
        state["3.weight"][1, 1] = number
        with pytest.raises(WeightsError, match=r"3\.weight holds numbers that are not finite"):
            load_tensors(model, state, source="there")
