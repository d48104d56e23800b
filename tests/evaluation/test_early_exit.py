"""Early exit: by hand on four images, and of a whole pyramid against an image-by-image loop."""

import json

import pytest
import torch

from curriculum_zoo import cli
from curriculum_zoo.errors import ModelError
from curriculum_zoo.evaluation.early_exit import (
    LevelAnswers,
    choose_threshold,
    early_exit,
    exit_levels,
    exit_point,
    fixed_point,
    level_answers,
    thresholds_of,
)
from curriculum_zoo.evaluation.setup import open_evaluation
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models.adaptive import AdaptiveNetwork, EarlyAnswers

CONFIDENCE = torch.tensor([[0.9, 0.6], [0.8, 0.99], [0.5, 0.7], [0.4, 0.3]], dtype=torch.float64)
RIGHT = torch.tensor([[True, True], [False, True], [True, True], [False, False]])
ANSWERS = LevelAnswers(
    confidence=CONFIDENCE,
    right=RIGHT,
    until=torch.tensor([[10, 32]] * 3 + [[10, 42]]),
    alone=torch.tensor([[10, 30]] * 3 + [[10, 40]]),
)


def test_each_image_stops_at_the_first_level_that_is_sure_enough():
    assert exit_levels(CONFIDENCE, 0.8).tolist() == [0, 0, 1, 1]
    assert exit_levels(CONFIDENCE, 0.85).tolist() == [0, 1, 1, 1]
    assert exit_levels(CONFIDENCE, 2.0).tolist() == [1, 1, 1, 1]
    assert CONFIDENCE[3, 1] == 0.3


def test_accuracy_and_cost_are_those_worked_by_hand():
    point = exit_point(ANSWERS, 0.85)
    assert point.accuracy == 0.75
    assert point.multiply_adds == (10 + 32 + 32 + 42) / 4
    assert point.stopped == (0.25, 0.75)
    fixed = fixed_point(ANSWERS, 1)
    assert (fixed.accuracy, fixed.multiply_adds, fixed.stopped, fixed.threshold) == (0.75, 32.5, (0.0, 1.0), None)


def test_the_cheapest_threshold_that_loses_no_more_than_allowed_is_chosen():
    assert choose_threshold(ANSWERS) == pytest.approx(0.9)  # stops the first image alone; 0.8 would lose the second
    assert choose_threshold(ANSWERS, tolerance=0.25) == pytest.approx(0.4)
    assert thresholds_of(CONFIDENCE, 4)[:-1] == [0.4, 0.5, 0.8, 0.9]
    assert thresholds_of(CONFIDENCE, 4)[-1] > 0.9
    assert thresholds_of(CONFIDENCE[:, :1], 4) == [1.0]


def test_a_pyramids_answers_and_costs_are_those_of_single_images(pyramid, canvases):
    def all_near(probabilities, _):
        return probabilities > 0.2

    with open_evaluation(pyramid, "canvases", batch_size=32, device="cpu") as setup:
        found = level_answers(setup, attend=all_near)
        shown = [(image[None], label) for images, labels in setup.batches(56) for image, label in zip(images, labels)]  # noqa: B905
    network = load_trained_network(pyramid, device="cpu").model
    assert isinstance(network, AdaptiveNetwork)
    assert isinstance(network, EarlyAnswers)
    costs = network.costs
    assert found.right.shape == (80, network.levels_for(56, 56))
    for row, (image, label) in enumerate(shown[:12]):
        with torch.no_grad():
            glimpses = network.glimpse(image, attend=all_near)
        spent = 0
        for level, logits in enumerate(glimpses.logits, 1):
            probabilities = logits[0].double().softmax(0)
            assert found.confidence[row, level - 1].item() == pytest.approx(probabilities.max().item(), rel=1e-4)
            assert found.right[row, level - 1].item() == (probabilities.argmax() == label).item()
            alone = int(network.multiply_adds(glimpses, level))
            assert found.alone[row, level - 1] == alone
            assert found.until[row, level - 1] == alone + spent
            merged = int(glimpses.merged(level))
            spent += (costs.aggregation + costs.merging) * merged + costs.classification


def test_early_exit_goes_from_the_first_level_to_the_last(pyramid, canvases):
    found = early_exit(pyramid, "canvases", attend="threshold", device="cpu")
    assert (found.images, found.validation_images, found.resolution) == (80, 80, 56)
    costs = [point.multiply_adds for point in found.curve]
    assert costs == sorted(costs)
    assert found.curve[-1].accuracy == found.fixed[-1].accuracy
    assert found.curve[-1].stopped[-1] == 1
    assert found.curve[-1].multiply_adds > found.fixed[-1].multiply_adds  # the answers on the way
    with pytest.raises(ModelError, match="tolerance"):
        early_exit(pyramid, "canvases", tolerance=2, device="cpu")


def test_the_command_prints_a_row_for_each_way(pyramid, canvases, capsys):
    flags = ["--data", "canvases", "--early-exit", "5", "--attend", "threshold", "--device", "cpu"]
    assert cli.main(["evaluate", str(pyramid), *flags]) == 0
    printed = capsys.readouterr().out
    assert "all at level 1" in printed
    assert "from 80 validation images" in printed
    assert cli.main(["evaluate", str(pyramid), *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tolerance"] == 0.05


def test_a_network_that_looks_once_has_no_early_exit(finished_run, quadrants):
    with pytest.raises(ModelError, match="levels to stop at"):
        early_exit(finished_run, f"npz:{quadrants}", device="cpu")
