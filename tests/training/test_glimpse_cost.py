"""FLOPs of networks that choose what to compute: from a few counted steps to what a training with any choices costs."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo.curricula import Frozen, Stage
from curriculum_zoo.models.glimpse.pyramids import glimpse_pyramid_m1, glimpse_pyramid_m2
from curriculum_zoo.recipes import GlimpseLearning
from curriculum_zoo.training.cost import CostMeter
from curriculum_zoo.training.glimpse_rule import GlimpseRule
from curriculum_zoo.views import Resize

STAGES = {
    "base": Stage(name="base", levels=1, view=Resize(0.25), image_size=0.25),
    "small": Stage(name="small", levels=2, view=Resize(0.5), image_size=0.5),
    "full": Stage(name="full"),
    "weighted": Stage(name="weighted", level_weights=(1.0, 0.5, 2.0)),
    "frozen": Stage(name="frozen", frozen=(Frozen(("features", "location")),)),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return glimpse_pyramid_m1(num_classes=4)


def meter(network, samples=2, **rule):
    objective = GlimpseRule(GlimpseLearning(samples=samples, baseline="moving"), **rule)
    return objective, CostMeter(network, channels=1, image_size=56, num_classes=4, objective=objective)


def counted(network, objective, stage, images):
    """FLOPs of a training step, and the choices that it made."""
    model = copy.deepcopy(network).train()
    x, y = torch.rand(images, 1, 56, 56), torch.arange(images) % 4
    with stage.applied_to(model) as view:
        seen = view(x)
        with FlopCounterMode(display=False) as counter:
            outcome = objective(model, seen, y, stage)
            outcome.loss.backward()
    return counter.get_total_flops(), {name: value.item() for name, value in outcome.choices.items()}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("samples", [1, 3])
def test_flops_follow_from_what_was_chosen(network, name, samples):
    objective, cost = meter(network, samples)
    torch.manual_seed(1)
    flops, choices = counted(network, objective, STAGES[name], images=5)
    assert 5 * cost.of(STAGES[name], choices) == pytest.approx(flops, rel=1e-6)
    nothing = cost.of(STAGES[name])
    assert (nothing == cost.of(STAGES[name], choices)) is (name == "base")


def test_parameters_of_modules_that_a_stage_leaves_out_are_idle(network):
    _, cost = meter(network)
    cost.full()
    cost.of(STAGES["small"])
    assert not cost.idle
    cost.of(STAGES["base"])
    assert {name.partition(".")[0] for name in cost.idle} == {"location", "aggregation", "merging"}


def test_full_training_attends_everything_once_an_image(network):
    _, cost = meter(network, samples=4)
    everything = GlimpseRule(
        GlimpseLearning(samples=1, baseline="moving"), attend=lambda p, level: torch.ones_like(p, dtype=torch.bool)
    )
    flops, choices = counted(network, everything, STAGES["full"], images=1)
    assert choices == {"crops_2": 9, "merged_1": 1, "crops_3": 81, "merged_2": 9}
    assert cost.full() == flops


def test_crops_cost_what_the_papers_table_says(network):
    # Table 3, in FLOPs: two for a multiply-add, and as much again for the gradient of each weight and of each input
    # that needs one; the images and the location module's input need none.
    _, cost = meter(network, samples=1)
    crop, location, aggregation, merging = 112896, 28224, 36864, 8192
    stage, chosen = STAGES["small"], {"crops_2": 1.0, "merged_1": 0.0}
    assert cost.of(stage, chosen) - cost.of(stage) == 2 * 2 * crop
    assert cost.of(stage, {**chosen, "merged_1": 1.0}) - cost.of(stage, chosen) == 2 * 3 * (aggregation + merging)
    chosen = {"crops_2": 1.0, "merged_1": 0.0, "crops_3": 0.0, "merged_2": 0.0}
    assert cost.of(STAGES["full"], chosen) - cost.of(STAGES["full"]) == 2 * 2 * (crop + location)


def test_other_figures_of_a_run_cost_nothing(network):
    _, cost = meter(network)
    chosen = {"crops_2": 2.0, "merged_1": 1.0}
    assert cost.of(STAGES["small"], {**chosen, "attended": 7.0, "loss": 1.0}) == cost.of(STAGES["small"], chosen)


def test_counting_attends_what_it_says_whatever_the_network_would():
    network = glimpse_pyramid_m2(num_classes=4)
    with torch.no_grad():
        network.location.bias[:] = 100.0
    state = torch.random.get_rng_state()
    certain = meter(network)[1].of(STAGES["full"])
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        network.location.bias[:] = -100.0
    assert meter(network)[1].of(STAGES["full"]) == certain
