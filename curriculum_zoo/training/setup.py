"""Everything a run consists of, made from its recipe and checked before training starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..curricula import Curriculum, Stage, create_curriculum
from ..data import ImageSet, PhotoSet, Supply, open_dataset
from ..data.loader import Loader
from ..data.normalize import Normalize
from ..data.photo_loader import PhotoLoader
from ..devices import select_device
from ..errors import RecipeError, TrainingError
from ..hub.folder import model_config
from ..registry import closest
from .cost import CostMeter
from .glimpse_rule import GlimpseRule
from .levels import check_levels
from .objectives import CrossEntropy, Objective
from .origin import Origin, make_network
from .parameter_groups import LearningRates
from .recipe import Optimizer, Recipe
from .schedule import drops

__all__ = ["Setup", "make_optimizer", "prepare"]


@dataclass(frozen=True)
class Setup:
    """The parts of a run.

    Attributes:
        recipe: what they were made from.
        accelerator: Accelerate's hold on devices, processes and precision.
        image_set: all images.
        supply: gives them out in batches.
        train_indices: which training images are trained on.
        validation_indices: which are held out.
        origin: where the network comes from.
        network: the network itself.
        trained: what training calls: the network, or its compiled form.
        average: the moving average of its weights, where the recipe wants one.
        curriculum: the plan of stages.
        rates: the peak learning rates of its parameters.
        objective: the loss.
        cost: counts FLOPs by stage.
        normalize: what happens to images after the view.
    """

    recipe: Recipe
    accelerator: Any
    image_set: ImageSet | PhotoSet
    supply: Supply
    train_indices: np.ndarray
    validation_indices: np.ndarray
    origin: Origin
    network: nn.Module
    trained: nn.Module
    average: Any
    curriculum: Curriculum
    rates: LearningRates
    objective: Objective
    cost: CostMeter
    normalize: Normalize
    _loaders: dict[str, Loader] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return torch.device(self.accelerator.device)

    @property
    def image_size(self) -> int:
        """Full side of the images, in pixels."""
        return self.image_set.image_size[0]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.image_set.classes)

    def training_loader(self, stage: Stage) -> Loader:
        """The loader of shuffled, augmented training images for a stage's batch size, and for its size where it can."""
        batch_size = max(1, round(self.recipe.batch_size * stage.batch_scale(self.image_size)))
        loader = self._loader("train")
        if isinstance(loader, PhotoLoader):
            loader = loader.with_pixels(stage.pixels(self.image_size))
        return loader if batch_size == loader.batch_size else loader.with_batch_size(batch_size)

    def validation_batches(self) -> Iterator[tuple[Tensor, Tensor]] | None:
        """Held-out images with labels, in [0, 1]; None where the recipe holds out none."""
        return self._loader("validation").batches(0) if len(self.validation_indices) else None

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Test images with labels, in [0, 1]."""
        return self._loader("test").batches(0)

    def calibration_batches(self, count: int) -> Iterator[Tensor]:
        """The same few batches each time of training images at full resolution, augmented as in training.

        Statistics of images that are not augmented would not fit: without the black borders of random crops a
        ResNet-20 lost three points on CIFAR-10.
        """
        loader = self._loader("calibration")
        for step, (images, _) in enumerate(loader.batches(0)):
            if step == count:
                return
            yield self.normalize(images)

    def config(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The ``config.json`` that goes with this run's weights."""
        height, width = self.image_set.image_size
        return model_config(
            self.network,
            architecture=self.origin.architecture,
            options=_building_options(self.network),
            input_size=(self.image_set.channels, height, width),
            mean=self.normalize.mean,
            std=self.normalize.std,
            classes=self.image_set.classes,
            interpolation=self.supply.interpolation,
            crop_pct=self.supply.crop_pct,
            facts={**self.origin.facts, **facts},
        )

    def _loader(self, which: str) -> Loader:
        """The loader of one part of the images; each is put onto the device once."""
        if which not in self._loaders:
            chosen = self.validation_indices if which == "validation" else self.train_indices
            count = len(self.image_set.test_labels) if which == "test" else len(chosen)
            training = which in ("train", "calibration")
            # All processes calibrate on the same images, so that they go on with the same network.
            shared = which != "calibration"
            processes = self.accelerator.num_processes if shared else 1
            self._loaders[which] = self.supply.loader(
                "test" if which == "test" else chosen,
                training=training,
                batch_size=self._batch_size(which, count, processes),
                # Images that are drawn anew at every load are the same ones in the evaluations of all runs.
                seed=self.recipe.seed if training else 0,
                drop_last=training,
                rank=self.accelerator.process_index if shared else 0,
                world_size=processes,
            )
        return self._loaders[which]

    def _batch_size(self, which: str, images: int, processes: int) -> int:
        """Images at a time: the recipe's number in training, a larger one where memory needs no gradients."""
        if which == "train":
            return self.recipe.batch_size
        most = min(max(self.recipe.batch_size, 256), images)
        return -(-most // processes) * processes


def prepare(
    recipe: Recipe,
    *,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> Setup:
    """Make all parts of a run and try each stage of its curriculum once, so that what does not fit fails now.

    Args:
        recipe: what to make.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read image files which are not kept in memory; one a processor where None.

    Raises:
        CurriculumZooError: something is unknown, missing or malformed, or does not fit together.
    """
    curriculum = create_curriculum(recipe.curriculum, epochs=recipe.epochs, seed=recipe.seed)
    curriculum = curriculum.with_learning_rate_drops(drops(recipe.schedule, recipe.epochs))
    accelerator, distributed = _make_accelerator(recipe, device)
    image_set = open_dataset(
        recipe.data,
        root=data_root,
        download=download,
        image_size=recipe.image_size,
        seed=recipe.seed,
        resident=recipe.photos.resident,
        on_bad_image=recipe.photos.on_bad_image,
    )
    train_indices, validation_indices = _split(recipe, image_set)
    network, origin = make_network(recipe, image_set)
    network = network.to(accelerator.device)
    stages = [curriculum.stage(epoch) for epoch in range(recipe.epochs)]
    check_levels(recipe, network, stages, image_set.image_size[0])
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    objective = _make_objective(recipe)
    cost = CostMeter(
        network,
        channels=image_set.channels,
        image_size=image_set.image_size[0],
        num_classes=len(image_set.classes),
        objective=objective,
        precision=recipe.precision,
    )
    curriculum.check_image_size(image_set.image_size[0])
    cost.full()
    rates = LearningRates.of(network, recipe.optimizer, stages)
    make_optimizer(network, recipe.optimizer, rates)
    supply = _make_supply(recipe, image_set, network, torch.device(accelerator.device), workers)
    setup = Setup(
        recipe=recipe,
        accelerator=accelerator,
        image_set=image_set,
        supply=supply,
        train_indices=train_indices,
        validation_indices=validation_indices,
        origin=origin,
        network=network,
        trained=cast(nn.Module, torch.compile(network)) if recipe.compile else network,
        average=_make_average(network, recipe.ema_decay),
        curriculum=curriculum,
        rates=rates,
        objective=objective,
        cost=cost,
        normalize=_make_normalize(recipe, supply, train_indices, network),
    )
    for stage in stages:
        cost.of(stage)
        setup.training_loader(stage)
    # Parameters that are frozen, or that a stage leaves out, get no gradient, which DDP must be told to expect.
    distributed.find_unused_parameters = bool(cost.idle)
    return setup


def _building_options(network: nn.Module) -> dict[str, Any]:
    """What the network was built with, the size of its images included, where it is built for one."""
    options: dict[str, Any] = getattr(network, "_model_args", {})
    return {name: value for name, value in options.items() if name not in ("num_classes", "in_chans")}


def make_optimizer(model: nn.Module, settings: Optimizer, rates: LearningRates | None = None) -> torch.optim.Optimizer:
    """A fresh optimiser over all parameters that learn.

    Args:
        model: the network, with nothing frozen yet.
        settings: which optimiser, and its numbers.
        rates: the peak learning rates of those parameters; where None, those of a run whose stages change none.

    Raises:
        RecipeError: timm knows no such optimiser, or it does not take these options.
    """
    from timm.optim import create_optimizer_v2, list_optimizers

    known = list_optimizers()
    if settings.name not in known:
        raise RecipeError(f"recipe: optimizer.name '{settings.name}' is unknown. {closest(settings.name, known)}")
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model,
            opt=settings.name,
            lr=settings.peak_lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            **settings.options,
        )
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe: optimizer.options do not fit '{settings.name}': {error}") from error
    except (AssertionError, ImportError, RuntimeError) as error:  # some need a GPU, or a package of their own
        raise RecipeError(
            f"recipe: optimizer.name '{settings.name}' cannot be had here: {error}. Use another."
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise RecipeError(f"recipe: optimizer.name '{settings.name}' needs second derivatives, which are not taken.")
    (rates or LearningRates.of(model, settings)).divide(optimizer, model)
    return optimizer


def _make_accelerator(recipe: Recipe, device: str | None) -> tuple[Any, Any]:
    """Accelerate's accelerator, and its settings of DDP, which hold once it prepares a network."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    chosen = select_device(device)
    if recipe.precision == "fp16" and chosen.type == "cpu":
        raise TrainingError("fp16 needs a GPU: its loss scaling has no CPU form. Use bf16 or fp32.")
    # Accelerate keeps one state a process; a second run in it may want another precision or device.
    AcceleratorState._reset_state(reset_partial_state=True)
    with _environment("ACCELERATE_TORCH_DEVICE", device if device and chosen.type != "cpu" else None):
        distributed = DistributedDataParallelKwargs()
        accelerator = Accelerator(
            mixed_precision="no" if recipe.precision == "fp32" else recipe.precision,
            cpu=chosen.type == "cpu",
            kwargs_handlers=[distributed],
        )
        return accelerator, distributed


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before


def _make_objective(recipe: Recipe) -> Objective:
    if recipe.glimpses is None:
        return CrossEntropy(recipe.label_smoothing)
    return GlimpseRule(recipe.glimpses, recipe.label_smoothing)


def _split(recipe: Recipe, image_set: ImageSet | PhotoSet) -> tuple[np.ndarray, np.ndarray]:
    height, width = image_set.image_size
    if height != width:
        raise RecipeError(
            f"{image_set.name}: images are {height}x{width} px. Set image_size to bring them to a square."
        )
    everything = np.arange(len(image_set.train_labels))
    train, validation = (
        image_set.split(recipe.validation, seed=recipe.seed) if recipe.validation else (everything, everything[:0])
    )
    if recipe.batch_size > len(train):
        raise RecipeError(
            f"recipe: batch_size {recipe.batch_size} exceeds the {len(train)} training images of {image_set.name}."
        )
    return train, validation


def _make_average(network: nn.Module, decay: float | None) -> Any:
    from timm.utils import ModelEmaV3

    return None if decay is None else ModelEmaV3(network, decay=decay)


def _make_supply(
    recipe: Recipe, image_set: ImageSet | PhotoSet, network: nn.Module, device: torch.device, workers: int | None
) -> Supply:
    own: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    return Supply(
        image_set,
        augmentation=recipe.augmentation,
        photos=recipe.photos,
        interpolation=own.get("interpolation"),
        crop_pct=own.get("crop_pct"),
        device=device,
        channels_last=recipe.channels_last,
        workers=workers,
    )


def _make_normalize(recipe: Recipe, supply: Supply, train_indices: np.ndarray, network: nn.Module) -> Normalize:
    channels, device = supply.images.channels, supply.device
    if recipe.normalize == "none":
        return Normalize((0.0,) * channels, (1.0,) * channels, device)
    if recipe.normalize == "data":
        return Normalize(*supply.mean_std(train_indices, recipe.seed), device)
    own: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    mean, std = tuple(own.get("mean", ())), tuple(own.get("std", ()))
    if channels == 1 and len(mean) == len(std) == 3:
        # A network for RGB whose first convolution was summed for gray.
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if len(mean) != channels or len(std) != channels:
        raise RecipeError(
            f"recipe: normalize 'model' needs a mean for each of {channels} channels; {recipe.model} states "
            f"{len(mean)}. Use 'data'."
        )
    return Normalize(mean, std, device)
