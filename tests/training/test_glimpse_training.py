"""Whole trainings of networks that learn where to look: what the engine tells of them, and what it refuses."""

import json
import math

import pytest
import torch
from torch import nn

from curriculum_zoo.curricula import Stage
from curriculum_zoo.errors import RecipeError
from curriculum_zoo.registry import register_model
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training import run_files
from curriculum_zoo.training.glimpse_rule import GlimpseRule
from curriculum_zoo.training.objectives import CrossEntropy
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Lines, Reporter
from curriculum_zoo.training.trainer import Trainer

STAGES = "gradual_levels(levels=2,first=1)"


@pytest.fixture
def glimpses(recipe):
    """``glimpses(settings)``: 2 epochs of M1 on images of 28 px, first with 1 level and then with 2."""

    def make(settings=None):
        base = {"model": "glimpse_pyramid_m1", "image_size": 28, "curriculum": STAGES, "glimpses": {}}
        learning = {"optimizer.name": "adam", "optimizer.lr": 0.01, "optimizer.layer_lr_scale": {"location": 0.1}}
        return recipe({**base, **learning, **(settings or {})})

    return make


class Steps(Reporter):
    """Keeps what the objective remembers after every step."""

    def __init__(self):
        self.objective = None
        self.seen = []

    def step(self, images, seconds, figures):
        self.seen.append(dict(self.objective.baselines))


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """``trainer(recipe)``: one that has not run yet, with a reporter that keeps its baselines."""

    monkeypatch.setattr(run_files, "draw_curves", lambda metrics, path, title: None)

    def make(recipe):
        prepared, steps = prepare(recipe, device="cpu"), Steps()
        steps.objective = prepared.objective
        return Trainer(prepared, RunFolder(tmp_path), steps), steps

    return make


# What the log says


@pytest.mark.parametrize("baseline", ["moving", "samples"])
def test_lines_tell_what_was_attended_and_what_it_cost(glimpses, train, baseline):
    learning = {"glimpses.locations": 3.0, "glimpses.samples": 2, "glimpses.baseline": baseline}
    wanted = glimpses({"curriculum": STAGES, **learning})
    result = train(wanted)
    base, glimpsed = result.metrics
    assert "attended" not in base
    assert base["log_likelihood_1"] == pytest.approx(-base["train_loss"])
    assert 0 < glimpsed["attended"] == pytest.approx(glimpsed["crops_2"])
    assert abs(glimpsed["attended"] - glimpsed["attended_expected"]) < 0.3
    assert glimpsed["attended_target"] == 3.0
    assert glimpsed["merged_1"] <= 1
    assert math.isfinite(glimpsed["baseline"])
    # 288 training images in 6 steps of 48; FLOPs by the table, of base and crops, and their gradients.
    cost = prepare(wanted, device="cpu").cost
    assert base["flops"] == 288 * cost.of(
        Stage(name="1 level", image_size=0.5, view=lambda x: x[..., ::2, ::2], levels=1)
    )
    spent = glimpsed["flops"] - base["flops"]
    crop, per_image = 3 * 112896, cost.of(Stage(name="2 levels", levels=2))
    merging = 6 * (36864 + 8192)
    assert spent == pytest.approx(
        288 * (per_image + 2 * (4 * crop * glimpsed["crops_2"] + merging * glimpsed["merged_1"]))
    )
    assert glimpsed["full_flops"] == 2 * 288 * cost.full()
    assert result.relative_flops < 1


def test_accuracy_counts_every_sample_of_every_image(glimpses, train, monkeypatch):
    right, rows, call = 0, 0, GlimpseRule.__call__

    def keep(self, model, images, targets, stage):
        nonlocal right, rows
        outcome = call(self, model, images, targets, stage)
        if len(images) == 48:  # not the two that FLOPs are counted with
            for sample in outcome.logits.split(48):
                right += int((sample.argmax(1) == targets).sum())
                rows += 48
        return outcome

    monkeypatch.setattr(GlimpseRule, "__call__", keep)
    result = train(glimpses({"glimpses.samples": 3, "epochs": 1, "curriculum": "baseline"}))
    assert rows == 3 * 288
    assert result.metrics[0]["train_accuracy"] == pytest.approx(right / rows)


def test_line_of_progress_tells_the_attended_locations(capsys):
    line = {"epoch": 0, "stage": "2 levels", "image_size": 28, "train_loss": 0.5, "train_accuracy": 0.8, "seconds": 9.0}
    line |= {"validation_loss": None, "images_per_second": 1234.5, "attended": 2.126, "attended_target": 2.0}
    Lines().end_epoch(line)
    assert "80.00%, attended 2.13 of 2, 1,234 images/s" in capsys.readouterr().out


# What it remembers


