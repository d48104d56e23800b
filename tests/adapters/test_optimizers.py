"""Optimisers in other people's loops: a fresh start, and learning rates scaled for a while."""

import pytest
import torch
from timm.optim import create_optimizer_v2

from curriculum_zoo.adapters.optimizers import reset_optimizer, scaled_rates
from curriculum_zoo.errors import CurriculumError


def train(network, optimizer, images, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


def optimizers():
    yield "sgd", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)
    yield "adamw", lambda p: torch.optim.AdamW(p, lr=0.01)
    yield "adagrad", lambda p: torch.optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.1)
    for name in ("lamb", "adan", "nadamw", "lookahead_adamw", "lion", "madgrad", "muon"):
        yield name, lambda p, name=name: create_optimizer_v2(p, opt=name, lr=0.01, weight_decay=0.05)


@pytest.mark.parametrize(
    ("name", "make"), list(optimizers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_reset_optimiser_goes_on_as_a_new_one_would(name, make, tiny_net, images, same_weights):
    ours, theirs = tiny_net(), tiny_net()
    used = make(ours.parameters())
    train(ours, used, images, 4)
    theirs.load_state_dict(ours.state_dict())
    reset_optimizer(used)
    train(ours, used, images, 7)
    train(theirs, make(theirs.parameters()), images, 7)
    same_weights(ours.state_dict(), theirs.state_dict())


def test_reset_optimiser_keeps_the_learning_rate_of_its_schedule(tiny_net, images):
    network = tiny_net()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for expected in (0.5, 0.25):
        train(network, optimizer, images, 1)
        scheduler.step()
        reset_optimizer(optimizer)
        assert optimizer.param_groups[0]["lr"] == expected


def factors_of(network):
    return {parameter: 10.0 if name.startswith("layer1") else 0.5 for name, parameter in network.named_parameters()
            if name.startswith(("layer1", "layer4"))}  # fmt: skip


def groups_of(network):
    """As many groups as there are rates, in the order of the parameters."""
    factors = factors_of(network)
    groups = {}
    for parameter in network.parameters():
        groups.setdefault(factors.get(parameter, 2.0), []).append(parameter)
    return [{"params": members, "lr": 0.01 * factor} for factor, members in groups.items()]


@pytest.mark.parametrize(
    ("name", "make"), list(optimizers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_scaled_rates_train_as_groups_of_these_rates_would(name, make, tiny_net, images, same_weights):
    ours, theirs = tiny_net(), tiny_net()
    scaled, grouped = make(ours.parameters()), make(groups_of(theirs))
    with scaled_rates(scaled, factors_of(ours), 2.0):
        train(ours, scaled, images, 7)
    train(theirs, grouped, images, 7)
    same_weights(ours.state_dict(), theirs.state_dict())
    for group in grouped.param_groups:
        group["lr"] = 0.01
    train(ours, scaled, images, 7)
    train(theirs, grouped, images, 7)
    same_weights(ours.state_dict(), theirs.state_dict())


def test_between_steps_the_optimiser_has_its_own_groups_and_schedulers_go_on(tiny_net, images):
    network = tiny_net()
    optimizer = torch.optim.AdamW(network.named_parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    (group,), fresh = optimizer.param_groups, optimizer.state_dict()
    with scaled_rates(optimizer, factors_of(network)):
        for _ in range(3):
            train(network, optimizer, images, 1)
            assert optimizer.param_groups[0] is group
            scheduler.step()
        saved = optimizer.state_dict()
    assert group["lr"] == scheduler.get_last_lr()[0] == 1e-3 / 8
    assert saved["param_groups"][0]["params"] == fresh["param_groups"][0]["params"]
    assert saved["param_groups"][0]["param_names"] == fresh["param_groups"][0]["param_names"]
    torch.optim.AdamW(network.named_parameters()).load_state_dict(saved)


def test_a_step_that_fails_leaves_the_optimiser_whole(tiny_net, images):
    network = tiny_net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def fail():
        assert len(optimizer.param_groups) == 3
        raise KeyError("lost")

    before = list(optimizer.param_groups)
    with pytest.raises(KeyError, match="lost"), scaled_rates(optimizer, factors_of(network)):
        optimizer.step(fail)
    assert optimizer.param_groups == before
    train(network, optimizer, images, 1)
    assert not optimizer._optimizer_step_pre_hooks


def test_an_optimiser_of_one_rate_for_all_is_refused(tiny_net):
    network = tiny_net()
    with (
        pytest.raises(CurriculumError, match="one learning rate for all"),
        scaled_rates(torch.optim.LBFGS(network.parameters()), {}),
    ):
        pass
