"""A step whose numbers are not finite leaves no trace, and the host finds out which it was."""

import collections
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from curriculum_zoo.errors import TrainingError
from curriculum_zoo.recipes import Optimizer
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training import trainer
from curriculum_zoo.training.optimizers import make_optimizer
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.training.step_guard import MOST_SKIPPED, StepGuard, first_breakdown
from curriculum_zoo.training.trainer import Trainer

CPU = torch.device("cpu")


class Training:
    """Steps of a small network with BatchNorm under a guard; `bad` spoils the images of a step."""

    def __init__(self, optimizer="sgd", *, skips=False, clip=None):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        self.optimizer = make_optimizer(self.network, Optimizer(name=optimizer, lr=0.01))
        self.guard = StepGuard(CPU, skips=skips)
        self.clip = clip

    def tensors(self):
        yield from self.network.parameters()
        yield from self.network.buffers()
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, torch.Tensor))

    def step(self, number, spoil=lambda images: images):
        generator = torch.Generator().manual_seed(number)
        images = spoil(torch.rand(5, 3, 8, 8, generator=generator))
        self.guard.hold(self.tensors())
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(images), torch.tensor([0, 1, 2, 0, 1]))
        loss.backward()
        gradients = [parameter.grad for parameter in self.network.parameters()]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.guard.judge(number, loss.detach(), norm)
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(list(self.network.parameters()), self.clip, norm)
        self.guard.silence(gradients)
        self.optimizer.step()
        self.guard.settle()
        return self

    def state(self):
        return copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))


def bits(state):
    """Every tensor of a state as bytes, so that -0.0 differs from 0.0 and a NaN equals itself."""
    network, optimizer = state
    values = [value for moments in optimizer["state"].values() for value in moments.values()]
    tensors = [*network.values(), *(value for value in values if isinstance(value, torch.Tensor))]
    return [tensor.contiguous().view(-1).view(torch.uint8).tolist() for tensor in tensors]


def spoilt(images):
    """A pixel that is no number."""
    images[0, 0, 0, 0] = float("nan")
    return images


OPTIMIZERS = ["sgd", "momentum", "adam", "adamw", "lamb", "lion", "rmsprop", "nadamw", "adopt"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_good_steps_are_as_without_a_guard(name):
    guarded, plain = Training(name), Training(name)
    plain.guard.silence = plain.guard.settle = lambda *_: None
    for number in range(4):
        guarded.step(number)
        plain.step(number)
    assert bits(guarded.state()) == bits(plain.state())
    assert first_breakdown([guarded.guard.read()]) is None


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_is_not_finite_leaves_weights_statistics_and_moments_as_they_were(name, clip):
    training = Training(name, clip=clip).step(0).step(1)
    before = bits(training.state())
    training.step(2, spoilt)
    assert bits(training.state()) == before
    assert first_breakdown([training.guard.read()]).step == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_that_is_not_finite_gets_into_moments_that_are_made_in_that_step(name):
    training = Training(name)
    before = bits((training.network.state_dict(), {"state": {}}))
    training.step(0, spoilt)
    network, optimizer = training.state()
    assert bits((network, {"state": {}})) == before
    moments = [value for state in optimizer["state"].values() for value in state.values()]
    assert all(value.isfinite().all() for value in moments if isinstance(value, torch.Tensor))


def test_after_the_first_such_step_nothing_moves_any_more():
    training = Training().step(0)
    before = bits(training.state())
    training.step(1, spoilt).step(2).step(3)
    assert bits(training.state()) == before
    breakdown = first_breakdown([training.guard.read()])
    assert (breakdown.step, breakdown.cause) == (1, "the loss is not finite")


def test_half_precision_counters_and_flags_are_taken_back_too():
    tensors = [
        torch.tensor([1.5, -0.0, 7.0], dtype=torch.bfloat16),
        torch.tensor([2.5, 3.0], dtype=torch.float16),
        torch.tensor([3, 4], dtype=torch.int64),
        torch.tensor([True, False]),
        torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        torch.rand(4, 6)[:, ::2],
    ]
    before = [tensor.clone() for tensor in tensors]
    guard = StepGuard(CPU)
    for loss, kept in ((1.0, True), (float("inf"), False)):
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)
        guard.hold(tensors)
        guard.judge(0, torch.tensor(loss), torch.tensor(1.0))
        for tensor in tensors:
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor * 3 + 1)
        guard.settle()
        for tensor, old in zip(tensors, before, strict=True):
            assert torch.equal(tensor, old) is not kept
    assert torch.signbit(tensors[0][1])


# Under fp16


def test_infinite_gradients_are_skipped_under_loss_scaling_and_training_goes_on():
    training = Training(skips=True).step(0)
    before = bits(training.state())
    training.guard.hold(training.tensors())
    training.guard.judge(1, torch.tensor(1.0), torch.tensor(float("inf")))
    for parameter in training.network.parameters():
        parameter.data.fill_(float("nan"))
    training.guard.settle()
    assert bits(training.state()) == before
    training.step(2)
    assert bits(training.state()) != before
    assert first_breakdown([training.guard.read()]) is None


