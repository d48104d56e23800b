"""Learning rates that differ from part to part of a network: by depth, by patterns of parameter names, and by stage.

A parameter's peak rate is the first of these that applies:

1. the rate in ``optimizer.layer_lr`` whose pattern matches its name;
2. the share in ``optimizer.layer_lr_scale`` whose pattern matches its name, times ``optimizer.lr``;
3. with ``optimizer.layer_decay``, ``optimizer.lr`` times that decay once per block between it and the head;
4. ``optimizer.lr``.

In a stage with ``lr_scales`` it is multiplied by the scale whose pattern matches its name. The schedule then multiplies
all rates alike. Which parameters a pattern matches, `curriculum_zoo.curricula.parameter_values` explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..curricula import Stage
from ..curricula.parameter_values import values_by_parameter
from ..errors import RecipeError
from ..recipes import Optimizer

__all__ = ["LearningRates"]

NAMES = "param_names"  # the key under which torch keeps them, too


@dataclass(frozen=True)
class LearningRates:
    """The peak learning rates of a network's parameters, in every stage.

    Attributes:
        peaks: peak rates, keyed by the parameter's name.
        scales: factors of those rates, keyed by a stage's ``lr_scales`` and then by the parameter's name; parameters
            that no pattern matches are missing.
    """

    peaks: Mapping[str, float]
    scales: Mapping[tuple[tuple[str, float], ...], Mapping[str, float]]

    @classmethod
    def of(cls, model: nn.Module, settings: Optimizer, stages: Iterable[Stage] = ()) -> LearningRates:
        """Return the rates of a network's parameters.

        Args:
            model: the network, not wrapped for DDP or compiled.
            settings: the recipe's optimiser.
            stages: the curriculum's stages.

        Raises:
            RecipeError: a pattern of the recipe matches no parameter, or two patterns with different rates match one;
                ``layer_decay`` is set, and the network does not tell how deep its parameters lie.
            CurriculumError: a pattern of a stage matches no parameter, or two with different scales match one.
        """
        peaks = {name: settings.peak_lr * scale for name, scale in _by_depth(model, settings.layer_decay).items()}
        stated = {**settings.layer_lr}
        for pattern, scale in settings.layer_lr_scale.items():
            if pattern in stated:
                raise RecipeError(f"recipe: optimizer.layer_lr and layer_lr_scale both have '{pattern}'. Keep one.")
            stated[pattern] = settings.peak_lr * scale
        peaks |= values_by_parameter(model, stated, "recipe: optimizer.layer_lr", RecipeError)
        scales = {}
        for stage in stages:
            if stage.lr_scales not in scales:
                what = f"Stage '{stage.name}': lr_scales"
                scales[stage.lr_scales] = values_by_parameter(model, dict(stage.lr_scales), what)
        return cls(peaks, scales)

    def divide(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Split an optimiser's parameter groups, in place, until all parameters of a group share one rate per stage.

        Args:
            optimizer: a fresh one, without state.
            model: the network whose parameters it updates.
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
        """Return the peak rate of each parameter group in a stage.

        Args:
            stage: one of those that `of` was called with.
            groups: the groups of an optimiser that `divide` split.
        """
        scales = self.scales.get(stage.lr_scales, {})
        first = (group[NAMES][0] for group in groups)
        return [self.peaks[name] * scales.get(name, 1.0) for name in first]


def _by_depth(model: nn.Module, decay: float | None) -> dict[str, float]:
    """Each parameter's share of the head's learning rate, keyed by name."""
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
