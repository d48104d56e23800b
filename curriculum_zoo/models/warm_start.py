"""Warm starts: a plain network's weights in its hierarchical twin, from timm, the Hub or a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UnknownNameError, WeightsError
from ..hub.download import HUB, open_repository
from ..hub.folder import CONFIG, LOCAL, WEIGHTS, StoredWeights, open_folder
from .cifar_resnet import CifarResNet
from .fitting import describe_input, fit_classifier, fit_first_convolution, layers, load_tensors
from .hiresnet import HiResNet

__all__ = ["warm_start_from"]

COUNTER = "num_batches_tracked"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class _Weights:
    """Tensors by name, as a source has them.

    Attributes:
        tensors: the network's state.
        ordered: whether their order is that of the layers.
        channels: of the images that they were trained on.
        cfg: timm's metadata of the network that they were trained in, where known.
    """

    tensors: dict[str, Tensor]
    ordered: bool
    channels: int = 3
    cfg: Mapping[str, Any] = field(default_factory=dict)


def warm_start_from(model: nn.Module, source: str, *, any_classes: bool = True) -> None:
    """Load a plain twin's weights into a network; in eval mode it then gives the twin's outputs.

    Every tensor must find its place, hierarchical projections apart: those stay as they were initialised, adding
    nothing, unless the source has all of them. BatchNorm's counters, which old files lack, start at zero. As timm
    does, a first convolution for RGB is summed or repeated to the network's number of channels, and a classifier of
    another size keeps the network's own initial weights. The option-A networks for CIFAR also take published weights
    under other names: tensor by tensor, in order.

    Args:
        model: the network.
        source: ``timm/<name>[.<tag>]``, ``hf-hub:owner/repo[@revision]``, ``local-dir:path`` of a folder that holds
            ``model.safetensors``, a ``.safetensors`` file, or a file of ``torch.save`` with a state dict (read without
            running code, ``weights_only``).
        any_classes: whether a classifier of another size may be left out.

    Raises:
        UnknownNameError: timm has no such network.
        WeightsError: the source cannot be read, or does not fit; the text names missing and unexpected tensors.
    """
    weights = _read(source)
    tensors = _in_own_names(model, weights, source) if isinstance(model, CifarResNet) else dict(weights.tensors)
    own = model.state_dict()
    fit_first_convolution(model, tensors, weights.channels)
    if not any_classes:
        _check_classes(model, tensors, source)
    fit_classifier(model, tensors)
    projections = _projected(model)
    # A source with projections must have all of them.
    optional = set() if projections & tensors.keys() else projections
    for name in own:
        if name in optional or name.endswith(COUNTER):
            tensors.setdefault(name, own[name])
    load_tensors(model, tensors, source=f"'{source}'")
    describe_input(model, weights.cfg)


def _read(source: str) -> _Weights:
    if source.startswith("timm/"):
        return _read_timm(source.removeprefix("timm/"))
    if source.startswith(HUB):
        return _read_stored(open_repository(source))
    if source.startswith(LOCAL):
        folder = Path(source.removeprefix(LOCAL))
        return _read_stored(open_folder(folder)) if (folder / CONFIG).exists() else _read_file(folder / WEIGHTS)
    return _read_file(Path(source))


def _read_stored(weights: StoredWeights) -> _Weights:
    cfg = weights.config.get("pretrained_cfg", {})
    channels, *_ = cfg.get("input_size") or (3,)
    return _Weights(weights.tensors(), ordered=False, channels=channels, cfg=cfg)


def _read_timm(name: str) -> _Weights:
    if not timm.is_model(name):
        raise UnknownNameError(f"timm has no network '{name}' to start from. timm.list_models() lists all.")
    try:
        twin = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise WeightsError(f"The weights of timm's '{name}' cannot be had: {type(error).__name__}: {error}") from error
    return _Weights(twin.state_dict(), ordered=True, cfg=twin.pretrained_cfg)


def _read_file(path: Path) -> _Weights:
    if not path.is_file():
        raise WeightsError(
            f"There is no file '{path}' to start from. Give a file, or say 'timm/<name>', 'hf-hub:<owner>/<repo>' or "
            "'local-dir:<folder>'."
        )
    try:
        if path.suffix == ".safetensors":
            # safetensors sorts what it writes; the layers' order is lost.
            return _Weights(dict(load_file(path)), ordered=False)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"'{path}' is neither a safetensors file nor a state dict of torch.save: {error}") from error
    return _Weights(_state_dict(content, path), ordered=True)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors in what ``torch.load`` gave, without the wrappings of training scripts."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"'{path}' holds no state dict: a mapping of names to tensors is due.")
    names = list(content)
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, content.values(), strict=True))


def _projected(model: nn.Module) -> set[str]:
    """The names of a network's hierarchical tensors."""
    if not isinstance(model, HiResNet):
        return set()
    return {f"{name}.{leaf}" for name, part in model.projections().items() for leaf in part.state_dict()}


def _in_own_names(model: CifarResNet, weights: _Weights, source: str) -> dict[str, Tensor]:
    """A published CIFAR ResNet's tensors under our names."""
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
