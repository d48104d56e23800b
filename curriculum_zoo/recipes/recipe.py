"""The recipe: everything that decides which weights a training run ends with, as frozen dataclasses and as JSON.

The same recipe gives the same weights on the same hardware. Where files lie, which device computes and where results
go are no part of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..configuration import Configuration, setting
from ..documents import parse_json, read_json
from ..errors import DocumentError, RecipeError
from .augmentation import Augmentation
from .photo_options import PhotoOptions

__all__ = ["GlimpseLearning", "Mixing", "Optimizer", "Recipe", "Schedule", "read_setting"]

Precision = Literal["fp32", "bf16", "fp16"]

PerLevels = float | tuple[float, ...]
"""A number for any count of processing levels, or one for 2 levels, one for 3, ...; the last also serves for more."""


@dataclass(frozen=True, kw_only=True)
class Optimizer(Configuration):
    """How weights follow gradients.

    Attributes:
        name: one of ``timm.optim.list_optimizers()``; timm's ``sgd`` has Nesterov momentum, ``momentum`` has not.
        lr: peak learning rate; None takes 0.1 for the SGD family and 0.001 for all others.
        momentum: for those that have one.
        weight_decay: on weights of two and more dimensions, not on biases and norms.
        clip_norm: gradients are scaled down to this total norm; None leaves them.
        layer_decay: the learning rate of a block is this share of the next deeper one's, the head having all of it
            (timm's layer-wise decay, by the network's ``group_matcher``); None for the same everywhere.
        layer_lr: peak learning rates of parts, by patterns of parameter names: ``{"layer1": 1e-5, "fc": 1e-3}``. They
            hold in place of `lr` and `layer_decay`; see `curriculum_zoo.training.parameter_groups`.
        layer_lr_scale: the same as shares of `lr`.
        options: further keywords of that optimiser.
    """

    name: str = "sgd"
    lr: float | None = setting(None, above=0)
    momentum: float = setting(0.9, low=0, below=1)
    weight_decay: float = setting(5e-4, low=0)
    clip_norm: float | None = setting(None, above=0)
    layer_decay: float | None = setting(None, above=0, high=1)
    layer_lr: dict[str, float] = setting(factory=dict, above=0)
    layer_lr_scale: dict[str, float] = setting(factory=dict, above=0)
    options: dict[str, Any] = setting(factory=dict)

    @property
    def peak_lr(self) -> float:
        """The learning rate that the schedule is a share of."""
        if self.lr is not None:
            return self.lr
        return 0.1 if self.name in ("sgd", "momentum", "sgdp", "sgdw") else 0.001


@dataclass(frozen=True, kw_only=True)
class Schedule(Configuration):
    """How the learning rate moves over training; see `curriculum_zoo.recipes.schedule`.

    Attributes:
        name: ``constant``, ``cosine``, ``linear``, ``onecycle`` or ``step``.
        warmup: share of training over which the rate rises; from `start` of its peak, linearly (``onecycle``: by a
            half cosine).
        start: the first rate, as a share of the peak.
        end: the last rate of ``cosine``, ``linear`` and ``onecycle``, as a share of the peak.
        end_lr: that rate itself, in place of `end`: the same for all parts of a network, whatever their peaks.
        milestones: ``step`` multiplies by `gamma` at these shares of training.
        gamma: the factor of each step.
    """

    name: Literal["constant", "cosine", "linear", "onecycle", "step"] = "onecycle"
    warmup: float = setting(0.25, low=0, below=1)
    start: float = setting(0.04, low=0, high=1)
    end: float = setting(1e-4, low=0, high=1)
    end_lr: float | None = setting(None, low=0)
    milestones: tuple[float, ...] = setting((0.5, 0.75), above=0, below=1)
    gamma: float = setting(0.1, above=0, high=1)

    def check(self) -> None:
        """Milestones must rise."""
        if list(self.milestones) != sorted(set(self.milestones)):
            self.fail("milestones", f"must rise, got {list(self.milestones)}")


@dataclass(frozen=True, kw_only=True)
class Mixing(Configuration):
    """Mixup and cutmix, image by image; see `curriculum_zoo.views.mixing`.

    Attributes:
        mixup: alpha of mixup's Beta distribution; 0 is off.
        cutmix: alpha of cutmix's Beta distribution; 0 is off.
        probability: share of the images that are mixed.
        switch: share of the mixed images that get cutmix, where both are on.
    """

    mixup: float = setting(0.0, low=0)
    cutmix: float = setting(0.0, low=0)
    probability: float = setting(1.0, low=0, high=1)
    switch: float = setting(0.5, low=0, high=1)

    @property
    def active(self) -> bool:
        """Whether any image is mixed."""
        return self.probability > 0 and (self.mixup > 0 or self.cutmix > 0)


@dataclass(frozen=True, kw_only=True)
class GlimpseLearning(Configuration):
    """How a network with glimpses learns where to look; see `curriculum_zoo.training.glimpse_rule`.

    What is a list has a number for 2 processing levels, one for 3 and so on, so that each stage of gradual learning
    has its own; the last one also serves for more levels.

    The paper's weights are 1e-6, 1e-7 and 1e-7 on MNIST, 1e-8, 1e-9 and 1e-9 on ImageNet. Adam divides gradients by
    their size, so that only their ratios count, until its ``eps`` of 1e-8 damps them beside the larger ones. In those
    ratios an early loss of accuracy by looking outweighs the count that is aimed at, and M1 soon looks nowhere for
    good. The defaults hold the count, and keep all cells in use while the policy learns which of them an image wants.

    The location module wants a rate of its own, ``optimizer.layer_lr_scale={"location": …}``: at Adam's 0.01 one step
    drives its probabilities to 0 or 1. M3, which sums 576 numbers for a cell, learned at 0.0005, M1, which sums 3,136,
    at 0.0001; at 0.001 some of M1's cells were soon attended always and others never, though the count held.
    ``cell_least`` and ``cell_most`` in the metrics tell.

    Attributes:
        locations: the mean count of attended locations of an image that is aimed at, the paper's c_t: 2 at 2 levels, 6
            or 12 at 3 levels on MNIST.
        cell_probability: the mean probability that is aimed at for each cell of the grid, the paper's c_r; None takes
            the one that goes with `locations`.
        samples: choices of locations that are drawn for each image in each step, the paper's M.
        lambda_f: weight of the policy gradient.
        lambda_t: weight of the term that holds the count of locations.
        lambda_r: weight of the term that holds the cells' probabilities together.
        baseline: what the policy gradient measures an image's log likelihood against: ``samples``, the mean over the
            image's other samples (Kool, van Hoof and Welling 2019), which takes out how hard the image is, for 2
            samples or more; or ``moving``, the paper's average over past steps.
        baseline_decay: of the moving average.
    """

    locations: PerLevels = setting(2.0, above=0)
    cell_probability: PerLevels | None = setting(None, above=0, below=1)
    samples: int = setting(2, low=1)
    lambda_f: PerLevels = setting(3.0, low=0)
    lambda_t: PerLevels = setting(10.0, low=0)
    lambda_r: PerLevels = setting(3.0, low=0)
    baseline: Literal["samples", "moving"] = "samples"
    baseline_decay: float = setting(0.9, low=0, below=1)

    def check(self) -> None:
        """A list must have a number."""
        for name in ("locations", "cell_probability", "lambda_f", "lambda_t", "lambda_r"):
            if getattr(self, name) == ():
                self.fail(name, "must be a number, or a list of one or more")
        if self.baseline == "samples" and self.samples < 2:
            self.fail("baseline", "'samples' compares an image's samples: there must be 2 or more; else take 'moving'")


@dataclass(frozen=True, kw_only=True)
class Recipe(Configuration):
    """One training run, whole.

    Attributes:
        model: a name that `create_model` knows.
        data: a name that `open_dataset` knows.
        curriculum: a name or expression that `create_curriculum` knows.
        epochs: passes over the training images.
        batch_size: images per update, over all processes.
        accumulation: parts that a batch is computed in, one after the other, where memory is short.
        seed: seeds initialisation, order, augmentation and curriculum.
        data_seed: says which images are held out: the validation images, the test images of a set that has none of its
            own, and the photographs from which mean and deviation are taken. Runs with equal data seeds are tested on
            the same images, and none of them was trained on these, whatever their seeds.
        model_options: further keywords of `create_model`.
        warm_start: weights that the network starts from, its plain twin's say, as `create_model` has it.
        pretrained: whether the network starts from the weights that `model` names.
        start_sha256: SHA-256 of the file of those weights, where it must be exactly these.
        reset: patterns of parameter names whose parts start at random, in place of those weights' (``["conv1"]``). The
            classifier always does, unless it is for the same classes.
        image_size: side in px that images are brought to; None keeps the data set's.
        validation: the training images held out, by data seed: a share below 1, or a number of images; 0 for none.
        optimizer: how weights follow gradients.
        schedule: how the learning rate moves.
        augmentation: what happens to each training image that is kept in memory.
        photos: how image files are read, and what happens to those that are not kept in memory.
        mixing: mixup and cutmix.
        label_noise: the share of the training images whose labels are wrong on purpose, each other class being as
            likely; by data seed. Validation and test images keep theirs.
        label_smoothing: share of the target spread over all classes.
        glimpses: how a network with glimpses learns where to look; None for all other networks.
        ema_decay: decay of an exponential moving average of the weights, which is then what is evaluated and saved.
        precision: of forward and backward; weights are kept in fp32.
        channels_last: whether images lie in memory pixel by pixel.
        compile: whether the network goes through ``torch.compile``.
        normalize: ``data`` takes mean and standard deviation from the training images, ``model`` from the network's
            configuration, ``none`` leaves images in [0, 1].
        calibrate_batchnorm: training batches over which BatchNorm's statistics are taken again, at full resolution,
            before each figure; the saved weights have them too. 0 leaves those that training gathered.
        on_nonfinite: what happens at a step whose loss or gradients are not finite: ``stop`` ends the run, and ``skip``
            leaves the step out.
        nonfinite_limit: the most steps of a run that are left out before it ends all the same.
        best: what makes an epoch the best on validation images: highest ``accuracy`` or least ``loss``.
        notes: for the reader: the command, its expected result, n, hardware.
    """

    model: str
    data: str
    curriculum: str = "baseline"
    epochs: int = setting(30, low=1, high=10**6)
    batch_size: int = setting(128, low=1)
    accumulation: int = setting(1, low=1)
    seed: int = setting(0, low=0)
    data_seed: int = setting(0, low=0)
    model_options: dict[str, Any] = setting(factory=dict)
    warm_start: str | None = None
    pretrained: bool = False
    start_sha256: str | None = None
    reset: tuple[str, ...] = ()
    image_size: int | None = setting(None, low=1)
    validation: float | int = setting(0.1, low=0)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    photos: PhotoOptions = PhotoOptions()
    mixing: Mixing = Mixing()
    label_noise: float = setting(0.0, low=0, below=1)
    label_smoothing: float = setting(0.0, low=0, below=1)
    glimpses: GlimpseLearning | None = None
    ema_decay: float | None = setting(None, above=0, below=1)
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    normalize: Literal["data", "model", "none"] = "data"
    calibrate_batchnorm: int = setting(0, low=0)
    on_nonfinite: Literal["stop", "skip"] = "stop"
    nonfinite_limit: int = setting(20, low=1)
    best: Literal["accuracy", "loss"] = "accuracy"
    notes: str = ""

    def check(self) -> None:
        """Accumulation must divide the batch, images are held out whole, and a SHA-256 has 64 digits."""
        if self.start_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.start_sha256):
            self.fail("start_sha256", f"must be 64 hexadecimal digits, got {self.start_sha256!r}")
        if self.validation > 1 and self.validation % 1:
            self.fail("validation", f"must be a share below 1 or a whole number of images, got {self.validation}")
        if self.batch_size % self.accumulation:
            self.fail("accumulation", f"must divide batch_size {self.batch_size}, got {self.accumulation}")

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """A copy with some fields changed; nested ones are named with dots, as ``optimizer.lr``.

        Raises:
            RecipeError: an unknown field, or a value of the wrong type or out of range.
        """
        values = self.to_dict()
        for path, value in settings.items():
            *parents, last = path.split(".")
            target = values
            for depth, parent in enumerate(parents, 1):
                if not isinstance(target.get(parent), dict):
                    name = ".".join(parents[:depth])
                    raise RecipeError(f"recipe: {path} is no field of it; '{name}' has no fields of its own")
                target = target[parent]
            target[last] = value
        return Recipe.from_dict(values)

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe from JSON.

        Raises:
            RecipeError: the file is missing, is no JSON, or is no recipe.
        """
        try:
            values = read_json(path)
        except DocumentError as error:
            raise RecipeError(f"The recipe {error}. Correct it, or give another file.") from error
        try:
            return cls.from_dict(values)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}. Correct it there.") from None


def read_setting(text: str) -> tuple[str, Any]:
    """``field=value`` as `Recipe.changed` takes it: the value as JSON where it is that, as a plain string where not.

    Raises:
        RecipeError: there is no equals sign.
    """
    field, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--set {text}: expected FIELD=VALUE, as in --set optimizer.momentum=0.8.")
    try:
        return field.strip(), parse_json(value)
    except ValueError:
        return field.strip(), value
