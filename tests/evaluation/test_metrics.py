"""Scores against plain loops, and against what they must be by definition."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from curriculum_zoo.evaluation.calibrate import calibrate_batchnorm
from curriculum_zoo.evaluation.metrics import collect, forward_flops, mean_scores, milliseconds_an_image, score


def slow_scores(logits, labels):
    classes = len(logits[0])
    bins = {}
    hits, top5, loss = [], 0, 0.0
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        exponentials = [math.exp(value - top) for value in row]
        probabilities = [value / sum(exponentials) for value in exponentials]
        ranked = sorted(range(classes), key=lambda index: -row[index])
        hits.append(ranked[0] == label)
        top5 += label in ranked[:5]
        loss -= math.log(probabilities[label])
        confidence = probabilities[ranked[0]]
        bins.setdefault(min(15, max(1, math.ceil(confidence * 15))), []).append((confidence, hits[-1]))
    error = sum(abs(sum(c for c, _ in members) - sum(h for _, h in members)) for members in bins.values())
    return sum(hits) / len(hits), top5 / len(hits), loss / len(hits), error / len(hits)


@given(seed=st.integers(0, 10_000), images=st.integers(1, 40), classes=st.integers(6, 12), scale=st.floats(0.1, 8))
def test_scores_equal_plain_loops(seed, images, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator) * scale
    labels = torch.randint(classes, (images,), generator=generator)
    top1, top5, loss, error = slow_scores(logits.double().tolist(), labels.tolist())
    scores = score(logits, labels)
    assert scores.top1 == pytest.approx(top1)
    assert scores.top5 == pytest.approx(top5)
    assert scores.loss == pytest.approx(loss, rel=1e-6)
    assert scores.calibration_error == pytest.approx(error, abs=1e-6)
    assert scores.images == images


def test_accuracy_by_class_leaves_absent_classes_open():
    logits = torch.eye(4)[[0, 1, 1, 2]] * 9
    scores = score(logits, torch.tensor([0, 0, 1, 2]))
    assert scores.per_class == (0.5, 1.0, 1.0, None)


def test_top5_of_few_classes_is_not_told():
    assert score(torch.zeros(2, 5), torch.tensor([0, 1])).top5 is None


def test_confident_and_right_is_perfectly_calibrated():
    scores = score(torch.eye(3) * 1000, torch.arange(3))
    assert scores.calibration_error == pytest.approx(0.0, abs=1e-9)
    assert scores.loss == pytest.approx(0.0, abs=1e-9)


def test_collecting_leaves_the_network_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 3)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = [(torch.rand(n, 3, 2, 2), torch.zeros(n, dtype=torch.long)) for n in (4, 3)]
    logits, labels = collect(model, batches, device=torch.device("cpu"))
    assert logits.shape == (7, 3)
    assert labels.shape == (7,)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Chance(nn.Module):
    """Says something else each time, for all its eval mode."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def forward(self, images):
        self.answers.append(torch.rand(len(images), 3))
        return self.answers[-1]


def test_what_a_network_draws_depends_on_seed_and_repeat_alone():
    def answers(**how):
        torch.rand(int(torch.randint(50, ())))
        batches = [(torch.zeros(n, 1, 2, 2), torch.zeros(n, dtype=torch.long)) for n in (4, 3)]
        return collect(Chance(), batches, device=torch.device("cpu"), **how)[0]

    assert torch.equal(answers(), answers())
    assert torch.equal(answers(seed=4, repeat=2), answers(seed=4, repeat=2))
    given = [answers(seed=seed, repeat=repeat) for seed, repeat in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({tuple(logits.flatten().tolist()) for logits in given}) == 4


def test_collecting_and_counting_leave_the_generators_that_others_draw_from():
    images = torch.zeros(2, 1, 2, 2)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    collect(Chance(), [(images, torch.zeros(2, dtype=torch.long))], device=torch.device("cpu"))
    forward_flops(Chance(), images)
    assert torch.equal(torch.rand(3), expected)


def test_a_failing_network_gets_its_training_mode_back():
    model = nn.Linear(3, 2).train()
    with pytest.raises(RuntimeError):
        collect(model, [(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))], device=torch.device("cpu"))
    assert model.training


class Slow(nn.Module):
    """Takes some milliseconds a batch, longer for the first."""

    def __init__(self, *milliseconds):
        super().__init__()
        self.milliseconds = list(milliseconds)

    def forward(self, images):
        time.sleep(self.milliseconds.pop(0) / 1000)
        return images


def test_time_is_the_median_over_batches_after_one_to_warm_up():
    batches = [(torch.zeros(n, 1), torch.zeros(n)) for n in (4, 4, 2)]
    model = Slow(300, 20, 40, 400)  # the first batch twice; a median of 5, 10 and 200 ms an image
    assert 10 <= milliseconds_an_image(model, batches, device=torch.device("cpu")) < 50
    assert model.milliseconds == []


def test_no_more_batches_are_timed_than_needed():
    batches = iter([(torch.zeros(1, 1), torch.zeros(1))] * 50)
    milliseconds_an_image(Slow(*[0] * 50), batches, device=torch.device("cpu"))
    assert len(list(batches)) == 30


def test_means_over_repeats_are_those_of_each_figure():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 1, 3, 5, 5])
    repeats = [score(torch.randn(6, 7, generator=generator), labels) for _ in range(4)]
    mean = mean_scores(repeats)
    for name in ("top1", "top5", "loss", "calibration_error"):
        assert getattr(mean, name) == pytest.approx(np.mean([getattr(scores, name) for scores in repeats]))
    by_class = np.array([scores.per_class for scores in repeats], dtype=float).mean(0)
    assert mean.per_class == pytest.approx([None if np.isnan(value) else value for value in by_class])
    assert mean_scores(repeats[:1]) == repeats[0]
    assert mean_scores([score(torch.zeros(2, 3), labels[:2])] * 2).top5 is None


def test_forward_flops_of_a_linear_layer_are_two_per_weight():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert forward_flops(model, torch.zeros(4, 3, 2, 2)) == 2 * 12 * 5


def test_calibration_gives_the_plain_mean_over_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
    model(torch.randn(8, 3, 4, 4) + 7)  # statistics of other images, to be forgotten
    batches = [torch.randn(16, 3, 5, 5) * scale for scale in (1.0, 2.0)]
    calibrate_batchnorm(model.eval(), iter(batches))
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(model[0].running_mean, means, atol=1e-6)
    assert torch.allclose(model[0].running_var, variances, atol=1e-5)
    assert model[0].momentum == 0.1
    assert not model.training
    assert not model[0].training
