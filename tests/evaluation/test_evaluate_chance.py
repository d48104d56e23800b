"""Evaluations with chance in them, of where to look and of how images are drawn, against plain loops."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo.data import ResidentLoader, open_dataset
from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.evaluation.traversal import cost_range
from curriculum_zoo.reporting import draw_glimpses
from curriculum_zoo.seeding import derive_seed

# Multiply-adds of M1 by the paper's table 3: per crop, per choice, per region with attended cells, per image.
CROP, CHOICE, MERGED, IMAGE = 112_896, 28_224, 36_864 + 8_192, 64 * 4


def batches(data, repeat, *, seed=0, size=56, channels=1):
    """The test images of one repeat, normalised by nobody yet."""
    opened = open_dataset(data, image_size=size, channels=channels)
    loader = ResidentLoader(
        opened.test_images, opened.test_labels, batch_size=32, shuffle=False, seed=seed, render=opened.render
    )
    return loader.batches(repeat)


def by_hand(folder, repeat, *, seed=0, levels=None, attend=None):
    """Accuracy, mean locations and mean FLOPs by torch's own counter, of one evaluation of a pyramid on canvases."""
    trained = load_trained_network(folder, device="cpu")
    right, attended = [], []
    torch.manual_seed(derive_seed(seed, repeat))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for images, labels, *_ in batches("canvases", repeat, seed=seed):
            glimpses = trained.model.glimpse((images - 0.1) / 0.3, levels, attend, every_level=False)
            right += (glimpses.logits[-1].argmax(1) == labels).tolist()
            attended += glimpses.attended().tolist()
    return statistics.fmean(right), statistics.fmean(attended), counter.get_total_flops() / len(right)


def test_repeats_are_the_mean_of_single_evaluations_with_draws_of_their_own(pyramid, canvases):
    [evaluation] = evaluate(pyramid, "canvases", attend="sample", repeats=3, seed=7, batch_size=32, device="cpu")
    runs = [by_hand(pyramid, repeat, seed=7, attend="sample") for repeat in range(3)]
    top1, attended, _ = zip(*runs, strict=True)
    assert len(set(top1)) > 1
    assert evaluation.scores.top1 == pytest.approx(np.mean(top1))
    assert evaluation.top1_std == pytest.approx(np.std(top1, ddof=1))
    assert evaluation.locations == pytest.approx(np.mean(attended))
    assert (evaluation.repeats, evaluation.levels, evaluation.part) == (3, 3, "test")


def test_the_same_seed_gives_the_same_figures_whatever_ran_before(pyramid, canvases):
    def figures(**how):
        torch.rand(int(torch.randint(50, ())))
        [evaluation] = evaluate(pyramid, "canvases", device="cpu", **{"repeats": 2, **how})
        return evaluation

    first = figures()
    figures(seed=1, levels=(2,))
    assert figures() == first
    assert figures(seed=1) != first
    assert figures(repeats=1).scores != first.scores


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_flops_are_those_of_the_regions_that_were_chosen(pyramid, canvases, levels):
    [evaluation] = evaluate(pyramid, "canvases", levels=(levels,), batch_size=32, device="cpu")
    top1, attended, flops = by_hand(pyramid, 0, levels=levels)
    assert evaluation.flops == pytest.approx(flops, abs=1)
    assert evaluation.scores.top1 == pytest.approx(top1)
    assert evaluation.locations == pytest.approx(attended)


@pytest.mark.parametrize(
    ("choose", "attended", "multiply_adds"),
    [
        (lambda p: torch.zeros_like(p), 0, CROP + CHOICE + IMAGE),
        (lambda p: torch.ones_like(p), 90, 91 * CROP + 10 * CHOICE + 10 * MERGED + IMAGE),
        (lambda p: p == p.amax(1, keepdim=True), 2, 3 * CROP + 2 * CHOICE + 2 * MERGED + IMAGE),
    ],
    ids=["nothing", "everything", "the most probable cell"],
)
def test_cost_follows_what_is_attended_by_the_papers_arithmetic(pyramid, canvases, choose, attended, multiply_adds):
    [evaluation] = evaluate(pyramid, "canvases", attend=lambda p, level: choose(p).bool(), device="cpu")
    assert evaluation.locations == attended
    assert evaluation.flops == 2 * multiply_adds


def test_levels_are_evaluated_in_the_order_asked_for_at_each_resolution(pyramid, canvases):
    found = evaluate(pyramid, "canvases", resolutions=(56, 28), levels=(2, 1), attend="top_k", device="cpu")
    assert [(e.resolution, e.levels, e.locations) for e in found] == [(56, 2, 2), (56, 1, 0), (28, 2, 2), (28, 1, 0)]


def test_images_that_are_drawn_anew_are_other_ones_in_each_repeat(finished_run, canvases):
    [evaluation] = evaluate(finished_run, "canvases", repeats=4, device="cpu")
    trained = load_trained_network(finished_run, device="cpu")
    top1 = []
    for repeat in range(4):
        with torch.no_grad():
            hits = [
                trained.model(trained.normalize(images)).argmax(1) == labels
                for images, labels, *_ in batches("canvases", repeat, size=16, channels=3)
            ]
        top1.append(torch.cat(hits).double().mean().item())
    assert len(set(top1)) > 1
    assert evaluation.scores.top1 == pytest.approx(statistics.fmean(top1))
    assert evaluation.top1_std == pytest.approx(statistics.stdev(top1))
    assert evaluation.locations is None


