"""Curricula for fine-tuning: what freezing alone and FixRes freeze, and rates that differ by stage."""

import pytest
import timm
import torch
from torch import nn

from curriculum_zoo import create_model
from curriculum_zoo.curricula import Fixres, Freeze, Frozen, Stage, create_curriculum
from curriculum_zoo.errors import CurriculumError


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=4)


def learning(model: nn.Module, stage: Stage) -> set[str]:
    with stage.applied_to(model):
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def moving(model: nn.Module, stage: Stage) -> set[str]:
    with stage.applied_to(model):
        model.train()
        return {
            name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and module.training
        }


def norms(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


# Freezing alone ---------------------------------------------------------------------------------------------------


def test_a_linear_probe_trains_the_head_alone_and_holds_all_statistics(resnet):
    for epoch in range(3):
        stage = create_curriculum("freeze", epochs=3).stage(epoch)
        assert learning(resnet, stage) == {"fc.weight", "fc.bias"}
        assert moving(resnet, stage) == set()


def test_frozen_epochs_end_and_the_whole_network_learns(resnet):
    plan = create_curriculum("freeze(frozen_epochs=2,fresh_optimizer=true)", epochs=4)
    assert [len(learning(resnet, plan.stage(epoch))) for epoch in range(4)] == [
        2,
        2,
        *2 * [len([*resnet.parameters()])],
    ]
    assert [plan.stage(epoch).fresh_optimizer for epoch in range(4)] == [False, False, True, False]
    assert moving(resnet, plan.stage(2)) == norms(resnet)


def test_named_parts_and_depths_freeze_alone_or_under_another_curriculum(resnet):
    frozen = create_curriculum("freeze(parts=(conv1,layer1))", epochs=2).stage(1)
    missing = {name for name, _ in resnet.named_parameters()} - learning(resnet, frozen)
    assert {name.split(".")[0] for name in missing} == {"conv1", "layer1"}
    both = create_curriculum("freeze(depth=(0,0.5),statistics=move)+trd(participation=1)", epochs=2).stage(0)
    assert both.image_size == 0.5
    assert not any(name.startswith(("conv1", "bn1", "layer1")) for name in learning(resnet, both))
    assert moving(resnet, both) == norms(resnet)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("freeze(frozen_epochs=4)", "epochs must be at least 4"),
        ("freeze(parts=())", "parts must name at least one"),
        ("freeze(depth=(0.5,0.5))", "depth must be .* low below high"),
        ("freeze(depth=(0,2))", "depth must be at most 1"),
        ("fixres(tuned_epochs=3)", "epochs must be at least 4"),
        ("fixres(resolution=1.5)", "between 0 and 1"),
        ("fixres(resolution=0)", "resolution must be at least 1 px"),
        ("hrt(edge_epochs=1,edge_lr_scales=((conv1,0)))", "edge_lr_scales must be above 0"),
        ("hrt(edge_epochs=1,edge_lr_scales=(conv1,3))", "edge_lr_scales expects a list"),
        ("hrt(edge_epochs=1,edge_lr_scales=((a,3)))+hrt(edge_epochs=1)+hrt(edge_epochs=1,edge_lr_scales=((b,3)))",
         "both change the learning rates"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(CurriculumError, match=message):
        create_curriculum(text, epochs=3)


# FixRes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_convnext", "hiresnet20_cifar"])
def test_fixres_ends_at_full_size_with_normalisation_and_head_learning_alone(name):
    model = create_model(name, num_classes=4)
    plan = Fixres(epochs=5)
    assert [plan.stage(epoch).pixels(64) for epoch in range(5)] == [48, 48, 48, 64, 64]
    assert len(learning(model, plan.stage(0))) == len([*model.parameters()])
    layers = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)}
    expected = {name for name, _ in model.named_parameters() if name.rpartition(".")[0] in layers}
    head = {name for name, _ in model.named_parameters() if name.startswith(("fc.", "head."))}
    assert layers
    assert head
    assert learning(model, plan.stage(3)) == expected | head
    assert moving(model, plan.stage(3)) == norms(model)


def test_fixres_costs_what_its_smaller_images_save():
    assert Fixres(epochs=10, resolution=0.5).relative_cost(32) == pytest.approx(0.8 * 0.25 + 0.2)
    plan = create_curriculum("fixres(resolution=24,tuned_epochs=1)", epochs=4)
    assert "norms learn" in str(plan.timeline(32))
    assert [stage.fresh_optimizer for stage in map(plan.stage, range(4))] == [False, False, False, True]


def test_fixres_after_another_curriculum_is_freeze_that_spares_the_norms(resnet):
    plan = create_curriculum("trd(participation=1):0.8>freeze(norms=false)", epochs=5)
    assert learning(resnet, plan.stage(4)) == learning(resnet, Fixres(epochs=5).stage(4))
    assert moving(resnet, plan.stage(4)) == norms(resnet)


def test_norms_that_are_spared_go_on_learning_among_named_parts_too(resnet):
    spared = learning(resnet, Stage(name="x", frozen=(Frozen(("layer2",), statistics="hold", norms=False),)))
    held = moving(resnet, Stage(name="x", frozen=(Frozen(("layer2",), statistics="hold"),)))
    assert {name for name in spared if name.startswith("layer2")} == {
        f"{name}.{leaf}" for name in norms(resnet) if name.startswith("layer2") for leaf in ("weight", "bias")
    }
    assert held == {name for name in norms(resnet) if not name.startswith("layer2")}


# Rates by stage ---------------------------------------------------------------------------------------------------


def test_hrt_scales_rates_while_it_shows_edges():
    plan = create_curriculum("hrt(edge_lr_scales=((conv1, 10), (layer1, 5)))", epochs=6)
    assert [plan.stage(epoch).lr_scales for epoch in range(6)] == 4 * [(("conv1", 10.0), ("layer1", 5.0))] + 2 * [()]
    assert "conv1 rate ×10, layer1 rate ×5" in str(plan.timeline())
    assert type(plan).from_dict(plan.to_dict()) == plan
    assert hash(plan) == hash(type(plan).from_dict(plan.to_dict()))


def test_rates_by_stage_survive_an_overlay():
    plan = create_curriculum("trd(participation=1)+hrt(edge_epochs=1,edge_lr_scales=((fc,2)))", epochs=2)
    assert [plan.stage(epoch).lr_scales for epoch in range(2)] == [(("fc", 2.0),), ()]


def test_freezing_holds_weights_and_outputs_of_the_frozen_part(resnet):
    images = torch.rand(4, 3, 32, 32)
    plan = Freeze(epochs=1)
    optimizer = torch.optim.SGD(resnet.parameters(), lr=0.1, weight_decay=0.1)
    resnet.train()
    with plan.stage(0).applied_to(resnet) as view:
        before = resnet.eval().forward_features(images)
        resnet.train()
        resnet(view(images)).square().mean().backward()
        optimizer.step()
        after = resnet.eval().forward_features(images)
    assert torch.equal(before, after)
