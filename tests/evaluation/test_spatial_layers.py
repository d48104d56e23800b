"""Which layer of a network holds its last features over the image, and how its output becomes maps."""

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from curriculum_zoo.errors import ModelError
from curriculum_zoo.evaluation.spatial_layers import find_layer, grid_of, tapped
from curriculum_zoo.models import create_model


@given(
    order=st.sampled_from(("NCHW", "NHWC", "tokens")),
    rows=st.integers(2, 9), columns=st.integers(2, 9), prefix=st.integers(0, 3), stride=st.integers(2, 6),
)  # fmt: skip
def test_features_of_any_layout_become_maps_and_the_layout_again(order, rows, columns, prefix, stride):
    maps = torch.rand(2, 61, rows, columns)
    images = torch.zeros(2, 3, rows * stride, columns * stride)
    before = torch.rand(2, prefix, 61)
    features = {
        "NCHW": maps,
        "NHWC": maps.permute(0, 2, 3, 1),
        "tokens": torch.cat((before, maps.flatten(2).transpose(1, 2)), 1),
    }[order]
    grid = grid_of(features, images, prefix)
    assert grid is not None
    assert (grid.order, grid.height, grid.width) == (order, rows, columns)
    assert torch.equal(grid.maps(features), maps)
    changed = grid.features(maps + 1, features)
    assert changed.shape == features.shape
    assert torch.equal(grid.maps(changed), maps + 1)
    if order == "tokens":
        assert torch.equal(changed[:, :prefix], before)


@pytest.mark.parametrize("shape", [(1, 10), (1, 64, 7, 5), (1, 60, 20), (4, 64, 8, 8), (1, 3, 64, 64), (1, 5, 6, 7, 8)])
def test_an_output_that_does_not_lie_over_the_image_is_no_grid(shape):
    assert grid_of(torch.zeros(shape), torch.zeros(1, 3, 32, 32)) is None


def test_a_side_that_is_no_multiple_of_the_stride_is_a_grid_still():
    features = nn.Conv2d(3, 4, 3, stride=4, padding=1)(torch.zeros(1, 3, 30, 22))
    grid = grid_of(features, torch.zeros(1, 3, 30, 22))
    assert grid is not None
    assert (grid.height, grid.width) == (8, 6)


def output_of(model, layer, images):
    """What a layer gives, as maps, by captum-free means: a hook of the test's own."""
    caught = []
    hook = model.get_submodule(layer).register_forward_hook(lambda module, given, output: caught.append(output))
    with torch.no_grad():
        model(images)
    hook.remove()
    return caught[-1]


@pytest.mark.parametrize(
    "name", ["resnet20_cifar", "hiresnet20_cifar", "hiresnet18", "simple_cnn", "timm/test_resnet", "timm/test_byobnet",
             "timm/test_efficientnet", "timm/test_mambaout", "timm/test_convnext"],
)  # fmt: skip
def test_the_layer_found_holds_what_the_network_hands_to_its_head(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=5).eval()
    for parameter in model.parameters():  # a HiResNet's projections start at zero, and then add nothing
        nn.init.normal_(parameter, std=0.1)
    side = 32 if model.pretrained_cfg["input_size"][1] < 100 else 96
    images = torch.rand(1, 3, side, side)
    features = output_of(model, find_layer(model, images), images)
    with torch.no_grad():
        expected = model.forward_features(images)
    torch.testing.assert_close(features, expected)


def test_a_transformer_that_classifies_by_its_class_token_is_looked_at_before_its_last_block():
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5).eval()
    images = torch.rand(1, 3, 160, 160)
    layer = find_layer(model, images)
    assert layer == f"blocks.{len(model.blocks) - 2}"
    averaging = timm.create_model("test_vit", num_classes=5, global_pool="avg").eval()
    features = output_of(averaging, find_layer(averaging, images), images)
    with torch.no_grad():
        torch.testing.assert_close(features, averaging.forward_features(images))


class Wrapped(nn.Module):
    """A timm network with the normalisation in front and a temperature behind it."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.network((images - 0.5) / 0.2) * self.scale


def test_the_network_inside_another_module_is_found():
    torch.manual_seed(0)
    inner = timm.create_model("test_vit", num_classes=5).eval()
    images = torch.rand(1, 3, 160, 160)
    assert find_layer(Wrapped(inner).eval(), images) == f"network.{find_layer(inner, images)}"


def test_a_network_without_a_group_matcher_is_looked_at_where_its_head_begins():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5),
    ).eval()  # fmt: skip
    assert find_layer(model, torch.rand(1, 3, 16, 16)) == "3"


def test_a_network_whose_layers_forget_where_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU(), nn.Linear(7, 5)).eval()
    with pytest.raises(ModelError, match="no layer gives a grid over the image"):
        find_layer(model, torch.rand(1, 3, 4, 4))


def test_looking_leaves_no_trace():
    model = create_model("hiresnet20_cifar", num_classes=5).eval()
    images = torch.rand(1, 3, 32, 32)
    with tapped(model, find_layer(model, images), images):
        pass
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not images.requires_grad
    assert not model.training


def test_a_tap_that_lets_pass_changes_no_output_and_one_that_changes_its_maps_does():
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5).eval()
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad(), tapped(model, "blocks.2", images) as tap:
        passed = model(images)
        tap.register_forward_hook(lambda module, given, maps: maps * 0)
        zeroed = model(images)
    with torch.no_grad():
        torch.testing.assert_close(passed, model(images))
    assert (zeroed - passed).abs().max() > 1e-4
