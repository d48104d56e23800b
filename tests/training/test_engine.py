"""Whole trainings: what they learn, what they leave in their folder, what they cost, and where they stop."""

import copy
import gc
import json
import math
import weakref
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from curriculum_zoo.curricula import Curriculum, Stage
from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import CheckpointError, TrainingError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.metrics import collect, score
from curriculum_zoo.models import create_model
from curriculum_zoo.recipes.schedule import share_of_peak
from curriculum_zoo.registry import register_curriculum, register_model
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.training.trainer import Trainer
from curriculum_zoo.weights.folder import open_folder


def weights(folder, which="last"):
    return load_file(folder / which / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Watch(Reporter):
    """Copies a network's state before training, after every step and after every epoch."""

    def __init__(self, network):
        self.network = network
        self.before = self.state()
        self.steps = []
        self.epochs = []

    def state(self):
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def step(self, images, seconds, figures):
        self.steps.append(self.state())

    def end_epoch(self, line):
        self.epochs.append(self.state())


@pytest.fixture
def watched(tmp_path):
    """``watched(recipe)``: a trainer that has not run yet, and what watches it."""

    def make(recipe):
        prepared = prepare(recipe, device="cpu")
        watch = Watch(prepared.network)
        return Trainer(prepared, RunFolder(tmp_path), watch), watch

    return make


# What a run gives


def test_a_run_learns_and_leaves_everything_in_its_folder(finished_run):
    files = {str(path.relative_to(finished_run)) for path in finished_run.rglob("*") if path.is_file()}
    kept = {f"{which}/{file}" for which in ("last", "best") for file in ("model.safetensors", "config.json")}
    assert files == kept | {
        "recipe.json",
        "environment.json",
        "metrics.jsonl",
        "results.json",
        "curves.png",
        "checkpoint.pt",
        "run.lock",
    }
    results = json.loads((finished_run / "results.json").read_text())
    assert results["test"]["last"]["top1"] > 0.9
    assert results["test"]["last"]["images"] == 80
    environment = json.loads((finished_run / "environment.json").read_text())
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert environment["data"]["train_images"] == 320
    assert environment["data"]["classes"] == ["top left", "top right", "bottom left", "bottom right"]


def test_metrics_have_a_line_an_epoch_that_adds_up(finished_run):
    lines = RunFolder(finished_run).metrics()
    results = json.loads((finished_run / "results.json").read_text())
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert all(value is None or math.isfinite(value) for value in line.values() if not isinstance(value, str))
        assert line["images_per_second"] > 0
        assert line["peak_memory_bytes"] > 1e7
        assert 0 <= line["overhead"] < 1
    for quantity in ("flops", "full_flops", "seconds"):
        totals = [line[quantity] for line in lines]
        assert totals == sorted(set(totals))
    assert results["flops"] == lines[-1]["flops"]
    assert results["relative_flops"] == lines[-1]["flops"] / lines[-1]["full_flops"]
    best = max(range(3), key=lambda epoch: lines[epoch]["validation_accuracy"])
    config = json.loads((finished_run / "best" / "config.json").read_text())
    assert results["best_epoch"] == best == config["curriculum_zoo"]["epoch"]


def test_test_figures_are_those_of_the_saved_weights(finished_run, quadrants):
    results = json.loads((finished_run / "results.json").read_text())
    for which in ("last", "best"):
        [measured] = evaluate(finished_run, f"npz:{quadrants}", which=which, device="cpu")
        assert results["test"][which]["loss"] == pytest.approx(measured.scores.loss, rel=1e-5)
        assert results["test"][which]["top1"] == measured.scores.top1


@pytest.mark.parametrize(
    "settings", [{}, {"ema_decay": 0.5}, {"calibrate_batchnorm": 1}, {"precision": "bf16", "image_size": 32}]
)
def test_validation_figures_are_those_of_the_saved_weights(recipe, train, settings):
    wanted = recipe({"model": "timm/test_resnet", "epochs": 1, "validation": 0.25, **settings})
    result = train(wanted)
    prepared = prepare(wanted, device="cpu")
    config = open_folder(result.folder / "last").config
    network = create_model(f"local-dir:{result.folder / 'last'}", pretrained=True).eval()
    mean, std = (torch.tensor(config["pretrained_cfg"][key]).view(-1, 1, 1) for key in ("mean", "std"))
    images = prepared.data_set.train_images[prepared.validation_indices]
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    labels = torch.from_numpy(prepared.data_set.train_labels[prepared.validation_indices])
    scores = score(*collect(network, [(pixels, labels)], device=torch.device("cpu"), precision=wanted.precision))
    assert scores.images == 80
    assert result.metrics[0]["validation_loss"] == pytest.approx(scores.loss, rel=1e-4 if not settings else 1e-2)
    assert result.metrics[0]["validation_accuracy"] == pytest.approx(scores.top1, abs=1.01 / 80)


def test_same_recipe_gives_the_same_weights_and_another_seed_gives_others(recipe, train):
    wanted = recipe({"augmentation.flip": True, "augmentation.crop_padding": 2, "mixing.mixup": 0.3})
    first, again, other = (
        weights(train(wanted.changed({"seed": seed}), str(number)).folder) for number, seed in enumerate((5, 5, 6))
    )
    assert same(first, again)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_held_out_and_test_images_leave_no_trace_in_the_weights(recipe, train, quadrants, tmp_path):
    wanted = recipe(validation=0.2)
    honest = train(wanted, "honest")
    arrays = dict(np.load(quadrants))
    _, held_out = open_dataset(wanted.data).split(wanted.validation, seed=wanted.data_seed)
    arrays["x_train"][held_out] = 255
    arrays["x_test"][:] = 0
    np.savez(tmp_path / "spoilt.npz", **arrays)
    spoilt = train(wanted.changed({"data": f"npz:{tmp_path / 'spoilt.npz'}"}), "spoilt")
    assert same(weights(honest.folder), weights(spoilt.folder))
    for key in ("train_loss", "train_accuracy"):
        assert honest.metrics[-1][key] == spoilt.metrics[-1][key]
    assert spoilt.metrics[-1]["validation_accuracy"] == 0.25


def test_without_validation_the_last_epoch_is_the_best(recipe, train):
    result = train(recipe(validation=0.0))
    assert result.metrics[0]["validation_loss"] is None
    assert result.best_epoch == 1
    assert same(weights(result.folder, "best"), weights(result.folder, "last"))


@pytest.mark.parametrize(("best", "epoch"), [("accuracy", 1), ("loss", 2)])
def test_best_epoch_goes_by_what_the_recipe_says(recipe, watched, best, epoch):
    trainer, _ = watched(recipe(best=best))
    figures = [(0.5, 0.9), (0.8, 0.7), (0.7, 0.6), (0.8, 0.8)]
    trainer.metrics = [{"validation_accuracy": accuracy, "validation_loss": loss} for accuracy, loss in figures]
    assert trainer.best_epoch == epoch


# How weights move


def test_accumulated_parts_give_the_gradients_of_the_whole_batch(recipe, train):
    whole, parts = (weights(train(recipe(accumulation=n), str(n)).folder) for n in (1, 4))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-5)


