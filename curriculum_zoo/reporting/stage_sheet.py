"""What a network sees, stage by stage, on real images, and what each epoch costs: `draw_stages`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..curricula import Curriculum, Stage
from ..curricula.freezing import freeze
from ..curricula.timeline import Timeline
from ..draws import seeds_of
from ..errors import CurriculumError
from ..models import create_model
from ..models.adaptive import AdaptiveNetwork
from ..training.cost import CostMeter
from ..training.objectives import CrossEntropy
from ..views.rand_augment import rand_augment

__all__ = ["COLUMNS", "SeenStage", "StageSheet", "look_through"]

COLUMNS = 8
"""Stages that a sheet has room for."""

AUGMENTATION = 0x5EE
"""What a draw is for, so that it is unrelated to other draws from the same seed."""


@dataclass(frozen=True, eq=False)
class SeenStage:
    """One stage of a curriculum, of whatever epochs have it.

    Attributes:
        name: the stage's name; its resolution, where epochs that see the same name it differently.
        epochs: the epochs that have it, counted from 0.
        pixels: side of the images that the network sees.
        view: what is done to the images, in words; empty where nothing is.
        frozen: what does not learn, in words; empty where everything learns.
        notes: the rest, in words: processing levels, augmentation, a fresh optimiser.
        seen: what the network sees in its first epoch, float32 [N, C, h, w] in [0, 1]; None of stages that the sheet
            leaves out.
    """

    name: str
    epochs: tuple[int, ...]
    pixels: int
    view: str
    frozen: str
    notes: str
    seen: Tensor | None = None


@dataclass(frozen=True, eq=False)
class StageSheet:
    """A curriculum on some images.

    Attributes:
        curriculum: its name, as it was asked for.
        image_size: the full side of the images, in pixels.
        images: the images at full size, float32 [N, C, H, W] in [0, 1].
        stages: all its stages, in order of their first epochs.
        resolutions: side of the images that the network sees, in pixels, by epoch.
        costs: cost as a share of a full-resolution epoch's, by epoch: of FLOPs, where the network was counted, else
            of pixels.
        counted: whether costs were counted from the network.
        strengths: magnitude of the stage's random augmentation, 0 to 10, by epoch; None in epochs without.
        frozen: share of the network's parameters that do not learn, by epoch; None without a network.
        model: name of the network; None without one.
        source: where the images are from.
        figure: the file that the sheet is drawn into; None where it is not drawn.
    """

    curriculum: str
    image_size: int
    images: Tensor
    stages: tuple[SeenStage, ...]
    resolutions: tuple[int, ...]
    costs: tuple[float, ...]
    counted: bool
    strengths: tuple[float | None, ...]
    frozen: tuple[float, ...] | None = None
    model: str | None = None
    source: str = ""
    figure: Path | None = None

    @property
    def shown(self) -> tuple[SeenStage, ...]:
        """The stages that are drawn."""
        return tuple(stage for stage in self.stages if stage.seen is not None)

    @property
    def relative_cost(self) -> float:
        """Cost of the whole training as a share of a full-resolution one's of equal length."""
        return sum(self.costs) / len(self.costs)


