"""HiResNet's mathematics against an independent computation, its parameter counts, its options and its builder."""

import copy
import re

import pytest
import timm
import torch
from timm.layers import BlurPool2d
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn
from torch.nn import functional as F

from curriculum_zoo.errors import ModelError
from curriculum_zoo.models import create_model
from curriculum_zoo.models.hiresnet import HiResNet, create_hiresnet


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def awaken(model, seed=0):
    """Give projections and running statistics random values, so that every term of the sums shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if "_sum" in name and tensor.is_floating_point():
            low = 0.5 if "running_var" in name else -1.0
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (1 - low) + low)
    return model


def small(**options):
    """A HiResNet of four one-block stages, for images of any size."""
    torch.manual_seed(0)
    options = {"block": BasicBlock, "layers": (1, 1, 1, 1), "num_classes": 5, "zero_init_last": False} | options
    return create_hiresnet("small", **options)


def levels_by_the_formula(model, images, side, sources):
    """All levels from the plain twin's blocks and the state dict alone, with direct pooling."""
    twin = copy.deepcopy(model)
    state = model.state_dict()

    def summed(x, prefix, levels, nearest):
        for source in range(max(0, len(levels) - nearest + 1)):
            if f"{prefix}.from{source}.conv.weight" not in state:
                raise AssertionError(f"{prefix} has no projection from level {source}")
            pooled = F.adaptive_avg_pool2d(levels[source], x.shape[-2:])
            part = {leaf: state[f"{prefix}.from{source}.bn.{leaf}"] for leaf in ("weight", "bias")}
            mean, var = (state[f"{prefix}.from{source}.bn.running_{leaf}"] for leaf in ("mean", "var"))
            convolved = F.conv2d(pooled, state[f"{prefix}.from{source}.conv.weight"])
            x = x + F.batch_norm(convolved, mean, var, **part)
        return x

    nearest = {"long": 2, "all": 1}[sources]
    levels = [twin.maxpool(F.relu(twin.bn1(twin.conv1(images))))]
    for level in range(1, 5):
        x = levels[-1]
        stage = f"layer{level}.0"
        if side != "output":
            x = summed(x, f"{stage}.input_sum", levels, nearest)
        block = twin.get_submodule(stage)
        block.act2 = nn.Identity()
        x = BasicBlock.forward(block, x.clone())
        if side != "input":
            x = summed(x, f"{stage}.output_sum", levels, nearest)
        levels.append(F.relu(x))
    return levels


@pytest.mark.parametrize("sources", ["long", "all"])
@pytest.mark.parametrize("side", ["output", "input", "both"])
def test_every_level_is_the_papers_sum(side, sources):
    model = awaken(small(side=side, sources=sources)).eval().double()
    for size in ((64, 64), (33, 57)):
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            features, taken = model.forward_intermediates(images)
            expected = levels_by_the_formula(model, images, side, sources)
        for mine, theirs in zip(taken[1:], expected[1:], strict=True):
            torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(features, expected[-1])


def test_hierarchical_parameters_of_resnet18_are_as_counted_by_hand():
    plain = parameters(timm.create_model("resnet18"))
    for sources, convolutions, all_of_it in (("long", 172_032, 176_384), ("all", 348_160, 354_432)):
        model = create_model("hiresnet18", sources=sources)
        projections = model.projections().values()
        assert sum(projection.conv.weight.numel() for projection in projections) == convolutions
        assert sum(2 * projection.bn.num_features for projection in projections) == all_of_it - convolutions
        assert parameters(model) - plain == all_of_it


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("hiresnet18", "resnet18"),
        ("hiresnet34", "resnet34"),
        ("hiresnet50", "resnet50"),
        ("hiresnet101", "resnet101"),
        ("hiresnext50_32x4d", "resnext50_32x4d"),
    ],
)
def test_plain_parameters_keep_the_names_and_shapes_of_timms_twin(name, twin):
    ours = {key: tensor.shape for key, tensor in create_model(name, device="meta").state_dict().items()}
    theirs = {key: tensor.shape for key, tensor in timm.create_model(twin, device="meta").state_dict().items()}
    assert theirs.items() <= ours.items()
    added = ours.keys() - theirs.keys()
    assert added
    assert all(re.match(r"layer\d\.\d+\.output_sum\.", key) for key in added)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"sources": "all"}, {"side": "input"}, {"side": "both", "sources": "all"}])
def test_a_fresh_network_computes_what_its_plain_twin_computes(options, training):
    hierarchical, plain = small(**options).train(training), small(hierarchical=False).train(training)
    images = torch.randn(2, 3, 48, 48)
    assert torch.equal(hierarchical.fc.weight, plain.fc.weight), "equal seeds start the plain parts equally"
    torch.testing.assert_close(hierarchical(images), plain(images), atol=1e-6, rtol=0)


def test_without_hierarchy_the_network_is_timms_own():
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    torch.manual_seed(0)
    ours = create_model("hiresnet18", hierarchical=False, num_classes=7).eval()
    images = torch.randn(1, 3, 40, 40)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours(images), theirs(images))


def test_projections_learn_within_two_steps_of_gradient_descent():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    before = {name: part.conv.weight.clone() for name, part in model.projections().items()}
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    for name, part in model.projections().items():
        assert part.bn.weight.abs().max() > 0, name
        assert not torch.equal(part.conv.weight, before[name]), name


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_networks_without_residuals_have_neither_shortcuts_nor_their_weights(block):
    plain = small(block=block, residual=False, hierarchical=False)
    assert not any("downsample" in name for name in plain.state_dict())
    stage = plain.layer2[0].eval()
    x = torch.randn(2, plain.feature_info[1]["num_chs"], 8, 8)
    steps = [stage.conv1, stage.bn1, F.relu, stage.conv2, stage.bn2]
    if block is Bottleneck:
        steps += [F.relu, stage.conv3, stage.bn3]
    expected = x
    for step in steps:
        expected = step(expected)
    torch.testing.assert_close(stage(x), expected.relu())


