"""`prepare`: from a recipe to the parts of a run, checked before training starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..data import DataSet, LoaderFactory, open_dataset
from ..data.loading.label_noise import noisy_labels
from ..data.memory import require_memory
from ..data.normalize import Normalize
from ..errors import ModelError, RecipeError
from ..recipes import Recipe
from ..registry import DATASETS
from .accelerator import make_accelerator
from .cost import CostMeter
from .glimpse_rule import GlimpseRule
from .levels import check_levels
from .loaders import RunLoaders
from .objectives import CrossEntropy, Objective
from .optimizers import make_optimizer
from .origin import make_network
from .parameter_groups import LearningRates
from .plan import plan
from .run_parts import RunParts
from .samples import check_samples

__all__ = ["prepare"]

Indices = npt.NDArray[np.int64]

INITIAL_IMAGES = 5_000
"""How many training images a network's initialisation from data sees at most; airbench94's number (Jordan 2024)."""


def prepare(
    recipe: Recipe,
    *,
    data: DataSet | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> RunParts:
    """Build all parts of a run and try each stage of its curriculum once, so that what does not fit fails now.

    Args:
        recipe: what to build.
        data: the data set that the recipe names, open already, with the recipe's `image_size` and `data_seed`; it is
            left open and as it is. Opened by name where None.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read image files which are not kept in memory; one per processor where None.

    Raises:
        CurriculumZooError: something is unknown, missing or malformed, or does not fit together.
    """
    curriculum = plan(recipe)
    accelerator, distributed = make_accelerator(recipe.precision, device)
    data_set = _open(recipe, data_root, download) if data is None else _given(recipe, data)
    _require_memory_for_batch(recipe, data_set)
    train_indices, validation_indices = _split(recipe, data_set)
    network, origin = make_network(recipe, data_set)
    network = network.to(accelerator.device)
    stages = [curriculum.stage(epoch) for epoch in range(recipe.epochs)]
    own_objective = _own_objective(recipe, network)
    check_levels(recipe, network, stages, data_set.image_size[0], brings_objective=own_objective is not None)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    objective = own_objective or _usual_objective(recipe)
    cost = CostMeter(
        network,
        channels=data_set.channels,
        image_size=data_set.image_size[0],
        num_classes=data_set.num_classes,
        objective=objective,
        precision=recipe.precision,
    )
    curriculum.check_image_size(data_set.image_size[0])
    cost.full()
    rates = LearningRates.of(network, recipe.optimizer, stages)
    make_optimizer(network, recipe.optimizer, rates)
    labels = _train_labels(recipe, data_set, train_indices)
    factory = _loader_factory(recipe, data_set, labels, network, torch.device(accelerator.device), workers)
    normalize = _normalize(recipe, factory, train_indices, network)
    if origin.weights is None:
        _initialize_from_data(network, factory, train_indices, normalize)
    parts = RunParts(
        recipe=recipe,
        accelerator=accelerator,
        data_set=data_set,
        loaders=RunLoaders(recipe, factory, train_indices, validation_indices, accelerator),
        train_indices=train_indices,
        validation_indices=validation_indices,
        origin=origin,
        network=network,
        trained=cast(nn.Module, torch.compile(network)) if recipe.compile else network,
        average=_average(network, recipe.ema_decay),
        curriculum=curriculum,
        rates=rates,
        objective=objective,
        cost=cost,
        normalize=normalize,
    )
    for stage in stages:
        for variant, _ in stage.variants():
            cost.of(variant)
        parts.loaders.training(stage)
        check_samples(stage, parts)
    # Parameters that are frozen, or that a stage leaves out, get no gradient, which DDP does not expect by itself.
    distributed.find_unused_parameters = bool(cost.idle)
    return parts


# Data -----------------------------------------------------------------------------------------------------------------


def _open(recipe: Recipe, data_root: str | Path, download: bool) -> DataSet:
    return open_dataset(
        recipe.data,
        root=data_root,
        download=download,
        image_size=recipe.image_size,
        seed=recipe.data_seed,
        resident=recipe.photos.resident,
        on_bad_image=recipe.photos.on_bad_image,
    )


def _given(recipe: Recipe, data: DataSet) -> DataSet:
    """The open data set, refused where it is seen not to be the one that the recipe names."""
    bare, _, argument = recipe.data.partition(":")
    # Sets of plugins, and those of a notebook, call themselves what they like.
    named = data.name == recipe.data or (not argument and data.name.partition(":")[0] == bare)
    if DATASETS.entry(bare.strip()).built_in and not named:
        raise RecipeError(
            f"recipe: data is '{recipe.data}', and the data set that is given calls itself '{data.name}'. Give the "
            f"recipe data='{data.name}', or open '{recipe.data}'."
        )
    if recipe.image_size is not None and data.image_size != (recipe.image_size,) * 2:
        height, width = data.image_size
        raise RecipeError(
            f"recipe: image_size is {recipe.image_size}, and {data.name} was opened with images of {height}x{width} "
            f"px. Open it with image_size={recipe.image_size}, or leave image_size out of the recipe."
        )
    resident = recipe.photos.resident
    if not data.in_memory and (data.fits_memory() if resident is None else resident):
        raise RecipeError(
            f"recipe: photos.resident is {resident}, which keeps the images of {data.name} in memory, and it was "
            "opened for reading them as they are needed. Open it with resident=True, or set photos.resident=false."
        )
    return data


def _require_memory_for_batch(recipe: Recipe, data_set: DataSet) -> None:
    """Refuse a size of images of which not even one batch fits memory, before a network is built for it."""
    images, (height, width) = max(2, recipe.batch_size), data_set.image_size
    require_memory(
        4 * images * data_set.channels * height * width,
        f"{images} images of {height} x {width} px, as in a batch,",
        "Set image_size or batch_size lower.",
    )


def _split(recipe: Recipe, data_set: DataSet) -> tuple[Indices, Indices]:
    """Numbers of the images to train on, and of those to validate on."""
    height, width = data_set.image_size
    if height != width:
        raise RecipeError(f"{data_set.name}: images are {height}x{width} px. Set image_size to bring them to a square.")
    train, validation = data_set.split(recipe.validation, seed=recipe.data_seed)
    if recipe.batch_size > len(train):
        raise RecipeError(
            f"recipe: batch_size {recipe.batch_size} exceeds the {len(train)} training images of {data_set.name}."
        )
    return train, validation


def _train_labels(recipe: Recipe, data_set: DataSet, train_indices: Indices) -> Indices | None:
    """Labels in place of the data set's own, where some are to be wrong."""
    if not recipe.label_noise:
        return None
    return noisy_labels(
        data_set.train_labels, train_indices, recipe.label_noise, data_set.num_classes, recipe.data_seed
    )