def look_through(
    curriculum: Curriculum,
    images: Tensor,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> StageSheet:
    """Return what a network sees of images in each stage, with resolution, cost and frozen share of every epoch.

    Args:
        curriculum: the plan of stages.
        images: float32 [N, C, H, W] in [0, 1], square, at their full size.
        model: a network as `create_model` has it, from which cost and the share of frozen parameters are counted; a
            network that chooses what to compute keeps the cost by pixels.
        num_classes: its number of classes; its own where None.
        seed: decides the random augmentation.

    Raises:
        CurriculumError: the images are too small for the curriculum, or a frozen part names nothing in the network.
        ModelError: the network cannot take what a stage shows it.
    """
    size = images.shape[-1]
    curriculum.check_image_size(size)
    plan = [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]
    costs = [stage.relative_cost(size) for stage in plan]
    frozen, counted = None, False
    if model is not None:
        network = create_model(model, num_classes=num_classes, in_chans=images.shape[1], image_size=size)
        shares = {parts: _frozen_share(network, parts) for parts in {stage.frozen for stage in plan}}
        frozen = tuple(shares[stage.frozen] for stage in plan)
        counted = not isinstance(network, AdaptiveNetwork)
        if counted:
            costs = _counted_costs(network, plan, images, num_classes)
    return StageSheet(
        curriculum=curriculum.name,
        image_size=size,
        images=images,
        stages=_seen_stages(curriculum, plan, images, seed),
        resolutions=tuple(stage.pixels(size) for stage in plan),
        costs=tuple(costs),
        counted=counted,
        strengths=tuple(stage.augment_strength for stage in plan),
        frozen=frozen,
        model=model,
    )


# Epochs that belong together ------------------------------------------------------------------------------------------


def _seen_stages(curriculum: Curriculum, plan: list[Stage], images: Tensor, seed: int) -> tuple[SeenStage, ...]:
    """The stages in order of their first epochs, those that there is room for with what is seen in them."""
    size = images.shape[-1]
    groups: list[tuple[Any, list[int]]] = []
    for epoch, stage in enumerate(plan):
        key = _key(stage, size)
        same = next((epochs for other, epochs in groups if other == key), None)
        if same is None:
            groups.append((key, [epoch]))
        else:
            same.append(epoch)
    rows = curriculum.timeline(size)
    stages = [_described(rows, plan, epochs, size) for _, epochs in groups]
    for number in _spread(stages, COLUMNS):
        epoch = stages[number].epochs[0]
        stages[number] = dataclasses.replace(stages[number], seen=_seen(plan[epoch], images, seed, epoch))
    return tuple(stages)


def _key(stage: Stage, size: int) -> tuple[Any, ...]:
    """What is equal for epochs that belong together: all but the name, a fresh optimiser and seeds."""
    view = _kind(stage.at_full_size(size).view)
    rest = (
        stage.frozen,
        stage.levels,
        stage.level_weights,
        stage.augment_strength,
        stage.lr_scales,
        stage.samples,
        stage.batch_sizes,
    )
    return (stage.pixels(size), view, *rest)


def _kind(value: Any) -> Any:
    """A view without its seeds: a view that draws at random is another one in each epoch, and of the same stage."""
    if isinstance(value, tuple):
        return tuple(map(_kind, value))
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in ("seed", "epoch")]
        return (type(value), *((name, _kind(getattr(value, name))) for name in names))
    # A function that is made for each epoch is equal to no other.
    return (value.__module__, value.__qualname__) if hasattr(value, "__qualname__") else value


def _described(rows: Timeline, plan: list[Stage], epochs: list[int], size: int) -> SeenStage:
    names = {plan[epoch].name for epoch in epochs}
    row = next(row for row in rows if row.first <= epochs[0] <= row.last)
    pixels = plan[epochs[0]].pixels(size)
    return SeenStage(
        name=names.pop() if len(names) == 1 else f"{pixels} px",
        epochs=tuple(epochs),
        pixels=pixels,
        view=row.view,
        frozen=row.frozen,
        notes=row.notes,
    )


def _spread(stages: list[SeenStage], room: int) -> list[int]:
    """Which stages are drawn: all, or the longest one and others evenly spread in order of their resolutions."""
    if len(stages) <= room:
        return list(range(len(stages)))
    longest = max(range(len(stages)), key=lambda number: len(stages[number].epochs))
    others = sorted(set(range(len(stages))) - {longest}, key=lambda number: (stages[number].pixels, number))
    return [longest, *(others[round(step * (len(others) - 1) / (room - 2))] for step in range(room - 1))]


@torch.no_grad()
def _seen(stage: Stage, images: Tensor, seed: int, epoch: int) -> Tensor:
    """The images as a network sees them in an epoch: augmented, then through the view, as in training."""
    if stage.augment_strength:
        seeds = seeds_of(torch.arange(len(images)), seed, epoch, AUGMENTATION)
        images = rand_augment(images, stage.augment_strength, seeds)
    return stage.view(images).float().cpu()


# What is counted from a network ---------------------------------------------------------------------------------------


def _frozen_share(network: nn.Module, parts: tuple[Any, ...]) -> float:
    """Share of the network's parameters, by their number, that these parts keep from learning."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with freeze(network, parts):
        still = sum(parameter.numel() for parameter in learning if not parameter.requires_grad)
    return still / max(1, sum(parameter.numel() for parameter in learning))


def _counted_costs(network: nn.Module, plan: list[Stage], images: Tensor, num_classes: int | None) -> list[float]:
    """FLOPs by epoch, as shares of those at full resolution with all images and everything learning."""
    classes = num_classes or getattr(network, "num_classes", None)
    if not classes:
        raise CurriculumError(
            f"{type(network).__name__} does not tell its number of classes (num_classes), so its cost cannot be "
            "counted. Take images of a data set."
        )
    meter = CostMeter(
        network,
        channels=images.shape[1],
        image_size=images.shape[-1],
        num_classes=classes,
        objective=CrossEntropy(),
    )
    full = meter.full()
    return [
        sum(meter.of(variant) * share for variant, share in stage.variants()) / full * stage.sample_cost
        for stage in plan
    ]