def test_hierarchical_networks_without_residuals_start_as_the_plain_ones_and_not_dead():
    hierarchical, plain = small(residual=False).eval(), small(residual=False, hierarchical=False).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(hierarchical(images), plain(images))
    assert create_model("hiresnet18", residual=False, num_classes=3)(images).std() > 0


def test_squeeze_and_excitation_acts_in_plain_blocks_too():
    options = {"residual": False, "block_args": {"attn_layer": "se"}}
    for block in (BasicBlock, Bottleneck):
        model = small(block=block, **options).eval()
        images = torch.randn(2, 3, 32, 32)
        before = model(images)
        nn.init.constant_(model.layer1[0].se.fc2.bias, 3.0)
        assert not torch.allclose(model(images), before)


@pytest.mark.parametrize("side", ["output", "both"])
def test_fused_projections_give_the_same_outputs(side):
    model = awaken(small(side=side, sources="all")).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    assert model.fuse() is model
    torch.testing.assert_close(model(images), expected, atol=1e-5, rtol=1e-5)
    assert not any(
        isinstance(module, nn.BatchNorm2d) for part in model.projections().values() for module in part.modules()
    )


def test_fusing_a_network_in_training_is_refused():
    with pytest.raises(ModelError, match=r"Call eval\(\) first"):
        small().fuse()


@pytest.mark.parametrize(
    "options",
    [
        {"stem_type": "deep", "stem_width": 32, "avg_down": True},
        {"stem_type": "deep_tiered", "stem_width": 24, "replace_stem_pool": True},
        {"block_args": {"attn_layer": "se"}},
        {"aa_layer": BlurPool2d},
        {"layers": (2, 1, 3, 1), "block": Bottleneck, "cardinality": 4, "base_width": 16},
        {"act_layer": "silu", "drop_path_rate": 0.3, "drop_block_rate": 0.1},
        {"channels": (16, 32, 64), "layers": (1, 1, 1)},
        {"output_stride": 8, "side": "both"},
    ],
)
def test_any_configuration_of_timms_resnet_can_be_hierarchical(options):
    model = small(**options)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    plain = small(**options, hierarchical=False)
    model.eval().load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 65, 65)
    torch.testing.assert_close(model(images), plain.eval()(images), atol=1e-5, rtol=1e-5)


def test_the_builders_own_metadata_names_the_layers_of_a_deep_stem():
    model = small(stem_type="deep", stem_width=16, in_chans=1)
    assert model.pretrained_cfg["first_conv"] == "conv1.0"
    assert model.conv1[0].in_channels == 1


def test_a_stage_that_receives_no_projections_keeps_its_activation():
    model = small()
    assert isinstance(model.layer1[-1].act2, nn.ReLU)
    assert isinstance(model.layer2[-1].act2, nn.Identity)
    assert isinstance(model.layer2[-1].output_sum.act, nn.ReLU)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": "left"}, "side='left' is unknown; choose 'output' or 'input' or 'both'"),
        ({"sources": "none"}, "sources='none' is unknown"),
        ({"output_stride": 4}, "output_stride=4 cannot be had; choose 32, 16, 8"),
        ({"stem_type": "cifar", "stem_width": 15}, "stem_width=15 must be even"),
        ({"residual": False, "drop_path_rate": 0.1}, "drop_path_rate"),
        ({"features_only": True, "feature_cls": "list"}, "feature_cls='getter'"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, message):
    with pytest.raises(ModelError, match=message.replace("(", r"\(")):
        small(**options)


def test_blocks_that_end_otherwise_are_refused_unless_projections_enter_at_the_input():
    class Odd(BasicBlock):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.finish = self.act2
            del self.act2

        def forward(self, x):
            return self.finish(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))))

    with pytest.raises(ModelError, match="Odd does not end with an activation"):
        small(block=Odd)
    assert small(block=Odd, side="input")(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_residual_free_blocks_of_a_foreign_kind_are_refused():
    class Foreign(nn.Module):
        expansion = 1

    with pytest.raises(ModelError, match="not for Foreign"):
        small(block=Foreign, residual=False)


def test_images_of_another_number_of_channels_are_refused_with_the_remedy():
    model = small()
    with pytest.raises(ModelError, match=r"takes images of 3 channels.*in_chans=1"):
        model(torch.randn(2, 1, 32, 32))
    with pytest.raises(ModelError, match=r"\[N, 3, H, W\]"):
        model(torch.randn(3, 32, 32))


def test_output_stride_keeps_the_last_features_large():
    images = torch.randn(1, 3, 64, 64)
    for stride in (32, 16, 8):
        model = small(output_stride=stride).eval()
        assert model.forward_features(images).shape[-1] == 64 // stride
        assert model.feature_info[-1]["reduction"] == stride


def test_the_class_itself_can_be_used_without_a_name():
    model = HiResNet(BasicBlock, (1, 1, 1, 1), num_classes=2, in_chans=4)
    assert model(torch.randn(2, 4, 33, 33)).shape == (2, 2)


def test_reinitialising_takes_the_projections_back_to_nothing():
    model = awaken(small())
    model.init_weights()
    assert all((part.bn.weight == 0).all() and (part.bn.bias == 0).all() for part in model.projections().values())
