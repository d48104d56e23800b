"""Accuracy under corruptions: what `evaluate` sees, its means by family, and the mean corruption error by hand."""

import dataclasses
import json
import statistics

import numpy as np
import pytest
import torch

from curriculum_zoo import cli, create_model, evaluate
from curriculum_zoo.data import open_dataset
from curriculum_zoo.draws import seeds_of
from curriculum_zoo.errors import DataError, UnknownNameError
from curriculum_zoo.evaluation import summarize_robustness
from curriculum_zoo.evaluation.evaluate import _CORRUPTION
from curriculum_zoo.views.corruptions import corrupt, corruption_names
from curriculum_zoo.weights.folder import save_folder


@pytest.fixture(scope="module")
def found(finished_run, quadrants):
    return evaluate(
        finished_run, f"npz:{quadrants}", corruptions=("noise", "fog"), severities=(1, 4), seed=7, device="cpu"
    )


def test_clean_images_come_first_and_then_each_corruption_at_each_severity(found):
    kinds = corruption_names(("noise", "fog"))
    assert [(e.corruption, e.severity) for e in found] == [(None, None), *((k, s) for k in kinds for s in (1, 4))]


def test_each_accuracy_is_that_of_the_images_corrupted_by_number(found, finished_run, quadrants):
    data = open_dataset(f"npz:{quadrants}")
    model = create_model(f"local-dir:{finished_run}/best", pretrained=True).eval()
    images = torch.from_numpy(data.test_images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    seeds = seeds_of(torch.arange(len(images)), 7, 0, _CORRUPTION)
    for evaluation in found:
        seen = images
        if evaluation.corruption:
            seen = corrupt(images, evaluation.corruption, evaluation.severity, seeds)
        with torch.no_grad():
            right = model((seen - mean) / std).argmax(1).numpy() == data.test_labels
        assert evaluation.scores.top1 == pytest.approx(np.mean(right))


def test_figures_do_not_depend_on_the_batch(found, finished_run, quadrants):
    options = {"corruptions": ("noise", "fog"), "severities": (1, 4), "seed": 7, "device": "cpu"}
    again = evaluate(finished_run, f"npz:{quadrants}", batch_size=7, **options)
    assert [e.scores.top1 for e in again] == [e.scores.top1 for e in found]


def with_accuracy(found, corruption, severity, accuracy):
    scores = dataclasses.replace(found[0].scores, top1=accuracy)
    return dataclasses.replace(found[0], corruption=corruption, severity=severity, scores=scores)


def test_means_and_mean_corruption_error_are_those_worked_by_hand(found):
    accuracies = {("fog", 1): 0.9, ("fog", 2): 0.7, ("snow", 1): 0.5, ("snow", 2): 0.5, ("motion_blur", 1): 0.4,
                  ("motion_blur", 2): 0.2}  # fmt: skip
    theirs = {("fog", 1): 0.8, ("fog", 2): 0.4, ("snow", 1): 0.6, ("snow", 2): 0.2, ("motion_blur", 1): 0.6,
              ("motion_blur", 2): 0.6}  # fmt: skip
    edges = dataclasses.replace(with_accuracy(found, None, None, 0.1), probe="edges")
    own = [with_accuracy(found, None, None, 0.95), edges, *(with_accuracy(found, *k, a) for k, a in accuracies.items())]
    reference = [with_accuracy(found, *key, accuracy) for key, accuracy in theirs.items()]
    [summary] = summarize_robustness(own, reference=reference, reference_name="plain")
    assert summary.clean == 0.95
    assert summary.by_kind == pytest.approx({"fog": 0.8, "snow": 0.5, "motion_blur": 0.3})
    assert summary.by_family == pytest.approx({"weather": 0.65, "blur": 0.3})
    assert summary.mean == pytest.approx(1.6 / 3)
    assert summary.mean_without_blur == pytest.approx(0.65)
    ratios = (0.1 + 0.3) / (0.2 + 0.6), (0.5 + 0.5) / (0.4 + 0.8), (0.6 + 0.8) / (0.4 + 0.4)
    assert summary.mce == pytest.approx(statistics.fmean(ratios))
    assert summary.mce_without_blur == pytest.approx(statistics.fmean(ratios[:2]))
    assert json.loads(json.dumps(summary.to_dict()))["reference"] == "plain"
    with pytest.raises(DataError, match="not evaluated under snow of severities"):
        summarize_robustness(own, reference=reference[:3])
    with pytest.raises(DataError, match="under a corruption"):
        summarize_robustness(own[:1])


def test_what_there_is_not_is_refused_before_the_network_is_loaded(quadrants):
    with pytest.raises(UnknownNameError, match="Did you mean 'fog'"):
        evaluate("nowhere", f"npz:{quadrants}", corruptions=("fogg",))
    with pytest.raises(DataError, match="severities must be"):
        evaluate("nowhere", f"npz:{quadrants}", corruptions=("fog",), severities=(6,))


@pytest.fixture
def untrained(finished_run, tmp_path):
    """A folder of weights like the run's, with a classifier that knows nothing."""
    model = create_model(f"local-dir:{finished_run}/best", pretrained=True)
    torch.nn.init.normal_(model.get_classifier().weight, generator=torch.Generator().manual_seed(0))
    config = json.loads((finished_run / "best" / "config.json").read_text())
    save_folder(tmp_path / "untrained", model.state_dict(), config)
    return tmp_path / "untrained"


def test_the_command_prints_a_row_per_corruption_and_the_error_beside_a_reference(untrained, quadrants, capsys):
    command = ["evaluate", str(untrained), "--data", f"npz:{quadrants}", "--device", "cpu"]
    command += ["--corruptions", "blur,contrast", "--severities", "1..2"]
    assert cli.main([*command, "--reference", str(untrained)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("top-1 accuracy at 16 px, clean ")
    assert {line.split()[0] for line in said.splitlines()[2:7]} == {*corruption_names(("blur",)), "contrast"}
    assert f"mean corruption error, {untrained} being 1: 1.000, without blur 1.000" in said
    assert cli.main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [line["severity"] for line in printed] == [None, *(1, 2) * 5]