def test_baseline_moves_once_a_batch_by_the_mean_of_its_parts(glimpses, trainer, monkeypatch):
    batches = []
    call = GlimpseRule.__call__

    def keep(self, *args):
        outcome = call(self, *args)
        batches.append({name: value.item() for name, value in outcome.figures.items()})
        return outcome

    ready, steps = trainer(
        glimpses({"curriculum": "baseline", "epochs": 1, "accumulation": 2, "glimpses.baseline": "moving"})
    )
    monkeypatch.setattr(GlimpseRule, "__call__", keep)
    ready.run()
    assert len(batches) == 12
    assert len(steps.seen) == 6
    expected = None
    for number, seen in enumerate(steps.seen):
        parts = batches[2 * number : 2 * number + 2]
        mean = sum(part["log_likelihood_2"] for part in parts) / 2
        if expected is not None:
            assert [part["baseline"] for part in parts] == pytest.approx([expected] * 2)
        expected = mean if expected is None else 0.9 * expected + 0.1 * mean
        assert seen == {2: pytest.approx(expected)}


def test_baseline_is_part_of_the_checkpoint(glimpses, trainer, tmp_path):
    ready, steps = trainer(glimpses())
    ready.run()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["objective"] == {"baselines": steps.seen[-1]}
    assert set(steps.seen[-1]) == {1, 2}
    again, _ = trainer(glimpses())
    again.restore(state)
    assert again.parts.objective.baselines == steps.seen[-1]


def test_validation_draws_the_same_glimpses_whatever_was_drawn_before(glimpses, trainer):
    ready, _ = trainer(glimpses({"curriculum": "baseline"}))
    scores = []
    for _ in range(2):
        torch.rand(5)
        scores.append(ready._score(ready.parts.network, ready.parts.loaders.test()))
    assert scores[0] == scores[1]


# What it combines with, and what it refuses


@pytest.mark.parametrize(
    "settings",
    [
        {"label_smoothing": 0.1, "mixing.mixup": 0.4, "mixing.cutmix": 1.0},
        {"precision": "bf16", "ema_decay": 0.9, "optimizer.clip_norm": 1.0},
        {"curriculum": "gradual_levels(levels=2,level_weights=(1,1))+progressive_sharpening(kernels=(3,1))"},
        {"curriculum": "gradual_levels(levels=2,first=1,fresh_optimizer=true)", "channels_last": False},
    ],
    ids=["soft targets", "bf16", "multi-level", "sessions"],
)
def test_it_trains_with_whatever_else_a_recipe_has(glimpses, train, settings):
    result = train(glimpses(settings))
    assert math.isfinite(result.metrics[-1]["train_loss"])
    assert result.metrics[-1]["attended"] > 0
    weighted = "level_weights" in settings.get("curriculum", "")
    assert ("log_likelihood_1" in result.metrics[-1]) is weighted


def test_recipe_with_its_weights_survives_json(glimpses, tmp_path):
    wanted = glimpses({"glimpses": {"locations": [2, 6], "lambda_f": 1e-6, "lambda_t": 1e-7, "lambda_r": 1e-7}})
    wanted.save(tmp_path / "recipe.json")
    assert type(wanted).load(tmp_path / "recipe.json") == wanted
    assert json.loads((tmp_path / "recipe.json").read_text())["glimpses"]["locations"] == [2.0, 6.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "simple_cnn", "curriculum": "baseline"},
            "glimpses says how a network learns.*simple_cnn looks at whole",
        ),
        ({"model": "simple_cnn", "glimpses": None}, "plans 2 processing levels, and simple_cnn has none"),
        (
            {"curriculum": "gradual_levels"},
            r"'2 levels' plans 2 processing levels on 14x14 px.*glimpse_pyramid_m1 has 1",
        ),
        ({"glimpses": None}, r"has to learn where to look in stage '2 levels'.*Set glimpses"),
        ({"glimpses": None, "curriculum": "baseline"}, r"where to look in stage 'full'.*glimpses=\{\}"),
        ({"glimpses.samples": 0}, "glimpses.samples must be at least 1, got 0"),
        ({"glimpses": {"lambda_x": 1}}, "glimpses.lambda_x is no field of it"),
        ({"glimpses": {"locations": [2, -1]}}, "glimpses.locations must be above 0, got -1"),
    ],
)
def test_what_does_not_fit_together_is_told_before_training(glimpses, settings, message):
    with pytest.raises(RecipeError, match=message):
        prepare(glimpses(settings), device="cpu")


def test_base_resolution_alone_is_plain_cross_entropy_with_and_without_the_rule(glimpses, train):
    sessions = [
        train(glimpses({"image_size": 14, "curriculum": "baseline", "epochs": 1, "glimpses": learning}), name)
        for name, learning in (("plain", None), ("rule", {"samples": 1, "baseline": "moving"}))
    ]
    losses = [run.metrics[0]["train_loss"] for run in sessions]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.usefixtures("clean_registry")
def test_weights_of_levels_need_a_network_that_chooses(recipe):
    @register_model
    def levelled_net(pretrained=False, num_classes=4, in_chans=3, **_):
        class Levelled(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(in_chans, num_classes)

            def levels_for(self, height, width):
                return 2

            def forward(self, images, levels=None):
                return self.head(images.mean((2, 3)))

        return Levelled()

    wanted = recipe(model="levelled_net", curriculum="gradual_levels(levels=2)")
    assert isinstance(prepare(wanted, device="cpu").objective, CrossEntropy)
    with pytest.raises(RecipeError, match="weighs the losses of 2 processing levels, which plain cross entropy"):
        prepare(wanted.changed({"curriculum": "gradual_levels(levels=2,level_weights=(1,1))"}), device="cpu")
