"""Tensors into a network: adapted to its channels and classes as timm does, and checked before any reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import WeightsError

__all__ = ["describe_input", "fit_classifier", "fit_first_convolution", "layers", "load_tensors", "misfits"]

INPUT = ("mean", "std", "interpolation", "crop_pct", "crop_mode")


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load tensors into a network after checking names, shapes, dtypes and finiteness.

    Args:
        model: the network.
        tensors: its whole state.
        source: where they come from, for messages.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape or kind, or not finite.
    """
    problems = misfits(model, tensors)
    if problems:
        listed = "; ".join(sorted(problems)[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise WeightsError(
            f"The weights of {source} do not fit {type(model).__name__}: {listed}. Get them again, or build the "
            "network that they are of."
        )
    model.load_state_dict(dict(tensors))


def misfits(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return what is wrong with tensors as the whole state of a network, a phrase per tensor."""
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    problems += [f"{name} is not the network's" for name in tensors.keys() - own.keys()]
    for name in own.keys() & tensors.keys():
        given, expected = tensors[name], own[name]
        if given.shape != expected.shape:
            problems.append(f"{name} has shape {list(given.shape)}, expected {list(expected.shape)}")
        elif given.is_floating_point() != expected.is_floating_point():
            problems.append(f"{name} is {given.dtype}, expected {expected.dtype}")
        elif given.is_floating_point() and not _finite(given):
            problems.append(f"{name} holds numbers that are not finite")
    return problems


def _finite(tensor: Tensor) -> bool:
    # A sum takes a tenth of the time of looking at each number, and is finite unless one is not, or it overflows.
    wide = tensor if tensor.element_size() > 1 else tensor.float()
    return bool(wide.sum().isfinite() or wide.isfinite().all())


def fit_first_convolution(model: nn.Module, tensors: dict[str, Tensor], channels: int = 3) -> None:
    """Sum or repeat the filters of a first convolution to the network's number of channels, as timm does.

    Args:
        model: the network.
        tensors: the state to be loaded into it; changed in place.
        channels: how many the weights were trained with.
    """
    own = model.state_dict()
    for layer in layers(model, "first_conv"):
        name = f"{layer}.weight"
        if name not in tensors or name not in own or tensors[name].ndim != 4 or own[name].ndim != 4:
            continue
        given, due = tensors[name], own[name].shape[1]
        if given.shape[1] == channels != due:
            times = -(-due // channels)
            repeated = given.repeat(1, times, 1, 1)[:, :due] * (channels / due)
            tensors[name] = given.sum(1, keepdim=True) if due == 1 else repeated


def fit_classifier(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Keep the network's own classifier where that of the weights is for another number of classes.

    Args:
        model: the network.
        tensors: the state to be loaded into it; changed in place.
    """
    own = model.state_dict()
    for layer in layers(model, "classifier"):
        weight = f"{layer}.weight"
        if weight in own and weight in tensors and own[weight].shape == tensors[weight].shape:
            continue
        for name in (weight, f"{layer}.bias"):
            if name in own and name in tensors:
                tensors[name] = own[name]
            elif name not in own:
                tensors.pop(name, None)


def describe_input(model: nn.Module, cfg: Mapping[str, Any], also: tuple[str, ...] = ()) -> None:
    """Record in a network's ``pretrained_cfg`` how images were prepared for the weights that were loaded into it.

    Args:
        model: the network.
        cfg: the ``pretrained_cfg`` that the weights came with.
        also: further fields to take over.
    """
    own = getattr(model, "pretrained_cfg", None)
    if isinstance(own, dict):
        if "input_size" in also and "input_size" in cfg:
            for key in ("test_input_size", "test_crop_pct"):  # said of an architecture's usual images, not of these
                own.pop(key, None)
        own.update({key: cfg[key] for key in (*INPUT, *also) if key in cfg})


def layers(model: nn.Module, key: str) -> tuple[str, ...]:
    """Return names of layers: what a network's ``pretrained_cfg`` has under ``first_conv`` or ``classifier``."""
    value = (getattr(model, "pretrained_cfg", None) or {}).get(key) or ()
    return (value,) if isinstance(value, str) else tuple(value)
