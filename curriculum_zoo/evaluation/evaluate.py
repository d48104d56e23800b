"""How good a trained network is on a data set's images, at one resolution or several, in one evaluation or many."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet, PhotoLoader, PhotoSet, Supply, open_dataset
from ..data.loader import Loader
from ..data.photos import Labels
from ..errors import DataError, ModelError
from ..models.glimpse_choice import Attend
from .calibrate import calibrate_batchnorm
from .metrics import Scores, collect, forward_flops, mean_scores, milliseconds_an_image, score
from .subject import Subject, load_subject
from .traversal import Traversal, traversed

__all__ = ["Evaluation", "evaluate"]

Part = Literal["test", "validation"]


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found, or the mean of several.

    Attributes:
        resolution: side of the images, in pixels.
        flops: FLOPs of one image's forward pass, two for a multiply-add. Of a glimpse pyramid what the regions that
            it chose took, by `GlimpsePyramid.costs`: the mean over images and repeats.
        scores: what the network achieved, each figure the mean over the repeats.
        classes: names of the classes.
        part: which images: ``test``, or the training images held out as ``validation``.
        repeats: how many evaluations the figures are the mean of.
        top1_std: standard deviation of top-1 accuracy between single evaluations; None for one.
        levels: processing levels that a glimpse pyramid went through at most; None for other networks.
        locations: locations that a glimpse pyramid attended, mean over images and repeats; None for other networks.
        milliseconds: wall-clock milliseconds of the forward pass an image, median over batches; None where not timed.
        timed_on: what the time was taken on, with batch size and threads; None where not timed.
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        scores = self.scores.to_dict()
        scores["per_class"] = dict(zip(self.classes, scores["per_class"], strict=True))
        own = {name: value for name, value in vars(self).items() if name not in ("scores", "classes")}
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
    attend: Attend | None = None,
    which: Literal["best", "last"] = "best",
    batch_size: int = 256,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    calibrate: int = 0,
    repeats: int = 1,
    seed: int = 0,
    timing: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> list[Evaluation]:
    """Evaluate a trained network on a data set's test images, or on those that its training held out.

    What is drawn at random, by a network that chooses at random where to look or by data that is placed anew at each
    load, is a function of `seed` and the number of the repeat: the same call gives the same figures, whatever ran
    before it. The draws of a network are made batch by batch, so they also depend on `batch_size` and on the kind of
    device.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        part: ``test``, or ``validation`` for the training images that the network's recipe, by its seed, held out.
        resolutions: sides in pixels that the images are resized to (bilinear, antialiased), from the size that the
            network was trained for; that size alone where empty. Photographs that are not kept in memory are read at
            each of them.
        levels: processing levels after which a glimpse pyramid stops; as many as the image allows where empty.
        attend: how a glimpse pyramid chooses: ``sample``, ``threshold``, ``top_k`` or a function, as its `glimpse`
            takes it; its own way where None.
        which: which of a run's weights.
        batch_size: images at a time.
        precision: of the forward pass.
        calibrate: training batches over which BatchNorm's statistics are taken anew at each resolution, augmented as
            in training; 0 for none.
        repeats: how many evaluations to take the mean of.
        seed: decides what is drawn at random.
        timing: whether to measure the time of the forward pass as well.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read photographs; one a processor where None.

    Returns:
        One evaluation for each resolution, and at each for each number of levels, in the given orders.

    Raises:
        DataError: the data set does not go with the network, or no validation images are known of.
        ModelError: a resolution is below what the network can take, or it has no processing levels.
    """
    if repeats < 1:
        raise DataError(f"repeats must be at least 1, got {repeats}.")
    if part not in get_args(Part):
        raise DataError(f"part must be 'test' or 'validation', got {part!r}.")
    subject = load_subject(target, which=which, device=device)
    images = open_dataset(
        data,
        root=data_root,
        download=download,
        image_size=subject.input_size[1],
        channels=subject.input_size[0],
        seed=subject.recipe.get("seed", 0),
        resident=subject.photos.resident if subject.saw_squares else False,
        on_bad_image=subject.photos.on_bad_image,
    )
    _check_classes(subject, images)
    evaluations = []
    with contextlib.closing(_supply(subject, images, bool(calibrate), workers)) as supply:
        bench = _Bench(subject, supply, part, batch_size, precision, repeats, seed)
        for resolution in resolutions or (subject.input_size[1],):
            flops = bench.flops(resolution)
            if calibrate:
                bench.calibrate(resolution, calibrate)
            for stop in levels or (None,):
                network = traversed(subject, stop, attend)
                evaluation = bench.evaluation(network, resolution, flops)
                evaluations.append(bench.timed(evaluation, network) if timing else evaluation)
    return evaluations


def _supply(subject: Subject, images: ImageSet | PhotoSet, training: bool, workers: int | None) -> Supply:
    """Batches of images as the network's training had them, as far as that means anything to these images."""
    in_memory = isinstance(images, ImageSet)
    return Supply(
        images,
        augmentation=subject.augmentation if in_memory else None,
        photos=None if in_memory else subject.photos,
        interpolation=subject.interpolation,
        crop_pct=subject.crop_pct,
        device=subject.device,
        workers=workers,
        training=training,
    )


