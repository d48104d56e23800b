"""Learning rates by depth, by pattern and by stage, against timm's own and by hand."""

import pytest
import timm
import torch
from torch import nn

from curriculum_zoo.curricula import Stage, create_curriculum
from curriculum_zoo.errors import CurriculumError, RecipeError
from curriculum_zoo.models import create_model
from curriculum_zoo.recipes import Optimizer, load_recipe
from curriculum_zoo.training.optimizers import make_optimizer
from curriculum_zoo.training.parameter_groups import LearningRates

CALTECH = {"conv1": 1e-5, "layer1": 1e-5, "layer2": 5e-5, "layer3": 1e-4, "layer4": 3e-4, "fc": 1e-3}


@pytest.fixture(scope="module")
def hiresnet():
    return create_model("hiresnet18", num_classes=4)


def by_name(model, optimizer, key):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: group[key] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit", "hiresnet20_cifar"])
def test_layer_decay_is_timms_own(name):
    model = create_model(name, num_classes=4)
    ours = make_optimizer(model, Optimizer(name="adamw", lr=0.2, weight_decay=0.05, layer_decay=0.7))
    theirs = timm.optim.create_optimizer_v2(model, "adamw", lr=0.2, weight_decay=0.05, layer_decay=0.7)
    scales = by_name(model, theirs, "lr_scale")
    assert len(set(scales.values())) > 3
    assert by_name(model, ours, "lr") == pytest.approx({name: 0.2 * scale for name, scale in scales.items()})
    assert {name for name, decay in by_name(model, ours, "weight_decay").items() if decay} == {
        name for name, decay in by_name(model, theirs, "weight_decay").items() if decay
    }


def test_hrts_rates_on_caltech_reach_every_part_and_change_with_the_stage(hiresnet):
    recipe = load_recipe("hrt-resnet18-caltech256")
    plan = create_curriculum(recipe.curriculum, epochs=recipe.epochs)
    stages = [plan.stage(epoch) for epoch in range(recipe.epochs)]
    rates = LearningRates.of(hiresnet, recipe.optimizer, stages)
    optimizer = make_optimizer(hiresnet, recipe.optimizer, rates)
    peaks = {}
    for epoch in (0, 3, 4, 14):
        for group, peak in zip(
            optimizer.param_groups, rates.in_stage(stages[epoch], optimizer.param_groups), strict=True
        ):
            group["lr"] = peak
        peaks[epoch] = by_name(hiresnet, optimizer, "lr")
    expected = {
        # part: in the edge phase, afterwards; what no pattern names goes with the block that it belongs to
        "conv1": (1e-4, 1e-5), "bn1": (1e-4, 1e-5), "layer1": (5e-5, 1e-5), "layer2": (5e-5, 5e-5),
        "layer3": (1e-4, 1e-4), "layer4": (3e-4, 3e-4), "fc": (1e-3, 1e-3),
    }  # fmt: skip
    for epoch, rate_by_name in peaks.items():
        assert {name.split(".")[0] for name in rate_by_name} == expected.keys()
        for name, rate in rate_by_name.items():
            assert rate == pytest.approx(expected[name.split(".")[0]][epoch >= 4], rel=1e-12), name


def test_a_rate_of_its_own_stands_in_place_of_the_blocks():
    model = create_model("timm/test_resnet", num_classes=4)
    settings = Optimizer(lr=0.1, layer_decay=0.5, layer_lr={"fc.bias": 0.3}, layer_lr_scale={"layer1.*.bn*": 2})
    decayed = LearningRates.of(model, Optimizer(lr=0.1, layer_decay=0.5)).peaks
    peaks = LearningRates.of(model, settings).peaks
    changed = {name: rate for name, rate in peaks.items() if rate != decayed[name]}
    assert changed.pop("fc.bias") == 0.3
    assert changed == {name: pytest.approx(0.2) for name in peaks if name.startswith("layer1.") and ".bn" in name}


