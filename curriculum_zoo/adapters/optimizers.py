"""Optimisers that other libraries made and step: a fresh start, and other learning rates for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CurriculumError

__all__ = ["bare_optimizer", "reset_optimizer", "scaled_rates"]


def bare_optimizer(optimizer: Any) -> Any:
    """Return the optimiser inside of one that wraps it, as Accelerate's and timm's Lookahead do."""
    for name in ("optimizer", "_base_optimizer"):
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            return bare_optimizer(inner)
    return optimizer


def reset_optimizer(optimizer: Any) -> None:
    """Clear what an optimiser has gathered, momentum and counts of steps, as in one that was just created.

    Its groups and their learning rates stay, so that schedulers go on undisturbed.

    Args:
        optimizer: one of torch or timm, or one that wraps another.
    """
    optimizer = bare_optimizer(optimizer)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        # Where Lamb, Adan and Lookahead count.
        for counter in ("step", "lookahead_step"):
            group.pop(counter, None)
            if counter in optimizer.defaults:
                group[counter] = optimizer.defaults[counter]
    if isinstance(optimizer, torch.optim.Adagrad):
        # The one that makes its state when it is made, and not when it is needed.
        groups = [{**group} for group in optimizer.param_groups]
        optimizer.state.update(torch.optim.Adagrad(groups, **optimizer.defaults).state)


@contextlib.contextmanager
def scaled_rates(optimizer: Any, factors: Mapping[nn.Parameter, float], others: float = 1.0) -> Iterator[None]:
    """Multiply learning rates at every step that an optimiser takes inside a ``with`` block.

    Groups are divided by factor when a step begins, and are whole again when it ends: between steps, schedulers,
    loggers and checkpoints meet the optimiser's own groups and rates.

    Args:
        optimizer: one of torch or timm, or one that wraps another.
        factors: what the rates of these parameters are multiplied by.
        others: what all other rates are multiplied by.

    Raises:
        CurriculumError: this optimiser has one rate for all parameters.
    """
    optimizer = bare_optimizer(optimizer)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise CurriculumError("LBFGS has one learning rate for all parameters. Take another optimiser.")
    divided: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    def divide(*_: Any) -> None:
        divided[:] = [(group, _by_factor(group, factors, others)) for group in optimizer.param_groups]
        # In place, as wrappers share the list.
        optimizer.param_groups[:] = [part for _, parts in divided for part in parts]

    def join(*_: Any) -> None:
        if divided:
            optimizer.param_groups[:] = [group for group, _ in divided]
        for group, parts in divided:
            # Some optimisers count steps in their groups.
            group.update({name: value for name, value in parts[0].items() if name not in _OWN})
        divided.clear()

    hooks = optimizer.register_step_pre_hook(divide), optimizer.register_step_post_hook(join)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        join()  # a step that failed did not


_OWN = ("params", "param_names", "lr")  # what the parts of a group do not share


def _by_factor(group: dict[str, Any], factors: Mapping[nn.Parameter, float], others: float) -> list[dict[str, Any]]:
    """The parts of a group whose rates have the same factor each."""
    lists = [name for name in ("params", "param_names") if name in group]
    members: dict[float, list[tuple[Any, ...]]] = {}
    for member in zip(*(group[name] for name in lists), strict=True):
        members.setdefault(factors.get(member[0], others), []).append(member)
    parts = []
    for factor, some in members.items():
        # Some optimisers count in tensors, in place: each part needs its own.
        own = {name: value.clone() if isinstance(value, Tensor) else value for name, value in group.items()}
        own |= {name: list(values) for name, values in zip(lists, zip(*some, strict=True), strict=True)}
        parts.append({**own, "lr": group["lr"] * factor})
    return parts or [group]
