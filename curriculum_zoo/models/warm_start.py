"""Warm starts: a plain network's weights in its hierarchical twin, from timm, the Hub or a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import timm
from torch import Tensor, nn

from ..errors import UnknownNameError, WeightsError, WeightsWarning
from ..weights.address import Address
from ..weights.stored import StoredWeights
from ..weights.tensors import keeps_order, under_own_names
from .cifar_resnet import CifarResNet
from .fitting import describe_input, fit_classifier, fit_first_convolution, layers, load_tensors
from .hierarchical_stage import rename_sums
from .hiresnet import HiResNet

__all__ = ["warm_start_from"]

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class _Weights:
    """Tensors keyed by name, as a source has them.

    Attributes:
        name: what to call the source in messages.
        tensors: the network's state.
        ordered: whether their order is that of the layers.
        channels: of the images that they were trained on.
        cfg: timm's metadata of the network that they were trained in, where known.
    """

    name: str
    tensors: dict[str, Tensor]
    ordered: bool
    channels: int = 3
    cfg: Mapping[str, Any] = field(default_factory=dict)


def warm_start_from(
    model: nn.Module, source: str | os.PathLike[str] | Address | StoredWeights, *, any_classes: bool = True
) -> None:
    """Load a plain twin's weights into a network; in eval mode it then gives the twin's outputs.

    Every tensor must find its place, hierarchical projections apart: those stay as they were initialised, adding
    nothing, unless the source has all of them. BatchNorm's counters, which old files lack, start at zero. As timm
    does, a first convolution for RGB is summed or repeated to the network's number of channels, and a classifier of
    another size keeps the network's own initial weights; so does one that the weights do not have, with a warning.
    The network may have been saved inside of another module, under ``model.backbone`` say. The option-A networks for
    CIFAR also take published weights under other names: tensor by tensor, in order.

    Args:
        model: the network.
        source: any address of weights, a ``.safetensors`` file or one of ``torch.save`` with a state dict (read without
            running code, ``weights_only``) included; or weights that were found already.
        any_classes: whether a classifier of another size may be left out.

    Raises:
        UnknownNameError: timm has no such network.
        WeightsError: the source cannot be read, or does not fit; the text names missing and unexpected tensors.
    """
    weights = _read(source)
    own = model.state_dict()
    inside = under_own_names(weights.tensors, own.keys() - _projected(model), weights.name)
    weights = replace(weights, tensors=rename_sums(inside, model))
    tensors = _in_own_names(model, weights) if isinstance(model, CifarResNet) else dict(weights.tensors)
    fit_first_convolution(model, tensors, weights.channels)
    if not any_classes:
        _check_classes(model, tensors, weights.name)
    fit_classifier(model, tensors)
    _keep_own_classifier(model, tensors, weights.name)
    projections = _projected(model)
    # A source with projections must have all of them.
    optional = set() if projections & tensors.keys() else projections
    for name in own:
        if name in optional or name.endswith(COUNTER):
            tensors.setdefault(name, own[name])
    load_tensors(model, tensors, source=f"'{weights.name}'")
    describe_input(model, weights.cfg)


def _read(source: str | os.PathLike[str] | Address | StoredWeights) -> _Weights:
    if isinstance(source, StoredWeights):
        return _read_stored(source)
    address = source if isinstance(source, Address) else Address.parse(source)
    if address.kind == "timm":
        return _read_timm(address)
    stored = address.find()
    if stored is None:
        raise WeightsError(
            f"There is no file '{address}' to start from, nor released weights of that name. Give a file, or say "
            "'timm/<name>', 'hf-hub:<owner>/<repo>', 'local-dir:<folder>' or '<architecture>.<tag>'."
        )
    return _read_stored(stored)


def _read_stored(weights: StoredWeights) -> _Weights:
    channels, *_ = weights.cfg.get("input_size") or (3,)
    ordered = keeps_order(weights.locate(False))
    return _Weights(weights.name, weights.tensors(), ordered, channels, weights.cfg)


def _read_timm(address: Address) -> _Weights:
    name = address.place
    if not timm.is_model(name):
        raise UnknownNameError(f"timm has no network '{name}' to start from. timm.list_models() lists all.")
    try:
        twin = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise WeightsError(f"The weights of timm's '{name}' cannot be had: {type(error).__name__}: {error}") from error
    return _Weights(str(address), twin.state_dict(), ordered=True, cfg=twin.pretrained_cfg)


def _projected(model: nn.Module) -> set[str]:
    """The names of a network's hierarchical tensors."""
    if not isinstance(model, HiResNet):
        return set()
    return {f"{name}.{leaf}" for name, part in model.projections().items() for leaf in part.state_dict()}


def _in_own_names(model: CifarResNet, weights: _Weights) -> dict[str, Tensor]:
    """A published CIFAR ResNet's tensors under our names."""
    source = weights.name
    given = {name: tensor for name, tensor in weights.tensors.items() if not name.endswith(COUNTER)}
    projections = _projected(model)
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith(COUNTER) and name not in projections
    }
    if 2 * len(own.keys() & given.keys()) >= len(own):
        return _with_own_classifier(weights.tensors, own.keys())
    if not weights.ordered:
        raise WeightsError(
            f"The tensors of '{source}' have other names than those of {type(model).__name__}, and a safetensors file "
            f"does not keep their order. It holds {_some(given)}; due are {_some(own)}. Give a state-dict file."
        )
    if len(given) != len(own):
        raise WeightsError(
            f"'{source}' holds {len(given)} tensors, and the network {len(own)}: it is of another depth, or its "
            "shortcuts have parameters, which option-A shortcuts have not."
        )
    for (name, tensor), (own_name, own_tensor) in zip(given.items(), own.items(), strict=True):
        if tensor.ndim != own_tensor.ndim or (tensor.ndim == 4 and tensor.shape[0] != own_tensor.shape[0]):
            raise WeightsError(
                f"'{source}' does not map onto the network in order: {name} of shape {list(tensor.shape)} meets "
                f"{own_name} of shape {list(own_tensor.shape)}."
            )
    return dict(zip(own, given.values(), strict=True))


def _with_own_classifier(tensors: Mapping[str, Tensor], own: Any) -> dict[str, Tensor]:
    """The classifier, the one matrix there is, under our name: many publish it as ``linear``."""
    matrices = [name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.ndim == 2]
    if len(matrices) != 1 or f"{matrices[0]}.weight" in own:
        return dict(tensors)
    theirs = f"{matrices[0]}."
    return {f"fc.{name.removeprefix(theirs)}" if name.startswith(theirs) else name: tensors[name] for name in tensors}


def _some(names: Mapping[str, Tensor]) -> str:
    return ", ".join(list(names)[:3]) + ", …"


def _keep_own_classifier(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Keep the network's own classifier where the weights have none at all, as self-supervised ones do not."""
    own = model.state_dict()
    missing = [name for layer in layers(model, "classifier") for name in own if name.startswith(f"{layer}.")]
    if missing and not any(name in tensors for name in missing):
        tensors.update({name: own[name] for name in missing})
        warnings.warn(f"'{source}' has no classifier: the network's own is a new one.", WeightsWarning, stacklevel=2)


def _check_classes(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    own = model.state_dict()
    for layer in layers(model, "classifier"):
        weight = f"{layer}.weight"
        if weight in own and weight in tensors and own[weight].shape != tensors[weight].shape:
            raise WeightsError(
                f"'{source}' classifies {len(tensors[weight])} classes, and the network {len(own[weight])}. Say "
                f"num_classes={len(tensors[weight])} to keep its classifier, or num_classes={len(own[weight])} to "
                "start a new one."
            )
