"""Learning rates that differ from part to part of a network: by depth, by patterns of parameter names, and by stage.

A parameter's peak rate is the one that ``optimizer.layer_lr`` gives it, or ``optimizer.layer_lr_scale`` as a share of
``optimizer.lr``; else that of the blocks by ``optimizer.layer_decay``; else ``optimizer.lr``. While a stage with
``lr_scales`` lasts, it is multiplied by them. All rates then follow the schedule.

A pattern also takes along what it does not name but what shares a block of the network's ``group_matcher`` with it and
lies outside of it: ``conv1`` the first normalisation, ``layer4`` a HiResNet's projections into that stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..curricula import Stage
from ..curricula.freezing import depth_groups
from ..errors import CurriculumError, CurriculumZooError, RecipeError
from ..parts import no_such_part, parts_named
from .recipe import Optimizer

__all__ = ["LearningRates"]

NAMES = "param_names"  # the key under which torch keeps them, too


@dataclass(frozen=True)
class LearningRates:
    """The peak learning rates of a network's parameters, in every stage.

    Attributes:
        peaks: peak rate by the parameter's name.
        scales: what rates are multiplied by in a stage with these ``lr_scales``, by the parameter's name.
    """

    peaks: Mapping[str, float]
    scales: Mapping[tuple[tuple[str, float], ...], Mapping[str, float]]

    @classmethod
    def of(cls, model: nn.Module, settings: Optimizer, stages: Iterable[Stage] = ()) -> LearningRates:
        """The rates that a recipe and a curriculum give the parameters of a network.

        Args:
            model: the network, unwrapped.
            settings: the recipe's.
            stages: the curriculum's.

        Raises:
            RecipeError: a pattern of the recipe names nothing, or two name one parameter; the network tells no depth.
            CurriculumError: the same of a stage's patterns.
        """
        peaks = {name: settings.peak_lr * scale for name, scale in _by_depth(model, settings.layer_decay).items()}
        stated = {**settings.layer_lr}
        for pattern, scale in settings.layer_lr_scale.items():
            if pattern in stated:
                raise RecipeError(f"recipe: optimizer.layer_lr and layer_lr_scale both have '{pattern}'. Keep one.")
            stated[pattern] = settings.peak_lr * scale
        peaks |= _by_pattern(model, stated, RecipeError, "recipe: optimizer.layer_lr")
        scales = {}
        for stage in stages:
            if stage.lr_scales not in scales:
                what = f"Stage '{stage.name}': lr_scales"
                scales[stage.lr_scales] = _by_pattern(model, dict(stage.lr_scales), CurriculumError, what)
        return cls(peaks, scales)

    def divide(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Divide an optimiser's groups so that all parameters of a group have one rate in every stage.

        Args:
            optimizer: one that has made no step; changed in place.
            model: the network whose parameters it has.
        """
        names = {parameter: name for name, parameter in model.named_parameters()}
        divided: list[dict[str, Any]] = []
        for group in optimizer.param_groups:
            alike: dict[tuple[float, ...], dict[str, Any]] = {}
            for parameter in group["params"]:
                name = names[parameter]
                key = (self.peaks[name], *(scales.get(name, 1.0) for scales in self.scales.values()))
                same = alike.setdefault(key, {**group, "params": [], NAMES: [], "lr": self.peaks[name]})
                same["params"].append(parameter)
                same[NAMES].append(name)
            divided += alike.values()
        optimizer.param_groups[:] = divided

    def in_stage(self, stage: Stage, groups: Iterable[Mapping[str, Any]]) -> list[float]:
        """The peak rate of each of an optimiser's groups while a stage lasts.

        Args:
            stage: one of those that this was made for.
            groups: the optimiser's, divided.
        """
        scales = self.scales.get(stage.lr_scales, {})
        first = (group[NAMES][0] for group in groups)
        return [self.peaks[name] * scales.get(name, 1.0) for name in first]


def _by_depth(model: nn.Module, decay: float | None) -> dict[str, float]:
    """Share of the head's learning rate, by the parameter's name."""
    names = [name for name, _ in model.named_parameters()]
    if decay is None:
        return dict.fromkeys(names, 1.0)
    from timm.optim import param_groups_layer_decay

    known = {parameter: name for name, parameter in model.named_parameters()}
    # Of a network that tells no depth timm asks its configuration, which some have under that name and empty.
    if not hasattr(model, "group_matcher") and not getattr(model, "pretrained_cfg", None):
        raise RecipeError(_no_depth(model))
    groups = param_groups_layer_decay(model, layer_decay=decay)
    scales = {known[parameter]: group["lr_scale"] for group in groups for parameter in group["params"]}
    if decay < 1 and len(set(scales.values())) == 1:
        raise RecipeError(_no_depth(model))
    # Parameters that a network never trains have no group.
    return {name: scales.get(name, 1.0) for name in names}


def _no_depth(model: nn.Module) -> str:
    return (
        f"recipe: optimizer.layer_decay has no effect on {type(model).__name__}, which tells no depth (timm's "
        "group_matcher). Use optimizer.layer_lr_scale with patterns of its parameters' names."
    )


def _by_pattern(
    model: nn.Module, values: Mapping[str, float], error: type[CurriculumZooError], what: str
) -> dict[str, float]:
    """The values by the parameter's name, for those that patterns name or take along."""
    names = [name for name, _ in model.named_parameters()]
    named: dict[str, str] = {}
    for pattern in values:
        found = parts_named(pattern, names)
        if not found:
            raise error(f"{what}: {no_such_part(pattern, names, type(model).__name__)}")
        for name in found:
            other = named.setdefault(name, pattern)
            if values[other] != values[pattern]:
                raise error(f"{what}: '{other}' and '{pattern}' both name {name}. Let one of them name fewer.")
    taken = _taken_along(model, names, named) if named else {}
    return {name: values[pattern] for name, pattern in (taken | named).items()}


def _taken_along(model: nn.Module, names: list[str], named: Mapping[str, str]) -> dict[str, str]:
    """Patterns of parameters that none names, in modules that share a block with some that are named."""
    taken: dict[str, str] = {}
    for block in depth_groups(model, names, coarse=False):
        inside = [name for name in block if name in named]
        modules = {_module(name) for name in inside}
        taken |= {name: named[inside[-1]] for name in block if inside and _module(name) not in modules}
    return taken


def _module(name: str) -> str:
    return name.partition(".")[0]
