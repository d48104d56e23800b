"""What freezes, what it costs, and that everything thaws."""

import copy
import os

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo import create_model
from curriculum_zoo.curricula import Frozen, Stage, create_curriculum, freeze
from curriculum_zoo.curricula.depth import depth_groups
from curriculum_zoo.errors import CurriculumError


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return timm.create_model("resnet18", num_classes=10)


def frozen_tops(model: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, parameter in model.named_parameters() if not parameter.requires_grad}


def learning_tops(model: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


class Plain(nn.Module):
    """A network without timm's help: a stem, three parts, normalisations beside them, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False))
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x * self.scale))
        x = self.third(self.second(self.act(self.first(x))))
        return self.head(x.mean((2, 3)))


# What is chosen ---------------------------------------------------------------------------------------------------


def test_patterns_and_bare_module_names_freeze_their_parameters(resnet):
    with freeze(resnet, (Frozen(("layer3.*", "layer4", "*.bn1.bias")),)):
        names = {name for name, parameter in resnet.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[0] for name in names if not name.endswith("bn1.bias")} == {"layer3", "layer4"}
    assert "layer1.0.bn1.bias" in names
    assert "bn1.bias" not in names


def test_the_deeper_half_of_resnet18_is_layer3_and_layer4(resnet):
    with freeze(resnet, (Frozen(depth=(0.5, 1)),)):
        assert frozen_tops(resnet) == {"layer3", "layer4"}
        assert learning_tops(resnet) == {"conv1", "bn1", "layer1", "layer2", "fc"}


@pytest.mark.parametrize(
    ("name", "shallow", "deep"),
    [
        ("vit_tiny_patch16_224", "blocks.5.attn.qkv.weight", "blocks.6.attn.qkv.weight"),
        ("convnext_atto", "stages.1.blocks.0.conv_dw.weight", "stages.2.blocks.0.conv_dw.weight"),
        ("mobilenetv3_small_050", "blocks.2.0.conv_pw.weight", "blocks.3.0.conv_pw.weight"),
        (
            "densenet121",
            "features.denseblock2.denselayer1.conv1.weight",
            "features.denseblock4.denselayer1.conv1.weight",
        ),
        ("rdnet_tiny", "dense_stages.1.0.weight", "dense_stages.5.2.dense_block1.layers.layers.0.weight"),
        ("caformer_s18", "stages.1.blocks.0.mlp.fc1.weight", "stages.2.blocks.0.mlp.fc1.weight"),
    ],
)
def test_depth_splits_any_timm_network_and_leaves_its_classifier_learning(name, shallow, deep):
    with torch.device("meta"):
        model = timm.create_model(name)
    parameters = dict(model.named_parameters())
    groups = depth_groups(model, parameters)
    assert len(groups) > 3
    assert len({name for group in groups for name in group}) == sum(map(len, groups))
    with freeze(model, (Frozen(depth=(0.5, 1)),)):
        assert any(not parameter.requires_grad for parameter in parameters.values())
        classifier = model.get_classifier()
        classifying = [parameter for parameter in classifier.parameters() if len(parameter) == model.num_classes]
        assert classifying
        assert all(parameter.requires_grad for parameter in classifying)
        assert parameters[shallow].requires_grad
        assert not parameters[deep].requires_grad


def test_depth_of_a_plain_module_follows_its_children_and_leaves_the_last_out():
    model = Plain()
    names = [*dict(model.named_parameters()), *dict(model.named_buffers())]
    parts = [{name.split(".")[0] for name in group} for group in depth_groups(model, names)]
    assert parts == [{"scale", "stem", "norm"}, {"first"}, {"second"}, {"third"}]
    with freeze(model, (Frozen(depth=(0.5, 1)),)):
        assert frozen_tops(model) == {"second", "third"}
    with freeze(model, (Frozen(depth=(0, 0.25)),)):
        assert frozen_tops(model) == {"scale", "stem", "norm"}


def test_depth_of_containers_opens_them():
    def block() -> nn.Module:
        return nn.Conv2d(3, 3, 1)

    model = nn.Sequential()
    model.features = nn.Sequential(*(block() for _ in range(6)))
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with freeze(model, (Frozen(depth=(0.5, 1)),)):
        names = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert names == {f"features.{i}.{kind}" for i in (3, 4, 5) for kind in ("weight", "bias")}


def test_fifths_of_depth_meet_part_boundaries_without_rounding_trouble(resnet):
    for part, top in enumerate(("conv1", "layer1", "layer2", "layer3", "layer4")):
        with freeze(resnet, (Frozen(depth=(part * 0.2, (part + 1) * 0.2)),)):
            assert frozen_tops(resnet) - {"bn1"} == {top}


def test_hrt_freezes_nothing_of_its_simple_cnn_and_the_deeper_half_of_a_resnet():
    stage = create_curriculum("hrt", epochs=10).stage(0)
    simple = create_model("simple_cnn", num_classes=10)
    with stage.applied_to(simple):
        assert not frozen_tops(simple)
    for name, tops in (("resnet18_cifar", {"layer3", "layer4"}), ("resnet20_cifar", {"layer2", "layer3"})):
        model = create_model(name, num_classes=10)
        with stage.applied_to(model):
            assert frozen_tops(model) == tops


# Errors -----------------------------------------------------------------------------------------------------------


def test_a_pattern_that_names_nothing_offers_what_there_is(resnet):
    with (
        pytest.raises(CurriculumError, match=r"'layr3\.\*' names no parameter of ResNet.*'layer3'.*layer4\.\*"),
        freeze(resnet, (Frozen(("layr3.*",)),)),
    ):
        pytest.fail("entered")
    assert not frozen_tops(resnet)


def test_a_range_of_depth_without_a_part_says_where_the_parts_are(resnet):
    with (
        pytest.raises(CurriculumError, match=r"depth from 0\.85 to 1; its 5 parts start at 0, 0\.2, 0\.4, 0\.6, 0\.8"),
        freeze(resnet, (Frozen(depth=(0.85, 1)),)),
    ):
        pytest.fail("entered")
    with freeze(resnet, (Frozen(depth=(0.85, 1), least_parts=4),)):
        assert not frozen_tops(resnet)


def test_a_failure_in_the_second_part_leaves_the_first_unfrozen(resnet):
    with pytest.raises(CurriculumError), freeze(resnet, (Frozen(("layer1",)), Frozen(("nothing",)))):
        pytest.fail("entered")
    assert not frozen_tops(resnet)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"patterns": "layer3"}, {"depth": (0.5, 0.5)}, {"depth": (-0.1, 1)}, {"depth": (0.5, 1.2)},
     {"patterns": ("a",), "statistics": "stay"}],
)  # fmt: skip
def test_frozen_refuses_what_makes_no_sense(wrong):
    with pytest.raises(CurriculumError, match="Frozen"):
        Frozen(**wrong)


# Thawing ----------------------------------------------------------------------------------------------------------


def test_leaving_thaws_exactly_what_entering_froze():
    model = Plain()
    model.first.weight.requires_grad_(False)
    with freeze(model, (Frozen(("first", "second")),)):
        assert frozen_tops(model) == {"first", "second"}
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["first.weight"]


def test_an_exception_thaws_too():
    model = Plain()
    with pytest.raises(ZeroDivisionError), freeze(model, (Frozen(("first",), statistics="hold"),)):
        _ = 1 / 0
    assert not frozen_tops(model)


def test_blocks_may_be_nested():
    model = Plain()
    with freeze(model, (Frozen(("norm", "first"), statistics="hold"),)):
        with freeze(model, (Frozen(("norm", "third"), statistics="hold"),)):
            assert frozen_tops(model) == {"norm", "first", "third"}
            assert not model.norm.training
        assert frozen_tops(model) == {"norm", "first"}
        model.train()
        assert not model.norm.training
    assert not frozen_tops(model)
    assert model.norm.training


def test_nothing_frozen_changes_nothing():
    model = Plain()
    with freeze(model, ()):
        assert not frozen_tops(model)


# Optimisers and gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1),
        lambda parameters: torch.optim.AdamW(parameters, 0.1, weight_decay=0.1),
    ],
)
def test_optimisers_pass_frozen_parameters_over_momentum_and_decay_included(make):
    torch.manual_seed(0)
    model = Plain()
    optimizer = make(model.parameters())

    def step() -> None:
        model(torch.rand(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()

    step()  # leaves gradients and momentum behind
    before = copy.deepcopy(model.state_dict())
    with freeze(model, (Frozen(("first", "second")),)):
        assert model.first.weight.grad is None
        step()
        optimizer.zero_grad(set_to_none=False)
        step()
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter, before[name])
        assert same is name.startswith(("first", "second")), name
    step()
    assert not torch.equal(model.first.weight, before["first.weight"])


def backward_flops(model: nn.Module, images: torch.Tensor) -> dict[str, int]:
    """FLOPs of the backward pass, by top-level part."""
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(images)
    with FlopCounterMode(display=False) as both:
        F.cross_entropy(model(images), torch.zeros(len(images), dtype=torch.long)).backward()
    whole = type(model).__name__
    counted = {}
    for name, by_operation in both.get_flop_counts().items():
        key = name.removeprefix(f"{whole}.") if name != whole else "total"
        there = forward.get_flop_counts().get(name, {})
        counted[key] = sum(by_operation.values()) - sum(there.values())
    return counted


def test_frozen_deep_layers_pass_the_gradient_on_and_compute_none_of_their_own():
    model = create_model("resnet20_cifar", num_classes=10)
    images = torch.rand(2, 3, 16, 16)
    free = backward_flops(model, images)
    with freeze(model, (Frozen(("layer2", "layer3")),)):
        frozen = backward_flops(model, images)
    # A convolution's backward is two convolutions: one for its input's gradient, one for its own. Frozen, the second
    # falls away, so exactly half remains; what learns costs as before.
    for part in ("layer2", "layer3"):
        assert frozen[part] * 2 == free[part], part
    assert frozen["layer1"] == free["layer1"]
    assert frozen["conv1"] == free["conv1"] > 0
    saved = (free["layer2"] + free["layer3"]) // 2
    assert frozen["total"] == free["total"] - saved


def test_with_only_the_last_layers_learning_the_backward_pass_stops_there():
    model = create_model("resnet20_cifar", num_classes=10)
    images = torch.rand(2, 3, 16, 16)
    free = backward_flops(model, images)
    with freeze(model, (Frozen(("conv1", "bn1", "layer1", "layer2")),)):
        frozen = backward_flops(model, images)
    assert frozen["conv1"] == frozen["layer1"] == frozen["layer2"] == 0
    # Of layer3 only what would go on to layer2 is missing: the first convolution's input gradient.
    first = free["layer3.0.conv1"] // 2
    assert frozen["layer3"] == free["layer3"] - first
    assert frozen["total"] < free["total"] * 0.45


# Statistics of normalisation --------------------------------------------------------------------------------------


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_statistics_of_frozen_layers_move_unless_held():
    for held in (False, True):
        model = Plain()
        with freeze(model, (Frozen(("norm", "second"), statistics="hold" if held else "move"),)):
            model.train()
            before = statistics(model)
            model(torch.rand(4, 3, 8, 8))
            after = statistics(model)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        expected = {
            f"{norm}.{buffer}"
            for norm in ("norm", "second.1")
            for buffer in ("running_mean", "running_var", "num_batches_tracked")
        }
        assert moved == (set() if held else expected)


def test_held_layers_use_their_running_statistics_and_the_others_the_batchs():
    torch.manual_seed(0)
    model = Plain()
    model.norm.running_mean.fill_(0.3)
    images = torch.rand(4, 3, 8, 8)
    seen = {}
    model.norm.register_forward_hook(lambda module, inputs, output: seen.update(norm=(inputs[0], output)))
    model.second[1].register_forward_hook(lambda module, inputs, output: seen.update(second=(inputs[0], output)))
    with freeze(model, (Frozen(("norm",), statistics="hold"),)):
        model.train()
        model(images)
    given, got = seen["norm"]
    norm = model.norm
    want = F.batch_norm(given, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, eps=norm.eps)
    torch.testing.assert_close(got, want)
    given, got = seen["second"]
    torch.testing.assert_close(got, F.batch_norm(given, None, None, training=True))


@pytest.mark.parametrize("last", [True, False])
def test_leaving_gives_held_layers_the_mode_that_was_last_asked_for(last):
    model = Plain()
    with freeze(model, (Frozen(("norm",), statistics="hold"),)):
        model.eval()
        model.train(last)
        assert model.first.training is last
        assert not model.norm.training
    assert model.norm.training is last
    model.train()
    assert model.norm.training
    assert "train" not in vars(model.norm)


def test_a_deep_copy_inside_the_block_is_a_network_of_its_own():
    model = Plain()
    with freeze(model, (Frozen(("norm",), statistics="hold"),)):
        copied = copy.deepcopy(model)
        copied.train()
        model.eval()
    assert not model.norm.training


# Wrapped networks -------------------------------------------------------------------------------------------------


def test_a_compiled_network_freezes_by_the_names_it_had_before():
    model = Plain()
    model.second = torch.compile(model.second, backend="eager")
    compiled = torch.compile(model, backend="eager")
    images = torch.rand(4, 3, 8, 8)
    compiled(images)
    with freeze(compiled, (Frozen(("second.0.*", "second.1.*", "norm"), statistics="hold"),)):
        assert frozen_tops(model) == {"second", "norm"}
        compiled.train()
        before = statistics(model)
        compiled(images).sum().backward()
        assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
        assert model.first.weight.grad is not None
        assert model.norm.weight.grad is None
    compiled(images)
    assert not torch.equal(before["norm.running_mean"], model.norm.running_mean)


def test_a_distributed_network_freezes_by_the_names_it_had_before(tmp_path):
    store = torch.distributed.FileStore(os.fspath(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = Plain()
        wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
        for _ in range(2):
            with freeze(wrapped, (Frozen(("first",), depth=(0.5, 1)),)):
                assert frozen_tops(model) == {"first", "second", "third"}
                wrapped(torch.rand(2, 3, 8, 8)).sum().backward()
            assert model.first.weight.grad is None
            assert model.stem.weight.grad is not None
        wrapped(torch.rand(2, 3, 8, 8)).sum().backward()
        assert model.first.weight.grad is not None
    finally:
        torch.distributed.destroy_process_group()


def test_a_stage_freezes_inside_its_block_and_hands_out_its_view(resnet):
    stage = Stage(name="edges", frozen=(Frozen(("layer4",)),), view=torch.neg)
    with stage.applied_to(resnet) as view:
        assert frozen_tops(resnet) == {"layer4"}
        assert view is torch.neg
    assert not frozen_tops(resnet)