def test_a_pattern_takes_nothing_of_the_module_that_it_names_a_part_of(hiresnet):
    peaks = LearningRates.of(hiresnet, Optimizer(lr=1.0, layer_lr={"layer4.1.conv2": 0.5})).peaks
    assert {name.rpartition(".")[0] for name, rate in peaks.items() if rate == 0.5} >= {"layer4.1.conv2"}
    assert all(rate == 1.0 for name, rate in peaks.items() if name.startswith("layer4.") and "1.conv2" not in name)
    whole = LearningRates.of(hiresnet, Optimizer(lr=1.0, layer_lr={"layer4": 0.5})).peaks
    assert whole["layer4.1.output_sum.from0.conv.weight"] == 0.5
    assert whole["layer3.1.output_sum.from0.conv.weight"] == 1.0


@pytest.mark.parametrize("name", ["sgd", "adamw", "nadamw", "adagrad", "muon"])
def test_divided_groups_hold_every_parameter_once_and_step(name):
    torch.manual_seed(0)
    model = create_model("timm/test_vit", num_classes=4)
    plain = timm.optim.create_optimizer_v2(model, name, lr=0.01, weight_decay=0.05)
    optimizer = make_optimizer(model, Optimizer(name=name, lr=0.01, weight_decay=0.05, layer_decay=0.5))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len([*model.parameters()])
    assert by_name(model, optimizer, "weight_decay") == by_name(model, plain, "weight_decay")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.rand(2, 3, 160, 160)).square().sum().backward()
    optimizer.step()
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_one_rate_for_all_leaves_the_groups_as_timm_makes_them(hiresnet):
    groups = make_optimizer(hiresnet, Optimizer(name="adamw", weight_decay=0.05)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05]


def test_steps_at_divided_rates_are_those_of_separate_optimizers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    settings = Optimizer(name="momentum", lr=0.5, momentum=0.0, weight_decay=0.0, layer_lr={"0": 0.125})
    optimizer = make_optimizer(model, settings)
    model(torch.rand(3, 4)).square().sum().backward()
    optimizer.step()
    for (name, parameter), old in zip(model.named_parameters(), before, strict=True):
        torch.testing.assert_close(parameter, old - (0.125 if name.startswith("0.") else 0.5) * parameter.grad)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_lr": {"layer9": 1}}, r"optimizer.layer_lr: 'layer9' names no parameter of HiResNet. Did you mean"),
        ({"layer_lr": CALTECH | {"*.bn1": 1}}, r"'layer1' and '\*.bn1' both name layer1.0.bn1.weight"),
        ({"layer_lr": {"fc": 1}, "layer_lr_scale": {"fc": 1}}, "both have 'fc'"),
        ({"layer_lr": {"fc": 0}}, "layer_lr must be above 0"),
        ({"layer_lr": {"fc": "high"}}, "layer_lr expects an object"),
        ({"layer_decay": 1.5}, "layer_decay must be at most 1"),
        ({"layer_decay": 0}, "layer_decay must be above 0"),
    ],
)
def test_rates_that_make_no_sense_are_one_clear_error(hiresnet, settings, message):
    with pytest.raises(RecipeError, match=message):
        LearningRates.of(hiresnet, Optimizer.from_dict(settings))


def test_patterns_may_overlap_where_they_agree(hiresnet):
    assert LearningRates.of(hiresnet, Optimizer(layer_lr={"layer1": 0.5, "layer1.0": 0.5})).peaks["fc.bias"] == 0.1


def test_a_stage_that_names_no_part_is_a_curriculums_error(hiresnet):
    with pytest.raises(CurriculumError, match="Stage 'edges': lr_scales: 'layer7' names no parameter"):
        LearningRates.of(hiresnet, Optimizer(), [Stage(name="edges", lr_scales=(("layer7", 2.0),))])


@pytest.mark.parametrize("configuration", [None, {}])
def test_decay_by_depth_needs_a_network_that_tells_its_depth(configuration):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    if configuration is not None:
        network.pretrained_cfg = configuration
    with pytest.raises(RecipeError, match=r"tells no depth.* Use optimizer.layer_lr_scale"):
        LearningRates.of(network, Optimizer(layer_decay=0.5))
