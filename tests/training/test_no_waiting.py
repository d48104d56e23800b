"""The step neither waits for the device nor copies to the host, and needs no double precision there."""

import contextlib

import pytest
import torch
from pretend_device import DEVICE, DeviceTensor, PretendDevice, move, unwatched

from curriculum_zoo.training.epoch_totals import EpochTotals
from curriculum_zoo.training.input_pipeline import InputPipeline
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.train_step import TrainStep

RECIPES = {
    "plain": {"model": "timm/test_resnet", "augmentation.flip": True, "augmentation.crop_padding": 2},
    "adam, clipping, average": {"optimizer.name": "adamw", "optimizer.clip_norm": 0.1, "ema_decay": 0.9},
    "accumulation, smoothing": {"accumulation": 3, "label_smoothing": 0.1, "optimizer.layer_lr_scale": {"conv1": 0.1}},
    "mixing": {"mixing.mixup": 0.4, "mixing.cutmix": 1.0},
    "augmentation, low frequencies": {"curriculum": "low_frequency(sizes=(0.5,1.0))", "epochs": 6},
    "edges, frozen parts": {"curriculum": "hrt(edge_epochs=1,freeze=conv2)"},
    "reduced shares": {"curriculum": "trd(variant=batch)"},
    "blur, replay": {"curriculum": "progressive_sharpening(kernels=(5,3,1),replay=0.3)", "epochs": 3},
    "glimpses": {
        "model": "glimpse_pyramid_m1",
        "image_size": 28,
        "curriculum": "gradual_levels(levels=2,level_weights=(1,1))",
        "glimpses": {"samples": 2, "baseline": "moving"},
    },
}


def take(parts):
    """Take what a run computes with to the device."""
    move(parts.network)
    if parts.average is not None:
        move(parts.average.module)
    normalize = parts.normalize
    normalize._scale, normalize._shift = normalize._scale.to(DEVICE), normalize._shift.to(DEVICE)
    parts.loaders.close()
    parts.loaders.factory.device = DEVICE


def steps(parts, count=3):
    """Make the first steps of the first epoch; the step and its totals."""
    stage, totals = parts.curriculum.stage(0), EpochTotals()
    pipeline, step = InputPipeline(parts.recipe, parts.normalize, parts.num_classes), TrainStep(parts)
    parts.network.train()
    with stage.at_full_size(parts.image_size).applied_to(parts.network) as view:
        for number, batch in zip(range(count), parts.loaders.training(stage).batches(0), strict=False):
            torch.manual_seed(number)
            step(*pipeline(batch, stage, view, 0), batch, stage, number, totals)
    return step, totals


def counted(totals):
    """Totals without what a clock measured."""
    return {name: value for name, value in totals.to_dict().items() if "seconds" not in name}


@pytest.fixture
def on_device(monkeypatch):
    """``on_device(recipe)``: the parts of a run whose network is to compute on the device that can be watched."""

    def make(recipe):
        parts = prepare(recipe, device="cpu")
        monkeypatch.setattr(type(parts.accelerator), "device", DEVICE)
        return parts

    return make


def chooses(network):
    """While a network that computes by choice runs, the host must know how much was chosen."""
    for hook, leave in ((network.register_forward_pre_hook, False), (network.register_forward_hook, True)):
        hook(lambda *_, leave=leave: setattr(DeviceTensor, "watched", leave))


@pytest.mark.parametrize("name", RECIPES)
def test_neither_loading_nor_the_step_waits_for_the_device_or_needs_double_precision(recipe, on_device, name):
    wanted = recipe(RECIPES[name])
    alone = prepare(wanted, device="cpu")
    _, expected = steps(alone)
    parts = on_device(wanted)
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, DeviceTensor, "watched", True)
        stack.enter_context(PretendDevice())
        if name == "glimpses":
            chooses(parts.network)
        take(parts)
        _, totals = steps(parts)
        assert DeviceTensor.waits == []
        with unwatched():
            told = counted(totals)
    # It really was computed there, and as ever.
    assert told == counted(expected)
    for parameter, other in zip(parts.network.parameters(), alone.network.parameters(), strict=True):
        assert isinstance(parameter, DeviceTensor)
        assert torch.equal(parameter.inner, other)


def test_reading_waits_once_for_all_that_happened_since(recipe, on_device):
    parts = on_device(recipe())
    with PretendDevice():
        take(parts)
        step, totals = steps(parts)
        totals.read()
        assert DeviceTensor.waits == ["tolist"]
        step.guard.read()
        assert DeviceTensor.waits == ["tolist"] * 2


@pytest.mark.parametrize(
    ("act", "noted"),
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "cpu"),
        (lambda x: x.to("cpu"), "to"),
        (lambda x: torch.zeros(3).copy_(x), "a copy to the host"),
        (lambda x: bool(x.sum() > 1), "_local_scalar_dense"),
        (lambda x: x[x > 0], "index by a mask"),
        (lambda x: x.nonzero(), "nonzero"),
    ],
)
def test_the_device_notes_what_makes_the_host_wait(act, noted):
    with PretendDevice():
        act(torch.ones(3).to(DEVICE))
        assert DeviceTensor.waits == [noted]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda x: x.double(), "no double precision"),
        (lambda x: torch.zeros(3, dtype=torch.float64, device=x.device), "no double precision"),
        (lambda x: x + torch.ones(3), "on the same device"),
    ],
)
def test_the_device_refuses_what_devices_refuse(act, error):
    with PretendDevice(), pytest.raises((TypeError, RuntimeError), match=error):
        act(torch.ones(3).to(DEVICE))