def test_saved_weights_are_the_moving_average(recipe, watched):
    trainer, watch = watched(recipe(ema_decay=0.8))
    result = trainer.run()
    expected = watch.before
    for state in watch.steps:
        expected = {name: 0.8 * expected[name] + 0.2 * state[name] for name in expected}
    saved = weights(result.folder)
    for name in expected:
        torch.testing.assert_close(saved[name], expected[name], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(saved["fc2.weight"], watch.steps[-1]["fc2.weight"], rtol=1e-3)


def test_calibration_changes_running_statistics_alone(recipe, train):
    plain, calibrated = (
        weights(train(recipe(model="timm/test_resnet", epochs=1, calibrate_batchnorm=n), str(n)).folder) for n in (0, 2)
    )
    changed = {name.rpartition(".")[2] for name in plain if not torch.equal(plain[name], calibrated[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
    # 288 training images make one batch of 256.
    assert calibrated["bn1.num_batches_tracked"] == 1


def test_frozen_parts_stand_still_until_their_stage_ends(recipe, watched):
    settings = {"optimizer.name": "adamw", "optimizer.lr": 0.01, "optimizer.weight_decay": 0.1}
    trainer, watch = watched(recipe(settings, curriculum="hrt(edge_epochs=1,freeze=conv2)"))
    trainer.run()
    before, edges, full = watch.before, *watch.epochs
    for name in before:
        assert torch.equal(before[name], edges[name]) == name.startswith("conv2."), name
        assert not torch.equal(edges[name], full[name]), name


@pytest.mark.parametrize("fresh", [True, False])
def test_optimizer_is_made_anew_where_the_stage_says_so(recipe, watched, fresh):
    curriculum = f"hrt(edge_epochs=1,freeze=none,fresh_optimizer={str(fresh).lower()})"
    trainer, watch = watched(recipe({"optimizer.name": "adam"}, curriculum=curriculum))
    counts = []

    def look(epoch, stage, steps, step):
        counts.append({int(state["step"]) for state in trainer.train_step.optimizer.state.values()})

    watch.start_epoch = look
    trainer.run()
    assert counts == [set(), set() if fresh else {6}]


def test_an_optimizer_that_was_replaced_takes_no_memory_any_more(recipe, watched):
    trainer, watch = watched(recipe({"optimizer.name": "adam"}, curriculum="hrt(edge_epochs=1,freeze=none)"))
    first = weakref.ref(trainer.train_step.optimizer)
    moments = []
    watch.end_epoch = lambda line: moments.extend(
        weakref.ref(state["exp_avg"]) for state in trainer.train_step.optimizer.state.values()
    )
    trainer.run()
    gc.collect()
    assert first() is None
    assert len(moments) == 16
    assert [moment() is None for moment in moments] == [True] * 8 + [False] * 8


def test_learning_rate_is_the_schedules_at_the_last_step(recipe, train):
    wanted = recipe({"schedule.name": "cosine", "schedule.warmup": 0.1, "epochs": 3})
    rates = [line["lr"] for line in train(wanted).metrics]
    expected = [0.05 * share_of_peak(wanted.schedule, (epoch + 5 / 6) / 3) for epoch in range(3)]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_gradients_are_clipped_to_the_norm_that_was_asked_for(recipe, watched):
    settings = {"optimizer.name": "momentum", "optimizer.momentum": 0.0, "optimizer.weight_decay": 0.0}
    settings |= {"optimizer.clip_norm": 0.01, "schedule.name": "constant", "schedule.warmup": 0.0}
    trainer, watch = watched(recipe(settings, epochs=1))
    trainer.run()
    moves = [
        math.sqrt(sum((after[name] - before[name]).square().sum().item() for name in before))
        for before, after in zip([watch.before, *watch.steps], watch.steps, strict=False)
    ]
    assert max(moves) == pytest.approx(0.05 * 0.01, rel=1e-3)


def test_bf16_learns_and_keeps_its_weights_in_fp32(recipe, train):
    result = train(recipe({"precision": "bf16", "optimizer.lr": 0.1}, epochs=3))
    assert result.test["last"].top1 > 0.9
    assert {tensor.dtype for tensor in weights(result.folder).values()} == {torch.float32}


# What it costs


def convolution(pixels, channels, filters):
    return 2 * pixels * 9 * channels * filters


def simple_cnn_flops(side, *, frozen=""):
    """FLOPs of one training image, by hand: each layer forward, its weights' gradient, its input's gradient.

    The first layer's input needs no gradient, nor does that of whatever lies before the first part that learns.
    """
    layers = {
        "conv1": convolution(side**2, 3, 32),
        "conv2": convolution((side // 2) ** 2, 32, 64),
        "fc1": 2 * 64 * 4 * 4 * 128,
        "fc2": 2 * 128 * 4,
    }
    total, reached = 0, False
    for name, flops in layers.items():
        total += flops + (flops if name != frozen else 0) + (flops if reached else 0)
        reached = reached or name != frozen
    return total


def test_flops_are_what_a_hand_count_gives(recipe, train):
    result = train(recipe(curriculum="hrt(edge_epochs=1,freeze=conv1)"))
    full, edges = simple_cnn_flops(16), simple_cnn_flops(16, frozen="conv1")
    assert edges < full
    assert [line["flops"] for line in result.metrics] == [288 * edges, 288 * (edges + full)]
    assert result.flops == 288 * (edges + full)
    assert result.relative_flops == pytest.approx((edges + full) / (2 * full))


def test_flops_follow_the_resolution_of_the_stage(recipe, train):
    result = train(recipe(curriculum="trd(resolution=8,participation=1.0)", epochs=1))
    assert result.metrics[0]["image_size"] == 8
    assert result.flops == 288 * simple_cnn_flops(8)


# Networks from elsewhere


@pytest.mark.parametrize("model", ["timm/test_resnet.r160_in1k", "timm/test_vit"])
def test_a_network_of_timms_trains_and_its_run_loads_back(recipe, train, quadrants, model):
    result = train(recipe({"model": model, "optimizer.name": "adamw", "optimizer.lr": 0.002}))
    assert result.test["last"].top1 > 0.5
    [measured] = evaluate(result.folder, f"npz:{quadrants}", which="last", device="cpu")
    assert measured.scores.loss == pytest.approx(result.test["last"].loss, rel=1e-4)


def test_a_run_starts_from_the_weights_of_another(recipe, train, finished_run, quadrants):
    settings = {"model": f"local-dir:{finished_run / 'best'}", "pretrained": True, "epochs": 1, "normalize": "model"}
    result = train(recipe({**settings, "optimizer.lr": 1e-9}))
    started, ended = weights(finished_run, "best"), weights(result.folder)
    for name in started:
        torch.testing.assert_close(ended[name], started[name], rtol=1e-4, atol=1e-6)
    [measured] = evaluate(result.folder, f"npz:{quadrants}", device="cpu")
    assert measured.scores.top1 > 0.9


@pytest.mark.usefixtures("clean_registry")
def test_a_plain_module_that_was_just_registered_trains_and_loads_back(recipe, train, quadrants):
    @register_model
    def plain_net(pretrained=False, num_classes=10, width=8):
        layers = [nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(4 * width, num_classes))

    result = train(recipe({"model": "plain_net", "model_options": {"width": 16}, "epochs": 3}))
    assert result.test["last"].top1 > 0.5
    [measured] = evaluate(result.folder, f"npz:{quadrants}", which="last", device="cpu")
    assert measured.scores.top1 == result.test["last"].top1


# Where it stops


@dataclass(frozen=True)
class Spoil:
    """Leaves the first batches as they are; then spoils them."""

    error: Exception | None = None

    def __call__(self, images):
        if self.error and len(images) > 2:
            raise copy.copy(self.error)
        return images * math.nan


def spoilt_second_epoch(error=None):
    @register_curriculum
    @dataclass(frozen=True, kw_only=True)
    class Spoilt(Curriculum):
        def _stage(self, epoch):
            return Stage(name="spoilt", view=Spoil(error)) if epoch else Stage(name="whole")

    return "Spoilt"


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("settings", "where", "good"),
    [
        ({"optimizer.lr": 1e30}, r"epoch 0, step 1, stage 'full'", 1),
        ({"curriculum": "Spoilt"}, r"epoch 1, step 0, stage 'spoilt'", 6),
        (
            {"curriculum": "Spoilt", "ema_decay": 0.9, "model": "timm/test_resnet"},
            r"epoch 1, step 0, stage 'spoilt'",
            6,
        ),
    ],
)
def test_numbers_that_are_not_finite_stop_before_the_step_that_would_spoil_the_weights(
    recipe, watched, settings, where, good
):
    spoilt_second_epoch()
    trainer, watch = watched(recipe({"schedule.name": "constant", "schedule.warmup": 0.0, **settings}))
    with pytest.raises(TrainingError, match=f"{where}: .* not finite.*optimizer.clip_norm"):
        trainer.run()
    assert len(watch.steps) > good
    assert same(watch.state(), watch.steps[good - 1])
    assert all(tensor.isfinite().all() for tensor in watch.state().values())
    if trainer.parts.average is not None:
        assert all(tensor.isfinite().all() for tensor in trainer.parts.average.module.state_dict().values())


@pytest.mark.usefixtures("clean_registry")
def test_exhausted_memory_names_batch_and_resolution(recipe, train):
    curriculum = spoilt_second_epoch(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainingError, match=r"epoch 1, step 0, .* 48 images of 16 px\. Lower batch_size"):
        train(recipe(curriculum=curriculum))


def test_a_folder_that_holds_a_run_is_not_overwritten(recipe, train):
    result = train(recipe(epochs=1))
    before = (result.folder / "results.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"holds a run already.*--resume"):
        train(recipe(epochs=1))
    assert (result.folder / "results.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_named(recipe, train, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/run .*Choose another --output"):
        train(recipe(), "file/run")
