"""The CIFAR networks against He et al.'s description: depth, parameters, shortcuts, initial weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from curriculum_zoo.errors import ModelError
from curriculum_zoo.models import create_model
from curriculum_zoo.models.cifar_resnet import OptionAShortcut

DEPTHS = (20, 32, 44, 56, 110)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def by_hand(depth, classes=10):
    """6n + 2 layers: a 3×3 stem, 2n convolutions for each of 16, 32 and 64 channels, one linear layer."""
    n = (depth - 2) // 6
    convolutions = 3 * 16
    for width, before in ((16, 16), (32, 16), (64, 32)):
        convolutions += before * width + (2 * n - 1) * width * width
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    return 9 * convolutions + norms + 64 * classes + classes


@pytest.mark.parametrize("depth", DEPTHS)
def test_parameters_and_layers_are_those_of_the_paper(depth):
    model = create_model(f"resnet{depth}_cifar", device="meta")
    assert parameters(model) == by_hand(depth)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == depth


def test_resnet20_has_the_269722_parameters_that_are_published():
    assert parameters(create_model("resnet20_cifar")) == 269_722


@pytest.mark.parametrize("depth", DEPTHS)
def test_hierarchical_twins_add_three_projections(depth):
    model = create_model(f"hiresnet{depth}_cifar", device="meta")
    last = (depth - 2) // 6 - 1
    places = [(2, 0), (3, 0), (3, 1)]
    assert list(model.projections()) == [f"layer{to}.{last}.output_sum.from{start}" for to, start in places]
    added = 16 * 32 + 2 * 32 + 2 * (16 * 64 + 2 * 64)
    assert parameters(model) == by_hand(depth) + added


@pytest.mark.parametrize("kind", ["resnet", "hiresnet"])
def test_resnet18_for_cifar_keeps_the_resolution_in_its_stem(kind):
    model = create_model(f"{kind}18_cifar").eval()
    stem = model.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.bias) == ((3, 3), (1, 1), (1, 1), None)
    levels = model.forward_intermediates(torch.randn(1, 3, 32, 32), intermediates_only=True)
    assert [level.shape[1:] for level in levels] == [
        (64, 32, 32),
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    assert parameters(create_model("resnet18_cifar")) == 11_173_962


def test_option_a_takes_every_other_pixel_and_fills_new_channels_with_zeros():
    x = torch.randn(2, 4, 7, 6)
    out = OptionAShortcut(2, 6)(x)
    assert out.shape == (2, 10, 4, 3)
    assert torch.equal(out[:, 3:7], x[:, :, ::2, ::2])
    assert (out[:, :3] == 0).all()
    assert (out[:, 7:] == 0).all()


def test_the_network_is_the_papers_written_out():
    torch.manual_seed(0)
    model = create_model("resnet20_cifar").eval().double()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and ("bn" in name):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    state = model.state_dict()

    def conv_bn(x, conv, bn, stride=1):
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        leaves = (state[f"{bn}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *leaves)

    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x = conv_bn(images, "conv1", "bn1").relu()
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if stride == 2:
                shortcut = torch.zeros(2, width, x.shape[2] // 2, x.shape[3] // 2, dtype=x.dtype)
                shortcut[:, width // 4 : width // 4 + width // 2] = x[:, :, ::2, ::2]
            y = conv_bn(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            x = (conv_bn(y, f"{name}.conv2", f"{name}.bn2") + shortcut).relu()
    expected = F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])
    torch.testing.assert_close(model(images), expected)


def test_weights_start_by_kaimings_rule_for_the_fan_in():
    torch.manual_seed(0)
    model = create_model("resnet110_cifar")
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 2000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05), name
    assert all((module.weight == 1).all() for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def test_equal_seeds_start_the_twins_alike():
    torch.manual_seed(3)
    plain = create_model("resnet20_cifar").eval()
    torch.manual_seed(3)
    hierarchical = create_model("hiresnet20_cifar").eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(plain(images), hierarchical(images))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 30), (33, 33)])
def test_images_of_any_size_can_be_classified(size):
    assert create_model("hiresnet20_cifar").eval()(torch.randn(2, 3, *size)).shape == (2, 10)


def test_output_stride_counts_from_the_cifar_stem():
    images = torch.randn(1, 3, 32, 32)
    for name, stride in (
        ("hiresnet20_cifar", 4),
        ("hiresnet20_cifar", 2),
        ("resnet18_cifar", 8),
        ("resnet18_cifar", 2),
    ):
        model = create_model(name, output_stride=stride).eval()
        assert model.forward_features(images).shape[-1] == 32 // stride
        assert model.feature_info[-1]["reduction"] == stride
    with pytest.raises(ModelError, match="choose 8, 4, 2"):
        create_model("hiresnet20_cifar", output_stride=32)


def test_plain_cifar_networks_without_shortcuts_have_the_same_weights_to_learn():
    plain = create_model("resnet20_cifar", residual=False)
    assert parameters(plain) == 269_722
    assert plain.layer2[0].downsample is None


def test_bfloat16_autocast_in_channels_last_keeps_the_layout_and_the_numbers():
    torch.manual_seed(0)
    model = create_model("hiresnet20_cifar").eval()
    images = torch.randn(4, 3, 32, 32)
    expected = model(images)
    model.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.forward_features(images)
        logits = model(images)
    assert features.dtype == torch.bfloat16
    assert features.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(logits.float(), expected, atol=0.1, rtol=0.1)
