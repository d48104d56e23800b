"""Early exit of adaptive networks: each image stops at the first level where its class is sure enough.

Images differ in how many levels they need (the glimpse pyramid's paper says so and does not show it). Here a network
answers after every level, and stops where the probability of its most probable class reaches a threshold; the threshold
is chosen on validation images. What that costs is counted with every answer on the way, and set beside what it costs to
stop all images at one level, which answers once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..models.adaptive import AdaptiveNetwork, Attend, EarlyAnswers, Glimpses
from ..seeding import derive_seed
from ..weights.folder import Which
from .metrics import seeded
from .setup import EvaluationSetup, open_evaluation
from .traversal import adaptive_network

__all__ = ["EarlyExit", "ExitPoint", "LevelAnswers", "choose_threshold", "early_exit", "early_exit_on", "exit_levels",
           "exit_point", "fixed_point", "level_answers", "thresholds_of"]  # fmt: skip

CURVE = 40
"""Thresholds of a curve; as many candidates again lie between them when one is chosen."""


@dataclass(frozen=True, eq=False)
class LevelAnswers:
    """What a network answered after each level, for N images and L levels; all on the CPU.

    Attributes:
        confidence: of the most probable class [N, L], 0 to 1, float64.
        right: whether that class is right [N, L], bool.
        until: multiply-adds [N, L], int64, until the answer after a level, with all answers before it.
        alone: multiply-adds [N, L], int64, of stopping at a level with one answer.
    """

    confidence: Tensor
    right: Tensor
    until: Tensor
    alone: Tensor


@dataclass(frozen=True)
class ExitPoint:
    """Accuracy and cost of one way to stop.

    Attributes:
        accuracy: top-1, 0 to 1.
        multiply_adds: mean per image.
        stopped: share of the images that stops after each level, from the first.
        threshold: of confidence; None where all images stop at one level.
    """

    accuracy: float
    multiply_adds: float
    stopped: tuple[float, ...]
    threshold: float | None = None


@dataclass(frozen=True)
class EarlyExit:
    """Early exit of one network.

    Attributes:
        images: test images that the points are of.
        resolution: their side in pixels.
        fixed: all images stopped at one level, for each level from the first.
        curve: early exit by rising thresholds.
        chosen: early exit by the threshold that was chosen on validation images.
        tolerance: accuracy on validation images that the threshold may lose against the deepest level, 0 to 1.
        validation_images: how many images it was chosen on.
    """

    images: int
    resolution: int
    fixed: tuple[ExitPoint, ...]
    curve: tuple[ExitPoint, ...]
    chosen: ExitPoint
    tolerance: float
    validation_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def early_exit(
    target: str | Path,
    data: str,
    *,
    tolerance: float = 0.0,
    levels: int | None = None,
    attend: Attend | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    which: Which = "best",
    batch_size: int = 256,
    seed: int = 0,
    device: str | None = None,
) -> EarlyExit:
    """Measure early exit of an adaptive network on test images, with a threshold from those its training held out.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows.
        tolerance: accuracy on validation images that may be lost against the deepest level, 0 to 1.
        levels: the deepest level; as many as the images allow where None.
        attend: how the network chooses; its own way where None.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        which: which of a run's weights.
        batch_size: images at a time.
        seed: decides what is drawn at random.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Raises:
        DataError: the data set does not go with the network, or no validation images are known of.
        ModelError: the network is not adaptive, or a tolerance outside 0 to 1.
    """
    opening: dict[str, Any] = {"data_root": data_root, "download": download, "device": device}
    opening |= {"which": which, "batch_size": batch_size, "seed": seed}
    with open_evaluation(target, data, **opening) as setup:
        return early_exit_on(setup, tolerance=tolerance, levels=levels, attend=attend)


def early_exit_on(
    setup: EvaluationSetup, *, tolerance: float = 0.0, levels: int | None = None, attend: Attend | None = None
) -> EarlyExit:
    """Measure early exit of a network that is open with its data already; see `early_exit`."""
    if not 0 <= tolerance < 1:
        raise ModelError(f"tolerance must be a share of the images from 0 to 1, got {tolerance}.")
    held_out = level_answers(dataclasses.replace(setup, part="validation"), levels, attend)
    answers = level_answers(dataclasses.replace(setup, part="test"), levels, attend)
    thresholds = thresholds_of(answers.confidence, CURVE)
    return EarlyExit(
        images=len(answers.right),
        resolution=setup.side,
        fixed=tuple(fixed_point(answers, level) for level in range(answers.right.shape[1])),
        curve=tuple(exit_point(answers, threshold) for threshold in thresholds),
        chosen=exit_point(answers, choose_threshold(held_out, tolerance)),
        tolerance=tolerance,
        validation_images=len(held_out.right),
    )


def level_answers(setup: EvaluationSetup, levels: int | None = None, attend: Attend | None = None) -> LevelAnswers:
    """Return a network's answers after each level, on the images of a setup at the size that it was trained for.

    Args:
        setup: the network with the images.
        levels: the deepest level; as many as the images allow where None.
        attend: how the network chooses; its own way where None.

    Raises:
        ModelError: the network is not adaptive.
    """
    network, device = adaptive_network(setup.trained), setup.trained.device
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode(), seeded(device, derive_seed(setup.seed, 0)):
        for images, labels in setup.batches(setup.side):
            glimpses = network.glimpse(images, levels, attend)
            probabilities = torch.stack(glimpses.logits, 1).cpu().double().softmax(2)
            confidence, predicted = probabilities.max(2)
            until, alone = _costs(network, glimpses)
            parts.append((confidence, predicted == labels.cpu()[:, None], until, alone))
    return LevelAnswers(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _costs(network: AdaptiveNetwork, glimpses: Glimpses) -> tuple[Tensor, Tensor]:
    """Multiply-adds [N, L] until each answer with all before it, and of stopping there with one answer."""
    depths = range(1, len(glimpses.logits) + 1)
    alone = torch.stack([network.multiply_adds(glimpses, depth).cpu() for depth in depths], 1)
    own = alone
    if isinstance(network, EarlyAnswers):
        own = torch.stack([network.answer_multiply_adds(glimpses, depth).cpu() for depth in depths], 1)
    return alone + own.cumsum(1) - own, alone


def exit_levels(confidence: Tensor, threshold: float) -> Tensor:
    """Return where each image stops: the first level, from 0, of at least that confidence, else the last; int64 [N].

    Args:
        confidence: after each level [N, L].
        threshold: 0 to 1, or above for the last level.
    """
    sure = confidence >= threshold
    sure[:, -1] = True
    return sure.int().argmax(1)


def exit_point(answers: LevelAnswers, threshold: float) -> ExitPoint:
    """Return accuracy and cost of early exit by a threshold."""
    stops = exit_levels(answers.confidence, threshold)
    return _point(stops, answers.right, answers.until, threshold)


def fixed_point(answers: LevelAnswers, level: int) -> ExitPoint:
    """Return accuracy and cost of stopping all images at a level, from 0."""
    return _point(torch.full_like(answers.until[:, 0], level), answers.right, answers.alone, None)


def _point(stops: Tensor, right: Tensor, costs: Tensor, threshold: float | None) -> ExitPoint:
    rows = torch.arange(len(stops))
    return ExitPoint(
        accuracy=right[rows, stops].double().mean().item(),
        multiply_adds=costs[rows, stops].double().mean().item(),
        stopped=tuple((torch.bincount(stops, minlength=right.shape[1]) / len(stops)).tolist()),
        threshold=threshold,
    )


def thresholds_of(confidence: Tensor, count: int) -> list[float]:
    """Return rising thresholds, at quantiles of the confidences before the last level, so that points lie evenly.

    Args:
        confidence: after each level [N, L].
        count: how many quantiles; equal ones are merged. A last one lies above all confidences.
    """
    before = confidence[:, :-1].flatten().sort().values
    if not len(before):
        return [1.0]
    places = torch.linspace(0, len(before) - 1, count).round().long()
    above = torch.nextafter(before[-1], before.new_tensor(2.0))
    return sorted({*before[places].tolist(), above.item()})


def choose_threshold(answers: LevelAnswers, tolerance: float = 0.0) -> float:
    """Return the least threshold, and so the cheapest, whose accuracy is the deepest level's less a tolerance.

    Args:
        answers: on validation images.
        tolerance: accuracy that may be lost, 0 to 1.
    """
    wanted = answers.right[:, -1].double().mean().item() - tolerance
    thresholds: Sequence[float] = thresholds_of(answers.confidence, 2 * CURVE)
    return next(
        (threshold for threshold in thresholds if exit_point(answers, threshold).accuracy >= wanted - 1e-12),
        thresholds[-1],
    )
