"""Hierarchical sums inside their stages: what hooks, feature extractors and older files of weights make of them."""

import copy
import io
import pickle

import pytest
import timm
import torch
from timm.models import load_checkpoint
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from curriculum_zoo.curricula.freezing import Frozen, freeze
from curriculum_zoo.errors import ModelError
from curriculum_zoo.models import create_model
from curriculum_zoo.models.hiresnet import HiResNet, create_hiresnet
from curriculum_zoo.weights.released import find_weights

IMAGES = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))
LAYOUTS = [
    {"layers": (2, 1, 2, 2)},
    {"layers": (1, 2, 1), "channels": (16, 32, 64), "sources": "all"},
    {"layers": (1, 1, 2, 1), "side": "both", "sources": "all"},
    {"layers": (1, 1, 1, 2), "block": Bottleneck, "side": "input"},
]
each_layout = pytest.mark.parametrize("options", LAYOUTS)


def network(**options):
    """A HiResNet whose projections add something."""
    torch.manual_seed(0)
    model = create_hiresnet("small", **{"block": BasicBlock, "num_classes": 5} | options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.6)
    return model.eval()


def formerly_named(model):
    """A network's state as it was named when sums stood beside the stages."""
    state = {}
    for name, tensor in model.state_dict().items():
        stage, _, rest = name.partition(".")
        _, _, inner = rest.partition(".")
        side, _, leaf = inner.partition("_sum.")
        state[f"{side}_sum{stage.removeprefix('layer')}.{leaf}" if leaf else name] = tensor
    assert any(name.startswith(("output_sum", "input_sum")) for name in state)
    return state


@each_layout
def test_hooks_on_a_stage_and_on_its_last_block_see_the_level_with_its_sum(options):
    model, seen = network(**options), {}
    for info in model.feature_info[1:]:
        stage = model.get_submodule(info["module"])
        for key, module in (("stage", stage), ("block", stage[-1])):
            module.register_forward_hook(lambda *call, at=(info["module"], key): seen.update({at: call[-1]}))
    with torch.no_grad():
        _, levels = model.forward_intermediates(IMAGES)
        features = model.forward_features(IMAGES)
    assert torch.equal(features, levels[-1])
    for info, level in zip(model.feature_info[1:], levels[1:], strict=True):
        assert torch.equal(seen[info["module"], "stage"], level)
        assert torch.equal(seen[info["module"], "block"], level)


@pytest.mark.parametrize("target", ["layer4", "layer4.1"])
def test_grad_cam_by_hooks_is_grad_cam_of_the_last_features(target):
    model, kept = network(layers=(1, 1, 1, 2)), {}
    model.get_submodule(target).register_forward_hook(lambda *call: kept.update(features=call[-1]))

    def map_of(features, logits):
        (gradient,) = torch.autograd.grad(logits[0, 3], features)
        return (gradient.mean((2, 3), keepdim=True) * features).sum(1)

    logits = model(IMAGES[:1])
    by_hook = map_of(kept["features"], logits)
    features = model.forward_features(IMAGES[:1])
    torch.testing.assert_close(by_hook, map_of(features, model.forward_head(features)))
    assert by_hook.any()


def test_extractors_that_trace_a_network_find_the_level_under_the_stages_name():
    model = network(layers=(1, 1, 1, 2), side="both")
    extractor = create_feature_extractor(model, ["layer2", "layer3", "layer4"])
    with torch.no_grad():
        _, levels = model.forward_intermediates(IMAGES)
        taken = extractor(IMAGES)
    for name, level in zip(("layer2", "layer3", "layer4"), levels[2:], strict=True):
        torch.testing.assert_close(taken[name], level)


def test_a_pattern_that_names_a_stage_freezes_its_projections():
    model = network(layers=(1, 1, 1, 2))
    names = [name for name, _ in model.named_parameters()]
    with freeze(model, (Frozen(patterns=("layer[1-3].*",)),)):
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name for name in names if name.startswith("layer3.0.output_sum.")} < frozen
    assert not {name for name in names if name.startswith("layer4.")} & frozen


def test_a_stage_on_its_own_says_that_it_needs_the_levels_below():
    model = network(layers=(1, 1, 1, 1))
    with pytest.raises(ModelError, match=r"cannot run on its own.*forward_features"):
        model.layer3(torch.randn(1, 128, 8, 8))


@each_layout
def test_states_named_when_sums_stood_beside_the_stages_load_with_equal_outputs(options, tmp_path):
    model = network(**options)
    former = formerly_named(model)
    fresh = network(**options)
    fresh.init_weights()
    fresh.load_state_dict(former)
    assert torch.equal(fresh(IMAGES), model(IMAGES))
    wrapped = nn.Sequential(copy.deepcopy(fresh))
    wrapped.load_state_dict({f"0.{name}": tensor for name, tensor in former.items()})
    torch.save({"state_dict": former}, tmp_path / "former.pth")
    fresh.init_weights()
    load_checkpoint(fresh, str(tmp_path / "former.pth"))
    assert torch.equal(fresh(IMAGES), model(IMAGES))


def test_a_former_file_is_a_warm_start_and_must_be_whole(tmp_path):
    model = create_model("hiresnet20_cifar").eval()
    for projection in model.projections().values():
        nn.init.uniform_(projection.bn.weight)
    torch.save(formerly_named(model), tmp_path / "former.pth")
    again = create_model("hiresnet20_cifar", warm_start=str(tmp_path / "former.pth")).eval()
    assert torch.equal(again(IMAGES), model(IMAGES))


@pytest.mark.parametrize("name", ["hiresnet18.tiny_imagenet", "hiresnet20_cifar.cifar10"])
def test_released_weights_stand_bit_for_bit_where_they_belong(name):
    architecture, _, tag = name.partition(".")
    stored = find_weights(architecture, tag).open().tensors()
    state = formerly_named(create_model(name, pretrained=True))
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[key], stored[key]) for key in stored)


@each_layout
def test_networks_can_be_copied_pickled_and_saved_whole(options):
    model = network(**options)
    expected = model(IMAGES)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for again in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(again(IMAGES), expected)
        assert again.layer2[-1] is not model.layer2[-1]
        assert isinstance(again.layer2[-1], options.get("block", BasicBlock))


def test_plain_weights_load_and_give_the_plain_networks_outputs():
    torch.manual_seed(0)
    plain = timm.create_model("resnet18", num_classes=3).eval()
    model = HiResNet(BasicBlock, (2, 2, 2, 2), num_classes=3).eval()
    result = model.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert all(".output_sum." in name for name in result.missing_keys)
    torch.testing.assert_close(model(IMAGES), plain(IMAGES), atol=1e-5, rtol=1e-5)