def test_without_chance_repeats_are_all_the_same(finished_run, quadrants):
    [once] = evaluate(finished_run, f"npz:{quadrants}", device="cpu")
    [twice] = evaluate(finished_run, f"npz:{quadrants}", repeats=2, device="cpu")
    assert (once.top1_std, twice.top1_std) == (None, 0)
    assert twice.scores == once.scores
    assert twice.flops == once.flops


def test_validation_images_are_those_that_training_held_out(finished_run, quadrants):
    results = json.loads((finished_run / "results.json").read_text())
    best = json.loads(Path(finished_run / "metrics.jsonl").read_text().splitlines()[results["best_epoch"]])
    [evaluation] = evaluate(finished_run, f"npz:{quadrants}", part="validation", device="cpu")
    assert (evaluation.part, evaluation.scores.images) == ("validation", 32)
    assert evaluation.scores.top1 == pytest.approx(best["validation_accuracy"])
    assert evaluation.scores.loss == pytest.approx(best["validation_loss"], rel=1e-4)


def test_data_is_opened_with_the_seed_that_cut_its_test_images_off_before_training(pyramid, canvases):
    evaluate(pyramid, "canvases", device="cpu", seed=8)
    assert canvases[-1]["seed"] == 3


@pytest.fixture
def seeded(pyramid, tmp_path):
    """``seeded(**seeds)``: the pyramid's weights with other seeds in their recipe."""

    def copy(**seeds):
        folder = tmp_path / "-".join(f"{name}{seed}" for name, seed in seeds.items())
        folder.mkdir()
        config = json.loads((pyramid / "config.json").read_text())
        config["curriculum_zoo"]["recipe"] |= seeds
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").symlink_to(pyramid / "model.safetensors")
        return folder

    return copy


def test_what_was_held_out_depends_on_the_data_seed_alone_where_the_recipe_has_one(seeded, canvases):
    first, second = seeded(seed=3, data_seed=5), seeded(seed=8, data_seed=5)
    old, other = seeded(seed=5), seeded(seed=3)
    found = {}
    for folder in (first, second, old, other):
        [found[folder]] = evaluate(folder, "canvases", part="validation", attend="top_k", device="cpu")
    assert [options["seed"] for options in canvases] == [5, 5, 5, 3]
    assert found[first].scores == found[second].scores == found[old].scores != found[other].scores
    draw_glimpses(first, data="canvases", device="cpu")
    assert canvases[-1]["seed"] == 5


def test_nothing_and_everything_attended_bound_what_a_pyramid_takes(pyramid):
    network = load_trained_network(pyramid, device="cpu").model
    assert cost_range(network, torch.zeros(1, 1, 56, 56)) == (
        2 * (CROP + CHOICE + IMAGE),
        2 * (91 * CROP + 10 * CHOICE + 10 * MERGED + IMAGE),
    )


def test_time_is_told_with_what_it_was_taken_on(pyramid, canvases):
    untimed, timed = (evaluate(pyramid, "canvases", timing=timing, device="cpu")[0] for timing in (False, True))
    assert (untimed.milliseconds, untimed.timed_on) == (None, None)
    assert timed.milliseconds > 0
    assert timed.timed_on == f"cpu, {torch.get_num_threads()} thread(s), batches of 256"
    assert timed.scores == untimed.scores
    assert timed.locations == untimed.locations


def test_what_makes_no_sense_is_refused(pyramid, finished_run, quadrants, tmp_path, canvases):
    data = f"npz:{quadrants}"
    with pytest.raises(ModelError, match=r"looks at each image once, as a whole.* Take a glimpse pyramid"):
        evaluate(finished_run, data, levels=(1,), device="cpu")
    with pytest.raises(ModelError, match="looks at each image once"):
        evaluate(finished_run, data, attend="sample", device="cpu")
    with pytest.raises(ModelError, match="levels=4 must be an integer of 1 to 3"):
        evaluate(pyramid, "canvases", levels=(1, 4), device="cpu")
    with pytest.raises(ModelError, match="attend='best' is unknown"):
        evaluate(pyramid, "canvases", attend="best", device="cpu")
    with pytest.raises(DataError, match="repeats must be at least 1, got 0"):
        evaluate(pyramid, "canvases", repeats=0, device="cpu")
    with pytest.raises(DataError, match="part must be 'test' or 'validation', got 'train'"):
        evaluate(pyramid, "canvases", part="train", device="cpu")
    config = json.loads((pyramid / "config.json").read_text())
    del config["curriculum_zoo"]["recipe"]["validation"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(pyramid / "model.safetensors")
    with pytest.raises(DataError, match=r"Nothing is known of images .* held out for validation"):
        evaluate(tmp_path, "canvases", part="validation", device="cpu")


def test_an_evaluation_repeats_the_accuracy_that_training_ended_with(canvases, tmp_path, monkeypatch):
    from curriculum_zoo import Recipe, train
    from curriculum_zoo.training import run_files
    from curriculum_zoo.training.progress import Reporter

    monkeypatch.setattr(run_files, "draw_curves", lambda metrics, path, title: None)
    settings = {"optimizer.name": "adam", "glimpses": {}, "seed": 6, "image_size": 28}
    recipe = Recipe(model="glimpse_pyramid_m1", data="canvases", epochs=1, batch_size=96).changed(settings)
    result = train(recipe, output=tmp_path, device="cpu", reporter=Reporter())
    assert evaluate(tmp_path, "canvases", device="cpu")[0].scores == result.test["best"]
    [evaluation] = evaluate(tmp_path, "canvases", part="validation", device="cpu")
    assert evaluation.scores.loss == pytest.approx(result.metrics[0]["validation_loss"])