def _loader_factory(
    recipe: Recipe,
    data_set: DataSet,
    labels: Indices | None,
    network: nn.Module,
    device: torch.device,
    workers: int | None,
) -> LoaderFactory:
    own: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    return data_set.loader_factory(
        augmentation=recipe.augmentation,
        photos=recipe.photos,
        interpolation=own.get("interpolation"),
        crop_pct=own.get("crop_pct"),
        crop_mode=own.get("crop_mode"),
        mean=own.get("mean") or (),
        device=device,
        channels_last=recipe.channels_last,
        workers=workers,
        train_labels=labels,
    )


def _normalize(recipe: Recipe, factory: LoaderFactory, train_indices: Indices, network: nn.Module) -> Normalize:
    channels, device = factory.images.channels, factory.device
    if factory.crop_mode == "border" and recipe.normalize != "model":
        raise RecipeError(
            f"recipe: normalize must be 'model', for {recipe.model} gives photographs borders in the colour of its "
            "own mean."
        )
    if recipe.normalize == "none":
        return Normalize((0.0,) * channels, (1.0,) * channels, device)
    if recipe.normalize == "data":
        return Normalize(*factory.mean_std(train_indices, recipe.data_seed), device)
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


# What is learnt -------------------------------------------------------------------------------------------------------


def _initialize_from_data(
    network: nn.Module, factory: LoaderFactory, train_indices: Indices, normalize: Normalize
) -> None:
    """Give training images to a network that has ``init_from_data(images)``: as they are, the same on all processes."""
    initialize = getattr(network, "init_from_data", None)
    if callable(initialize):
        chosen = train_indices[:INITIAL_IMAGES]
        [batch] = factory.loader(chosen, training=False, batch_size=len(chosen)).batches(0)
        initialize(normalize(batch.images))


def _own_objective(recipe: Recipe, network: nn.Module) -> Objective | None:
    """The objective that the network brings, None where it brings none; see `objectives.BringsObjective`."""
    bring = getattr(network, "training_objective", None)
    objective = bring(recipe) if callable(bring) else None
    if objective is None or isinstance(objective, Objective):
        return objective
    raise ModelError(
        f"{type(network).__name__}.training_objective returned a {type(objective).__name__}. It must return an "
        "Objective of curriculum_zoo.training.objectives, or None for the usual one."
    )


def _usual_objective(recipe: Recipe) -> Objective:
    if recipe.glimpses is None:
        return CrossEntropy(recipe.label_smoothing)
    return GlimpseRule(recipe.glimpses, recipe.label_smoothing)


def _average(network: nn.Module, decay: float | None) -> Any:
    from timm.utils import ModelEmaV3

    return None if decay is None else ModelEmaV3(network, decay=decay)
