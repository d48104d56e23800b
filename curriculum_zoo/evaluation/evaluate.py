"""How good a trained network is on a data set's images, at one resolution or several, in one evaluation or many."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..models.adaptive import Attend
from ..views.corruptions import SEVERITIES, corrupt, corruption_names
from ..views.probes import PROBES, probe_names
from .calibration import Calibration, calibration_of
from .metrics import Scores, collect, mean_scores, milliseconds_an_image, score
from .setup import Change, EvaluationSetup, Part, open_evaluation
from .test_time_views import TestTimeViews, Views, views_of
from .traversal import Traversal, traversed

__all__ = ["Evaluation", "evaluate", "evaluate_on"]

Precision = Literal["fp32", "bf16", "fp16"]

_CORRUPTION, _PROBE = 0xC0, 0xC1
"""What draws are for, so that they are unrelated to other draws from the same seed."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found, or the mean of several.

    Attributes:
        resolution: side of the images, in pixels.
        flops: FLOPs of one image's forward pass, two for a multiply-add. Of an adaptive network what its choices took,
            by its own `multiply_adds`: the mean over images and repeats.
        scores: what the network achieved, each figure the mean over the repeats.
        classes: names of the classes.
        part: which images: ``test``, or the training images held out as ``validation``.
        repeats: how many evaluations the figures are the mean of.
        top1_std: standard deviation of top-1 accuracy between single evaluations; None for one.
        levels: processing levels that an adaptive network went through at most; None for other networks.
        locations: locations that an adaptive network attended, mean over images and repeats; None for other networks.
        milliseconds: wall-clock milliseconds of the forward pass an image, median over batches; None where not timed.
        timed_on: what the time was taken on, with batch size and threads; None where not timed.
        corruption: name of the corruption that the images went through; None for clean images.
        severity: its severity, 1 to 5.
        probe: name of the probe that the images went through; None for images that went through none.
        calibration: how far confidence can be relied on, over the predictions of all repeats; None where not asked for.
    """

    resolution: int
    flops: int
    scores: Scores
    classes: tuple[str, ...]
    part: Part = "test"
    repeats: int = 1
    top1_std: float | None = None
    levels: int | None = None
    locations: float | None = None
    milliseconds: float | None = None
    timed_on: str | None = None
    corruption: str | None = None
    severity: int | None = None
    probe: str | None = None
    calibration: Calibration | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, with accuracy per class keyed by the class's name."""
        scores = self.scores.to_dict()
        scores["per_class"] = dict(zip(self.classes, scores["per_class"], strict=True))
        own = {name: value for name, value in vars(self).items() if name not in ("scores", "classes")}
        own["calibration"] = self.calibration.to_dict() if self.calibration else None
        return {**own, **scores}