@dataclass(frozen=True)
class _Bench:
    """What all evaluations of one call share."""

    subject: Subject
    supply: Supply
    part: Part
    batch_size: int
    precision: str
    repeats: int
    seed: int
    _loaders: dict[str, Loader] = field(default_factory=dict, repr=False)

    def flops(self, resolution: int) -> int:
        """FLOPs of one image; refuses a resolution that the network cannot take."""
        zeros = torch.zeros(1, self.subject.input_size[0], resolution, resolution, device=self.subject.device)
        try:
            return forward_flops(self.subject.model, zeros)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{self.subject.name} cannot take images of {resolution} px ({str(error).splitlines()[0]}). Leave "
                "that resolution out."
            ) from error

    def calibrate(self, resolution: int, count: int) -> None:
        """Take BatchNorm's statistics at a resolution from some training batches."""
        training = (images for images, _ in self._batches("train", resolution, 0))
        calibrate_batchnorm(self.subject.model, itertools.islice(training, count))

    def evaluation(self, network: nn.Module, resolution: int, flops: int) -> Evaluation:
        """Evaluate at one resolution, at which an image takes so many FLOPs where they do not depend on the image."""
        runs = [self._run(network, resolution, repeat) for repeat in range(self.repeats)]
        evaluation = Evaluation(
            resolution=resolution,
            flops=flops,
            scores=mean_scores(runs),
            classes=self.supply.images.classes,
            part=self.part,
            repeats=self.repeats,
            top1_std=statistics.stdev(scores.top1 for scores in runs) if self.repeats > 1 else None,
        )
        if not isinstance(network, Traversal):
            return evaluation
        locations, multiply_adds = network.spent()
        flops, levels = round(2 * multiply_adds), network.levels_at(resolution)
        return dataclasses.replace(evaluation, flops=flops, levels=levels, locations=locations)

    def _run(self, network: nn.Module, resolution: int, repeat: int) -> Scores:
        batches = self._batches(self.part, resolution, repeat)
        device, precision = self.subject.device, self.precision
        return score(*collect(network, batches, device=device, precision=precision, seed=self.seed, repeat=repeat))

    def timed(self, evaluation: Evaluation, network: nn.Module) -> Evaluation:
        """The evaluation with the time that a forward pass takes."""
        device = self.subject.device
        batches = self._batches(self.part, evaluation.resolution, 0)
        return dataclasses.replace(
            evaluation,
            milliseconds=milliseconds_an_image(network, batches, device=device, precision=self.precision),
            timed_on=f"{_hardware(device)}, batches of {self.batch_size}",
        )

    def _batches(self, part: str, resolution: int, repeat: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images as the network takes them, with labels; drawn anew for each repeat where the data set draws them."""
        if part not in self._loaders:
            self._loaders[part] = self.supply.loader(
                self._part(part), training=part == "train", batch_size=self.batch_size, seed=self.seed
            )
        loader = self._loaders[part]
        if isinstance(loader, PhotoLoader):
            loader = loader.with_pixels(resolution)
        for images, labels in loader.batches(repeat):
            yield self.subject.normalize(_resized(images, resolution)), labels

    def _part(self, part: str) -> Labels | Literal["test"]:
        """Which training images, or the test images."""
        images, held_out_part = self.supply.images, self.subject.recipe.get("validation", 0)
        if part == "test":
            return "test"
        if not held_out_part:
            if part == "train":
                return np.arange(len(images.train_labels))
            raise DataError(
                f"Nothing is known of images that the training of {self.subject.name} held out for validation. "
                "Evaluate on test images."
            )
        training, held_out = images.split(held_out_part, seed=self.subject.recipe.get("seed", 0))
        return training if part == "train" else held_out


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _check_classes(subject: Subject, images: ImageSet | PhotoSet) -> None:
    if subject.num_classes != images.num_classes:
        raise DataError(
            f"{subject.name} tells {subject.num_classes} classes apart, {images.name} has {images.num_classes}. "
            "Evaluate on the data set that it was trained for."
        )
    if subject.classes and subject.classes != images.classes:
        first, other = next(pair for pair in zip(subject.classes, images.classes, strict=True) if pair[0] != pair[1])
        raise DataError(
            f"{subject.name} and {images.name} name their classes differently ('{first}' against '{other}'), so their "
            "numbers may not mean the same. Rename the data set's classes where they do."
        )
