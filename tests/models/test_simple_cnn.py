"""SimpleCNN against its description, and at other sizes than the one it was made for."""

import math

import pytest
import torch
from torch.nn import functional as F

from curriculum_zoo.errors import ModelError
from curriculum_zoo.models import create_model


def test_the_network_is_the_description_written_out():
    torch.manual_seed(0)
    model = create_model("simple_cnn", num_classes=7)
    images = torch.randn(3, 3, 32, 32)
    x = F.max_pool2d(F.relu(F.conv2d(images, model.conv1.weight, model.conv1.bias, padding=1)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, model.conv2.weight, model.conv2.bias, padding=1)), 2)
    assert x.flatten(1).shape == (3, 4096)
    x = F.relu(F.linear(x.flatten(1), model.fc1.weight, model.fc1.bias))
    torch.testing.assert_close(model(images), F.linear(x, model.fc2.weight, model.fc2.bias))


def test_its_parameters_are_those_counted_by_hand():
    expected = (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64) + (4096 * 128 + 128) + (128 * 10 + 10)
    assert sum(parameter.numel() for parameter in create_model("simple_cnn").parameters()) == expected == 545_098


def test_weights_start_as_pytorch_starts_them():
    torch.manual_seed(0)
    model = create_model("simple_cnn")
    bound = 1 / math.sqrt(4096)
    assert model.fc1.weight.abs().max() <= bound
    assert model.fc1.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)


@pytest.mark.parametrize(("size", "width"), [(4, 64), (28, 64 * 49), (64, 64 * 256), ((32, 64), 64 * 8 * 16)])
def test_the_image_size_decides_the_first_linear_layers_width(size, width):
    model = create_model("simple_cnn", img_size=size, in_chans=1)
    assert model.fc1.in_features == width
    height, across = (size, size) if isinstance(size, int) else size
    assert model(torch.randn(2, 1, height, across)).shape == (2, 10)


def test_create_model_hands_the_image_size_on():
    assert create_model("simple_cnn", image_size=64).grid == (16, 16)
    assert create_model("simple_cnn", image_size=64, img_size=16).grid == (4, 4)


@pytest.mark.parametrize("size", [4, 16, 20, 33, 64])
def test_other_sizes_are_pooled_to_the_grid_it_was_made_for(size):
    model = create_model("simple_cnn").eval()
    images = torch.randn(2, 3, size, size)
    features = model.forward_features(images)
    assert features.shape == (2, 64, size // 4, size // 4)
    pooled = F.adaptive_avg_pool2d(features, (8, 8)).flatten(1)
    torch.testing.assert_close(model(images), model.fc2(F.relu(model.fc1(pooled))))


def test_too_small_images_are_refused_at_run_time_and_when_it_is_made():
    with pytest.raises(ModelError, match="4×4 px and more, got 3×8"):
        create_model("simple_cnn")(torch.randn(1, 3, 3, 8))
    with pytest.raises(ModelError, match="img_size=3"):
        create_model("simple_cnn", img_size=3)


def test_first_features_come_without_what_lies_above_them():
    torch.manual_seed(0)
    whole = create_model("simple_cnn").eval()
    torch.manual_seed(0)
    first = create_model("simple_cnn", features_only=True, out_indices=(0,)).eval()
    images = torch.randn(2, 3, 32, 32)
    (expected,) = whole.forward_intermediates(images, [0], intermediates_only=True)
    (features,) = first(images)
    assert torch.equal(features, expected)
    assert {key.split(".")[1] for key in first.state_dict()} == {"conv1"}


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    model = create_model("simple_cnn", drop_rate=0.5)
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_a_new_classifier_keeps_the_hidden_layer_and_a_new_pooling_renews_it():
    model = create_model("simple_cnn")
    hidden = model.fc1
    model.reset_classifier(3)
    assert model.fc1 is hidden
    model.reset_classifier(3, "catavgmax")
    assert model.fc1.in_features == 128
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"global_pool": "median"}, "global_pool='median'"), ({"global_pool": ""}, "num_classes=0")],
)
def test_poolings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        create_model("simple_cnn", **options)