def evaluate(
    target: str | Path,
    data: str,
    *,
    data_root: str | Path = "data",
    download: bool = False,
    part: Part = "test",
    resolutions: Sequence[int] = (),
    levels: Sequence[int] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    probes: Sequence[str] = (),
    calibration: bool = False,
    attend: Attend | None = None,
    which: Literal["best", "last"] = "best",
    batch_size: int = 256,
    precision: Precision = "fp32",
    calibrate: int = 0,
    views: Views = "single",
    repeats: int = 1,
    seed: int = 0,
    timing: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> list[Evaluation]:
    """Evaluate a trained network on a data set's test images, or on those that its training held out.

    What is drawn at random, by a network that chooses where to look or by data that is placed at each load, is a
    function of `seed` and the number of the repeat: the same call gives the same figures, whatever ran before it. The
    draws of a network are made batch by batch, so they also depend on `batch_size` and on the kind of device.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        part: ``test``, or ``validation`` for the training images that the network's recipe, by its seed, held out.
        resolutions: sides in pixels that the images are resized to (bilinear, antialiased), from the size that the
            network was trained for; that size alone where empty. Photographs that are not kept in memory are read at
            each of them.
        levels: processing levels after which an adaptive network stops; as many as the image allows where empty.
        corruptions: names of corruptions, or of their families ``noise``, ``blur``, ``weather`` and ``digital``, that
            the images go through at the size that they have, before they are resized; see `views.corruptions`. Each is
            evaluated at each severity, after the clean images. What is drawn for an image depends on `seed`, its
            number and the repeat alone. None where empty.
        severities: severities of the corruptions, 1 to 5.
        probes: names of probes of shape and texture, or ``all``, that the images go through likewise, after the
            corruptions; see `views.probes`. None where empty.
        calibration: whether to give reliability bins and accuracy against coverage.
        attend: how an adaptive network chooses: ``sample``, ``threshold``, ``top_k`` or a function, as its `glimpse`
            takes it; its own way where None.
        which: which of a run's weights.
        batch_size: images at a time.
        precision: of the forward pass.
        calibrate: training batches over which BatchNorm's statistics are re-estimated at each resolution, augmented as
            in training; 0 for none.
        views: of each image, over which logits are averaged: ``"single"`` for the image alone, ``"flip"`` with its
            mirror image, ``"flip_shift"`` with shifts by a pixel as well; see `TestTimeViews`. FLOPs and times are
            those of all views.
        repeats: how many evaluations to take the mean of.
        seed: decides what is drawn at random.
        timing: whether to measure the time of the forward pass as well.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read photographs; one a processor where None.

    Returns:
        One evaluation for each resolution, at each for each number of levels, and for each of those the clean images
        first, then each corruption at each severity, then each probe, in the given orders.

    Raises:
        DataError: the data set does not go with the network, or no validation images are known of.
        ModelError: a resolution is below what the network can take, it has no processing levels, or it has some and
            is to see several views, or there are no such views.
        UnknownNameError: there is no such corruption or probe.
    """
    if repeats < 1:
        raise DataError(f"repeats must be at least 1, got {repeats}.")
    opening: dict[str, Any] = {"data_root": data_root, "download": download, "device": device, "workers": workers}
    opening |= {"part": part, "which": which, "batch_size": batch_size, "seed": seed, "training": bool(calibrate)}
    changes = _changes(corruptions, severities, probes)
    with open_evaluation(target, data, **opening) as setup:
        measure = _Measurement(setup, precision, repeats, calibration)
        return _measured(measure, changes, resolutions, levels, attend, views, calibrate, timing)


def evaluate_on(
    setup: EvaluationSetup,
    *,
    resolutions: Sequence[int] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    probes: Sequence[str] = (),
    calibration: bool = False,
    precision: Precision = "fp32",
) -> list[Evaluation]:
    """Evaluate a network that is open with its data already; see `evaluate` for arguments, result and errors."""
    measure = _Measurement(setup, precision, 1, calibration)
    return _measured(measure, _changes(corruptions, severities, probes), resolutions)


def _measured(
    measure: _Measurement,
    changes: Sequence[tuple[dict[str, Any], Change]],
    resolutions: Sequence[int],
    levels: Sequence[int] = (),
    attend: Attend | None = None,
    views: Views = "single",
    calibrate: int = 0,
    timing: bool = False,
) -> list[Evaluation]:
    setup, times = measure.setup, views_of(measure.setup.trained, views)
    evaluations = []
    for resolution in resolutions or (setup.side,):
        flops = times * setup.flops(resolution)
        if calibrate:
            setup.calibrate(resolution, calibrate)
        for stop in levels or (None,):
            trained = setup.trained
            network = traversed(trained, stop, attend) if times == 1 else TestTimeViews(trained.model, views)
            evaluation = measure.of(network, resolution, flops)
            evaluations.append(measure.timed(evaluation, network) if timing else evaluation)
            for names, change in changes:
                changed = measure.of(network, resolution, flops, change)
                evaluations.append(dataclasses.replace(changed, **names))
    return evaluations


def _changes(
    corruptions: Sequence[str], severities: Sequence[int], probes: Sequence[str]
) -> list[tuple[dict[str, Any], Change]]:
    """What images go through, each with the fields of an evaluation that name it."""
    for severity in severities:
        if severity not in SEVERITIES:
            raise DataError(f"severities must be whole numbers from 1 to 5, got {severity!r}.")
    changes: list[tuple[dict[str, Any], Change]] = []
    for kind, severity in itertools.product(corruption_names(corruptions) if corruptions else (), severities):
        changes.append(({"corruption": kind, "severity": severity}, _corruption(kind, severity)))
    for name in probe_names(probes) if probes else ():
        changes.append(({"probe": name}, Change(PROBES[name].reduce, _PROBE)))
    return changes


def _corruption(kind: str, severity: int) -> Change:
    def apply(images: Tensor, seeds: Tensor) -> Tensor:
        return corrupt(images, kind, severity, seeds)

    return Change(apply, _CORRUPTION)


@dataclass(frozen=True)
class _Measurement:
    """How each evaluation of one call is taken."""

    setup: EvaluationSetup
    precision: str
    repeats: int
    calibration: bool

    def of(self, network: nn.Module, resolution: int, flops: int, change: Change | None = None) -> Evaluation:
        """Evaluate at one resolution, at which an image takes so many FLOPs where they do not depend on the image."""
        setup = self.setup
        answers = [self._answers(network, resolution, repeat, change) for repeat in range(self.repeats)]
        runs = [score(*answer) for answer in answers]
        evaluation = Evaluation(
            resolution=resolution,
            flops=flops,
            scores=mean_scores(runs),
            classes=setup.supply.images.classes,
            part=setup.part,
            repeats=self.repeats,
            top1_std=statistics.stdev(scores.top1 for scores in runs) if self.repeats > 1 else None,
            calibration=_calibration(answers) if self.calibration else None,
        )
        if not isinstance(network, Traversal):
            return evaluation
        locations, multiply_adds = network.spent()
        flops, levels = round(2 * multiply_adds), network.levels_at(resolution)
        return dataclasses.replace(evaluation, flops=flops, levels=levels, locations=locations)

    def _answers(
        self, network: nn.Module, resolution: int, repeat: int, change: Change | None
    ) -> tuple[Tensor, Tensor]:
        setup = self.setup
        batches = setup.batches(resolution, repeat, change)
        device = setup.trained.device
        return collect(network, batches, device=device, precision=self.precision, seed=setup.seed, repeat=repeat)

    def timed(self, evaluation: Evaluation, network: nn.Module) -> Evaluation:
        """Return the evaluation with the time that a forward pass takes."""
        device = self.setup.trained.device
        batches = self.setup.batches(evaluation.resolution)
        return dataclasses.replace(
            evaluation,
            milliseconds=milliseconds_an_image(network, batches, device=device, precision=self.precision),
            timed_on=f"{_hardware(device)}, batches of {self.setup.batch_size}",
        )


def _calibration(answers: Sequence[tuple[Tensor, Tensor]]) -> Calibration:
    """Calibration over the predictions of all repeats."""
    logits, labels = (torch.cat(parts) for parts in zip(*answers, strict=True))
    confidence, predicted = logits.double().softmax(1).max(1)
    return calibration_of(confidence, predicted == labels)


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"
