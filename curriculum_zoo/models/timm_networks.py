"""What every family of networks here shares as timm has it: metadata of released weights, and building with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs
from torch import nn

from ..errors import WeightsError
from ..weights.folder import open_folder, pool_size_at
from ..weights.released import find_weights, list_weights
from ..weights.stored import WEIGHTS
from .stored_networks import load_stored

__all__ = ["build_network", "default_cfgs_of", "load_released"]

# What released weights say of themselves that timm's metadata of their architecture does not.
_STATED = ("input_size", "num_classes", "mean", "std", "interpolation", "crop_pct", "crop_mode", "license")


def default_cfgs_of(cfgs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of architectures and of their released weights, as timm's `register_model` looks for it.

    An architecture's name alone stands for a network without weights, with the classes and size of its own cfg;
    ``architecture.tag`` for those weights. Weights of networks built with options of their own are left out, as a
    name of timm's carries none; `curriculum_zoo.create_model` knows those too.

    Args:
        cfgs: timm's ``pretrained_cfg`` of each, keyed by architecture.
    """
    try:
        released = list_weights()
        stated = {weights.name: dict(weights.open().config) for weights in released}
    except WeightsError as error:
        warnings.warn(f"timm is not told of released weights: {error}", RuntimeWarning, stacklevel=2)
        released = []
    tagged: dict[str, Any] = {}
    for weights in released:
        config = stated[weights.name]
        if weights.architecture in cfgs and not config.get("model_args"):
            own = {key: config["pretrained_cfg"][key] for key in _STATED if key in config.get("pretrained_cfg", {})}
            own |= pool_size_at(cfgs[weights.architecture], own.get("input_size", (3, 1, 1)))
            place = {"file": str(weights.folder / WEIGHTS), "custom_load": True}
            # A larger size for evaluation is said of an architecture's usual images, not of these.
            usual = {key: value for key, value in cfgs[weights.architecture].items() if not key.startswith("test_")}
            tagged[weights.name] = {**usual, **own, **place}
    # The star marks what a name without a tag stands for; timm would take the first that has weights.
    return dict(generate_default_cfgs(tagged | {f"{name}.*": dict(cfg) for name, cfg in cfgs.items()}))


def build_network(
    model_class: Callable[..., nn.Module],
    variant: str,
    pretrained: bool,
    pretrained_cfg: Any = None,
    *,
    features: int = 0,
    **kwargs: Any,
) -> nn.Module:
    """Build a network by timm's `build_model_with_cfg`, which takes further arguments.

    Args:
        model_class: makes it from options; its ``load_pretrained`` is `load_released`.
        variant: its registered name.
        pretrained: whether to load weights: those of `pretrained_cfg`, else the architecture's default ones.
        pretrained_cfg: timm's, or a tag.
        features: how many levels ``forward_intermediates`` gives; 0 where the network has no such.
        **kwargs: options.

    Returns:
        The network; with ``features_only=True`` timm's wrapper, which can turn gradient checkpointing on too.

    Raises:
        WeightsError: there are no such weights, they cannot be had, are others than stated, or do not fit.
    """
    if pretrained and pretrained_cfg is None and not kwargs.get("pretrained_cfg_overlay"):
        default = find_weights(variant)
        pretrained_cfg = default and default.tag
    if features:
        kwargs["feature_cfg"] = {"feature_cls": "getter", "out_indices": tuple(range(features))}
    network: Any = build_model_with_cfg(model_class, variant, pretrained, pretrained_cfg, **kwargs)
    inner: Any = getattr(network, "model", None)
    if kwargs.get("features_only") and hasattr(inner, "set_grad_checkpointing"):
        network.set_grad_checkpointing = inner.set_grad_checkpointing
    return network


def load_released(model: nn.Module, path: str) -> None:
    """Load weights whose format timm does not know, with the checks of `create_model`: timm calls this.

    Args:
        model: the network, whose ``pretrained_cfg`` says which weights.
        path: their file.

    Raises:
        WeightsError: they cannot be had, their SHA-256 is another, or they do not fit.
    """
    file = Path(path)
    known = next((weights for weights in list_weights() if weights.folder == file.parent), None)
    stored = known.open() if known else open_folder(file.parent)
    options = {"num_classes": getattr(model, "num_classes", None)}
    load_stored(model, options, weights=stored, read=stored.tensors)
