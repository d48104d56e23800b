"""What timm asks of its own models in its own tests, asked of ours: by `timm.create_model`, as its users would."""

import re

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

import curriculum_zoo.models  # noqa: F401  registers our architectures with timm
from curriculum_zoo import list_models
from curriculum_zoo.models.hiresnet import HiResNet

QUICK = ("airbench94", "hiresnet18", "hiresnet20_cifar", "simple_cnn")
# Glimpse pyramids and their baselines classify vectors, without feature maps by stage: see test_glimpse_networks.py.
WITH_MAPS = [name for name in list_models() if not name.startswith("glimpse_")]
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in WITH_MAPS]
SIDE = 64
LOST = {"airbench94": 1}  # pixels of a side that a first convolution without padding takes

each_model = pytest.mark.parametrize("name", NAMES)


def images_for(model, count=2, most=SIDE):
    channels, *size = model.pretrained_cfg["input_size"]
    return torch.randn(count, channels, *(min(side, most) for side in size))


def without_gradient(model):
    return [key for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]


def randomized(model):
    """Random BatchNorm weights, so that nothing is zero by its start alone."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.6)
    return model


@pytest.mark.parametrize("name", WITH_MAPS)
def test_every_name_is_registered_with_its_metadata(name):
    assert timm.is_model(name)
    cfg = timm.get_pretrained_cfg(name)
    assert cfg.architecture == name
    assert cfg.license == "mit"
    assert not cfg.has_weights
    assert cfg.input_size == ((3, 32, 32) if name.endswith(("_cifar", "_cnn", "94")) else (3, 224, 224))


@each_model
def test_forward_gives_finite_logits(name):
    model = timm.create_model(name).eval()
    images = images_for(model, 1)
    with torch.no_grad():
        logits = model(images)
    assert logits.shape == (1, model.num_classes) == (1, model.pretrained_cfg["num_classes"])
    assert logits.isfinite().all()


@each_model
def test_backward_reaches_every_parameter_that_learns(name):
    model = timm.create_model(name, num_classes=42).train()
    logits = model(images_for(model, 2, 33))
    logits.mean().backward()
    assert logits.shape[-1] == 42
    assert without_gradient(model) == []


@each_model
def test_metadata_tells_the_truth(name):
    model = timm.create_model(name).eval()
    cfg, state = model.pretrained_cfg, model.state_dict()
    assert f"{cfg['first_conv']}.weight" in state
    assert f"{cfg['classifier']}.weight" in state
    assert model.get_classifier() is model.get_submodule(cfg["classifier"])
    images = images_for(model, 1, 224)
    with torch.no_grad():
        features = model.forward_features(images)
        assert features.shape[1] == model.num_features
        assert tuple(features.shape[-2:]) == tuple(cfg["pool_size"])
        assert model.forward_head(features, pre_logits=True).shape == (1, model.head_hidden_size)
        torch.testing.assert_close(model.forward_head(features), model(images))


@each_model
def test_the_classifier_and_the_pooling_can_be_taken_away_and_put_back(name):
    model = timm.create_model(name).eval()
    images = images_for(model)
    with torch.no_grad():
        features = model.forward_features(images)
        model.reset_classifier(0)
        assert model.num_classes == 0
        assert model(images).shape == (2, model.head_hidden_size)
        model.reset_classifier(0, "")
        torch.testing.assert_close(model(images), features)
        model.reset_classifier(7, "avg")
        assert model(images).shape == (2, 7)


@each_model
@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "catavgmax"])
def test_every_global_pooling_can_be_chosen(name, pool):
    model = timm.create_model(name, global_pool=pool, num_classes=3).eval()
    features = torch.rand(2, model.num_features, 4, 4)
    average, most = features.mean((2, 3)), features.amax((2, 3))
    expected = {"avg": average, "max": most, "avgmax": (average + most) / 2, "catavgmax": torch.cat([average, most], 1)}
    torch.testing.assert_close(model.global_pool(features), expected[pool])
    assert model.forward_head(features).shape == (2, 3)


@each_model
def test_features_include_the_hierarchical_sums(name):
    torch.manual_seed(0)
    whole = randomized(timm.create_model(name)).eval()
    features = timm.create_model(name, features_only=True).eval()
    features.model.load_state_dict(
        {key: tensor for key, tensor in whole.state_dict().items() if key in features.model.state_dict()}
    )
    images = images_for(whole)
    with torch.no_grad():
        out = features(images)
        torch.testing.assert_close(out[-1], whole.forward_features(images))
    assert len(out) == len(features.feature_info.channels()) >= 2
    for level, channels, reduction in zip(
        out, features.feature_info.channels(), features.feature_info.reduction(), strict=True
    ):
        assert level.shape[1] == channels
        assert level.shape[-1] == (images.shape[-1] - LOST.get(name, 0)) // reduction


@each_model
def test_intermediates_end_in_the_features_and_can_stop_early(name):
    model = randomized(timm.create_model(name)).eval()
    images = images_for(model)
    with torch.no_grad():
        last, taken = model.forward_intermediates(images)
        torch.testing.assert_close(last, model.forward_features(images))
        torch.testing.assert_close(taken[-1], last)
        only = model.forward_intermediates(images, indices=[0, 1], stop_early=True, intermediates_only=True)
    for early, full in zip(only, taken, strict=False):
        torch.testing.assert_close(early, full)
    assert len(only) == 2


@pytest.mark.parametrize("name", ["hiresnet18", "hiresnet20_cifar"])
@pytest.mark.parametrize("indices", [(0,), (0, 2), (-1,), (1, 2)])
def test_chosen_features_come_without_what_lies_above_them(name, indices):
    torch.manual_seed(0)
    whole = randomized(timm.create_model(name, side="both")).eval()
    features = timm.create_model(name, side="both", features_only=True, out_indices=indices).eval()
    part = features.model
    part.load_state_dict({key: tensor for key, tensor in whole.state_dict().items() if key in part.state_dict()})
    images = images_for(whole)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, list(indices), intermediates_only=True)
        for mine, theirs in zip(features(images), expected, strict=True):
            torch.testing.assert_close(mine, theirs)
    above = range(max(index % (whole.depth + 1) for index in indices) + 1, whole.depth + 1)
    assert not any(key.startswith(f"layer{level}.") for level in above for key in part.state_dict())


@each_model
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels_can_go_in(name, channels):
    model = timm.create_model(name, in_chans=channels, num_classes=3).eval()
    _, *size = model.pretrained_cfg["input_size"]
    assert model(torch.randn(1, channels, *(min(side, 40) for side in size))).shape == (1, 3)
    assert model.get_submodule(model.pretrained_cfg["first_conv"]).in_channels == channels


@pytest.mark.parametrize("name", ["hiresnet18", "hiresnet20_cifar", "resnet20_cifar"])
def test_drop_rates_reach_the_blocks_and_the_head(name):
    torch.manual_seed(0)
    model = timm.create_model(name, drop_rate=0.5, drop_path_rate=0.4).train()
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.4)
    features = torch.ones(1, model.num_features, 2, 2)
    assert 0 in model.forward_head(features, pre_logits=True)
    assert 0 not in model.eval().forward_head(features, pre_logits=True)


@each_model
def test_fine_groups_follow_the_order_of_depth(name):
    model = timm.create_model(name)
    groups = group_parameters(model, model.group_matcher(coarse=False))
    members = [key for keys in groups.values() for key in keys]
    assert sorted(members) == sorted(key for key, _ in model.named_parameters())
    assert model.pretrained_cfg["first_conv"] + ".weight" in groups[0]
    assert model.pretrained_cfg["classifier"] + ".weight" in groups[max(groups)]


@pytest.mark.parametrize("side", ["output", "input", "both"])
def test_projections_are_grouped_with_the_stage_and_the_block_that_they_feed(side):
    model = timm.create_model("hiresnet34", side=side, sources="all", device="meta")
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    fine = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    for key in coarse:
        where = re.match(r"(layer\d)\.(\d+)\.(input|output)_sum\.", key)
        if where:
            stage, block = where[1], int(where[2])
            assert block == (0 if where[3] == "input" else len(model.get_submodule(stage)) - 1)
            assert coarse[key] == coarse[f"{stage}.0.conv1.weight"]
            assert fine[key] == fine[f"{stage}.{block}.conv1.weight"]
    assert len(set(coarse.values())) == 6
    assert len(set(fine.values())) == 1 + 16 + 1


@pytest.mark.parametrize("name", QUICK)
def test_gradient_checkpointing_gives_the_same_gradients(name):
    torch.manual_seed(0)
    model = randomized(timm.create_model(name, num_classes=4)).double().train()
    images = images_for(model, 3, 48).double()

    def gradients():
        model.zero_grad()
        model(images).square().sum().backward()
        return {key: parameter.grad.clone() for key, parameter in model.named_parameters() if parameter.requires_grad}

    expected = gradients()
    model.set_grad_checkpointing()
    recomputed = gradients()
    model.set_grad_checkpointing(False)
    for key in expected:
        torch.testing.assert_close(recomputed[key], expected[key], msg=key)


def test_decay_is_not_to_hold_projections_at_nothing():
    model = timm.create_model("hiresnet18")
    exempt = model.no_weight_decay()
    assert exempt == {key for key, _ in model.named_parameters() if re.search(r"_sum\.from\d\.bn\.", key)}
    assert len(exempt) == 2 * len(model.projections())
    assert timm.create_model("resnet20_cifar").no_weight_decay() == set()


@pytest.mark.parametrize("name", QUICK)
def test_layout_and_type_do_not_change_the_numbers(name):
    torch.manual_seed(0)
    model = randomized(timm.create_model(name)).eval()
    images = images_for(model)
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(images)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("size", [(33, 33), (33, 47), (64, 40), (97, 97)])
@pytest.mark.parametrize("name", QUICK)
def test_odd_image_sizes_can_be_learned_from(name, size):
    model = timm.create_model(name, num_classes=3).train()
    model(torch.randn(2, 3, *size)).sum().backward()
    assert without_gradient(model) == []


@pytest.mark.parametrize("name", ["hiresnet18", "hiresnet20_cifar", "resnet20_cifar"])
def test_models_are_hiresnets_and_timms_resnets(name):
    model = timm.create_model(name)
    assert isinstance(model, HiResNet)
    assert isinstance(model, timm.models.ResNet)


def test_symbolic_tracing_gives_the_same_outputs():
    torch.manual_seed(0)
    model = randomized(timm.create_model("hiresnet20_cifar", side="both")).eval()
    images = torch.randn(2, 3, 37, 41)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(images), model(images))
