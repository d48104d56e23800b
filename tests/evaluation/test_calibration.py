"""Reliability, coverage and probes: against numbers worked by hand, and against what they must be by definition."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo import cli, create_model, evaluate
from curriculum_zoo.data import open_dataset
from curriculum_zoo.draws import seeds_of
from curriculum_zoo.errors import DataError, UnknownNameError
from curriculum_zoo.evaluation.calibration import (
    ReliabilityBin,
    calibration_of,
    coverage_of,
    expected_error,
    reliability_bins,
)
from curriculum_zoo.evaluation.evaluate import _PROBE
from curriculum_zoo.views.edges import SobelEdges
from curriculum_zoo.views.probes import PROBES, Grey, PatchShuffle, probe_names

CONFIDENCE = torch.tensor([0.95, 0.9, 0.8, 0.6, 0.55, 0.3], dtype=torch.float64)
RIGHT = torch.tensor([True, True, False, True, False, False])


def test_bins_and_their_error_are_those_worked_by_hand():
    """Two bins: 0.3 alone in the lower one, wrong; the others right in 3 of 5, with a mean confidence of 0.76."""
    bins = reliability_bins(CONFIDENCE, RIGHT, bins=2)
    assert bins[0] == ReliabilityBin(0.0, 0.5, 1, pytest.approx(0.3), 0.0)
    assert bins[1] == ReliabilityBin(0.5, 1.0, 5, pytest.approx(0.76), pytest.approx(0.6))
    assert expected_error(bins) == pytest.approx((1 * 0.3 + 5 * 0.16) / 6)


def test_a_bin_holds_its_upper_end_and_the_first_one_zero():
    bins = reliability_bins(torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.tensor([False, True, True, True]), bins=4)
    assert [each.images for each in bins] == [2, 1, 0, 1]
    assert bins[2].confidence is None


def test_coverage_is_that_worked_by_hand():
    """Right, right, wrong, right, wrong, wrong from the most confident on: 1, 1, 2/3, 3/4, 3/5, 1/2."""
    curve = coverage_of(CONFIDENCE, RIGHT)
    accuracies = [1, 1, 2 / 3, 3 / 4, 3 / 5, 1 / 2]
    assert curve.coverage == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert curve.accuracy == pytest.approx(accuracies)
    assert curve.area == pytest.approx(sum(accuracies) / 6)


def test_equal_confidences_give_the_mean_over_all_their_orders():
    """One of two equally confident answers is right: in one order 1, 1/2, in the other 0, 1/2."""
    curve = coverage_of(torch.tensor([0.7, 0.7]), torch.tensor([True, False]))
    assert curve.accuracy == pytest.approx([0.5, 0.5])
    assert curve.area == pytest.approx(((1 + 0.5) + (0 + 0.5)) / 4)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 400), points=st.integers(1, 30))
def test_a_curve_of_few_points_lies_on_the_whole_one_and_ends_at_accuracy(seed, count, points):
    generator = torch.Generator().manual_seed(seed)
    confidence, right = torch.rand(count, generator=generator), torch.rand(count, generator=generator) < 0.7
    order = confidence.argsort(descending=True)
    whole = [right[order][: k + 1].double().mean().item() for k in range(count)]
    curve = coverage_of(confidence, right, points=points)
    assert len(curve.coverage) == min(points, count)
    assert [whole[round(share * count) - 1] for share in curve.coverage] == pytest.approx(list(curve.accuracy))
    assert curve.accuracy[-1] == pytest.approx(right.double().mean().item())
    assert curve.area == pytest.approx(np.mean(whole))


def test_without_predictions_or_bins_there_is_no_calibration():
    with pytest.raises(DataError, match="of one at least"):
        calibration_of(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    with pytest.raises(DataError, match="bins=0"):
        reliability_bins(CONFIDENCE, RIGHT, bins=0)


def test_evaluation_gives_calibration_of_the_same_predictions(finished_run, quadrants):
    [found] = evaluate(finished_run, f"npz:{quadrants}", calibration=True, device="cpu")
    assert found.calibration is not None
    assert len(found.calibration.bins) == 15
    assert sum(each.images for each in found.calibration.bins) == found.scores.images
    assert found.calibration.expected_calibration_error == pytest.approx(found.scores.calibration_error)
    assert found.calibration.coverage.accuracy[-1] == pytest.approx(found.scores.top1)
    assert json.loads(json.dumps(found.to_dict()))["calibration"]["coverage"]["area"] <= 1


def test_probes_are_evaluated_on_the_images_reduced_by_number(finished_run, quadrants):
    found = evaluate(finished_run, f"npz:{quadrants}", probes=("all",), seed=3, batch_size=33, device="cpu")
    assert [each.probe for each in found] == [None, *PROBES]
    data = open_dataset(f"npz:{quadrants}")
    model = create_model(f"local-dir:{finished_run}/best", pretrained=True).eval()
    images = torch.from_numpy(data.test_images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    seeds = seeds_of(torch.arange(len(images)), 3, 0, _PROBE)
    by_hand = {None: images, "patches_4": PatchShuffle(4)(images, seeds), "edges": SobelEdges()(images)}
    by_hand["grey"] = Grey()(images)
    for evaluation in found:
        if evaluation.probe in by_hand:
            with torch.no_grad():
                right = model((by_hand[evaluation.probe] - mean) / std).argmax(1).numpy() == data.test_labels
            assert evaluation.scores.top1 == pytest.approx(np.mean(right))


def test_names_of_probes_are_checked_and_ordered():
    assert probe_names(("grey", "edges", "edges")) == ("edges", "grey")
    assert probe_names(("all",)) == tuple(PROBES)
    with pytest.raises(UnknownNameError, match="Did you mean 'edges'"):
        probe_names(("edge",))


def test_the_command_prints_probes_bins_and_coverage(finished_run, quadrants, capsys):
    arguments = ["--data", f"npz:{quadrants}", "--probes", "edges,grey", "--calibration", "--resolutions", "16,8"]
    assert cli.main(["evaluate", str(finished_run), *arguments, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "edges alone         outlines" in printed
    assert printed.count("expected calibration error") == 2
    assert "accuracy against coverage at 8 px: area" in printed