def test_gradients_that_stay_infinite_end_the_run():
    guard, finite, infinite = StepGuard(CPU, skips=True), torch.tensor(1.0), torch.tensor(float("inf"))
    for number in range(MOST_SKIPPED - 1):
        guard.judge(number, finite, infinite)
    guard.judge(MOST_SKIPPED - 1, finite, finite)  # which begins the count anew
    for number in range(MOST_SKIPPED, 2 * MOST_SKIPPED - 1):
        guard.judge(number, finite, infinite)
    assert first_breakdown([guard.read()]) is None
    guard.judge(2 * MOST_SKIPPED - 1, finite, infinite)
    breakdown = first_breakdown([guard.read()])
    assert breakdown.step == 2 * MOST_SKIPPED - 1
    assert f"not finite in {MOST_SKIPPED} steps in a row" in breakdown.cause


def test_a_loss_that_is_not_finite_ends_the_run_under_loss_scaling_too():
    guard = StepGuard(CPU, skips=True)
    guard.judge(5, torch.tensor(float("nan")), torch.tensor(1.0))
    assert first_breakdown([guard.read()]).step == 5


def test_fp16_that_overflows_at_every_step_ends_with_an_error(recipe, tmp_path):
    parts = prepare(recipe({"epochs": 20, "normalize": "none"}), device="cpu")
    parts.accelerator.scaler = torch.amp.GradScaler("cpu")  # as on a GPU
    parts.network.conv1.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = copy.deepcopy(parts.network.state_dict())
    # 6 steps an epoch; what went wrong in the fortieth is read at the end of its epoch.
    with pytest.raises(TrainingError, match=rf"epoch 6, step 3, .* in {MOST_SKIPPED} steps in a row.*--resume"):
        Trainer(parts, RunFolder(tmp_path), Reporter()).run()
    assert parts.accelerator.scaler.get_scale() == 2.0 ** (16 - 42)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parts.network.state_dict().items())


def test_fp16_that_overflows_now_and_then_learns(recipe, tmp_path):
    parts = prepare(recipe({"epochs": 3, "ema_decay": 0.5}), device="cpu")
    parts.accelerator.scaler = torch.amp.GradScaler("cpu")
    overflows = iter([True, False, False, True, True] + [False] * 100)
    parts.network.conv1.weight.register_hook(lambda gradient: gradient * float("inf" if next(overflows) else 1))
    result = Trainer(parts, RunFolder(tmp_path), Reporter()).run()
    assert parts.accelerator.scaler.get_scale() == 2.0**13
    assert result.test["last"].top1 > 0.9


# Among processes


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([[-1, -1, -1], [-1, -1, -1]], None),
        ([[-1, 7, -1], [4, 4, -1]], (4, "the loss is not finite")),
        ([[-1, 3, -1], [-1, 9, -1]], (3, "the gradient norm is not finite")),
        ([[5, 5, -1]], (5, "the loss is not finite")),
    ],
)
def test_the_first_of_all_processes_that_went_wrong_is_named(readings, expected):
    found = first_breakdown(readings)
    assert (found and (found.step, found.cause)) == expected


# Where steps may be left out


def test_with_a_limit_a_step_that_is_not_finite_is_as_if_it_had_not_been():
    plain, spoiled = Training(), Training()
    spoiled.guard = StepGuard(CPU, limit=2)
    for number in range(4):
        plain.step(number)
        spoiled.step(number)
        if number in (1, 2):
            spoiled.step(10 + number, spoil=spoilt)
    assert bits(plain.state()) == bits(spoiled.state())
    assert spoiled.guard.skipped == 2
    assert first_breakdown([spoiled.guard.read()]) is None
    after = spoiled.step(4).state()
    spoiled.step(5, spoil=spoilt)
    assert "more steps than nonfinite_limit" in first_breakdown([spoiled.guard.read()]).cause
    assert bits(spoiled.step(6).state()) == bits(after)


@pytest.fixture
def spoilt_steps(monkeypatch):
    """``spoilt_steps({(epoch, step)})``: the loss of these is not a number."""

    def spoil(moments):
        pipeline, steps = trainer.InputPipeline.__call__, collections.Counter()

        def spoiled(self, batch, stage, view, epoch):
            images, targets = pipeline(self, batch, stage, view, epoch)
            steps[epoch] += 1
            return (images * float("nan") if (epoch, steps[epoch] - 1) in moments else images), targets

        monkeypatch.setattr(trainer.InputPipeline, "__call__", spoiled)

    return spoil


def test_a_run_that_skips_goes_on_counts_and_keeps_its_figures_finite(recipe, tmp_path, spoilt_steps):
    spoilt_steps({(0, 1), (1, 5)})
    parts = prepare(recipe({"epochs": 3, "ema_decay": 0.9, "on_nonfinite": "skip"}), device="cpu")
    result = Trainer(parts, RunFolder(tmp_path), Reporter()).run()
    assert [line["skipped_steps"] for line in result.metrics] == [1, 2, 2]
    assert all(0 < line["train_loss"] < 5 for line in result.metrics)
    assert result.test["last"].top1 > 0.9


def test_a_run_ends_where_more_steps_are_not_finite_than_the_limit(recipe, tmp_path, spoilt_steps):
    spoilt_steps({(0, 1), (1, 2), (1, 4)})
    parts = prepare(recipe({"on_nonfinite": "skip", "nonfinite_limit": 2}), device="cpu")
    with pytest.raises(TrainingError, match=r"epoch 1, step 4, .*more steps than nonfinite_limit"):
        Trainer(parts, RunFolder(tmp_path), Reporter()).run()
