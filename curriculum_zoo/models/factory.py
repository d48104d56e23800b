"""`create_model`: from a name or address to a network, ours, a plugin's, timm's or one on the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..compat import record_building_options
from ..errors import ModelError, UnknownNameError, WeightsError
from ..registry import MODELS, Entry
from ..weights.address import Address
from ..weights.released import find_weights, list_weights
from ..weights.stored import StoredWeights
from .builders import PLACEMENT, Builder, Load, builder_of_entry, builder_of_timm, unknown_model
from .fitting import describe_input
from .stored_networks import builder_of_weights
from .warm_start import warm_start_from

__all__ = ["create_model"]

FEATURE_OPTIONS = ("features_only", "out_indices", "feature_cls")


def create_model(
    name: str | os.PathLike[str] | Address | StoredWeights,
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    warm_start: str | os.PathLike[str] | Address | StoredWeights | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Create a network by its name, in training mode.

    Args:
        name: one of `list_models`, plugins' included (``hiresnet18``, or ``distribution/name`` where several claim a
            name), with a tag of released weights if wanted (``hiresnet18.<tag>``); ``timm/<any name of timm's>``;
            ``hf-hub:owner/repo[@revision]``; ``local-dir:path`` of a folder with config and weights, or of a run. Or
            the path of a folder of weights, or of a run; or an address or weights that were read already.
        pretrained: whether to load released weights: those of the tag, or of the name.
        num_classes: number of classes; the network's own default where None. Loaded weights of another number leave
            the classifier as it was initialised, as in timm.
        in_chans: channels of the images; the network's own default where None.
        image_size: the side of the images in pixels; reaches only networks that are built for one size, and not
            those whose released weights are loaded, which keep the size that they were trained at.
        warm_start: weights of the plain twin, or of the network itself: any address of weights, or a safetensors or
            state-dict file; see `warm_start_from`.
        **kwargs: every further option of the network's, and those of ``timm.create_model`` such as
            ``features_only=True``; options that are None are left out.

    Returns:
        The network: ``forward`` takes images [N, C, H, W] and gives logits [N, num_classes]. Where stored weights
        name their classes, and it has that many, ``class_names`` is a tuple of those names.

    Raises:
        UnknownNameError: nothing has that name, or the name in a config; the text offers the closest of ours and
            timm's, or says which distribution to install.
        NameClashError: several distributions claim it.
        PluginError: a plugin cannot be imported, fails, or returns no ``nn.Module``.
        ModelError: an option that the network does not take, or a value that it cannot be built with.
        WeightsError: there are no such weights, they cannot be had, or they do not fit.
    """
    title = name.name if isinstance(name, StoredWeights) else str(name)
    if pretrained and warm_start:
        raise ModelError(f"{title}: pretrained=True and warm_start={warm_start!r} both name weights. Choose one.")
    for option, value, least in (
        ("num_classes", num_classes, 0),
        ("in_chans", in_chans, 1),
        ("image_size", image_size, 1),
    ):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ModelError(f"{title}: {option}={value!r} must be an integer of at least {least}.")
    source = name if isinstance(name, (Address, StoredWeights)) else Address.parse(name)
    cache = kwargs.pop("cache_dir", None) if _has_config(source) else None
    builder = _find(source, pretrained, cache)
    size = image_size if builder.one_size else None
    asked = {"num_classes": num_classes, "in_chans": in_chans, "img_size": size, **kwargs}
    options = {**builder.defaults, **{key: value for key, value in asked.items() if value is not None}}
    load = builder.load
    if warm_start:
        start, any_classes = warm_start, num_classes is not None

        def load(model: nn.Module, _: Mapping[str, Any]) -> None:
            warm_start_from(model, start, any_classes=any_classes)

    model = _with_weights(builder, options, load)
    if builder.describe and not warm_start:
        builder.describe(model)
    record_building_options(model, {key: options[key] for key in options if key not in PLACEMENT})
    return model


def _with_weights(builder: Builder, options: dict[str, Any], load: Load | None) -> nn.Module:
    model = builder.build(options)
    if load is None:
        return model
    if not options.get("features_only"):
        load(model, options)
        return model
    # Weights fit the whole network, and feature extraction has taken a part of it away.
    for_all = {option: options[option] for option in options if option not in FEATURE_OPTIONS}
    whole = builder.build(for_all)
    load(whole, for_all)
    state = whole.state_dict()
    part = getattr(model, "model", model)
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    describe_input(model, getattr(whole, "pretrained_cfg", {}))
    return model


def _has_config(source: Address | StoredWeights) -> bool:
    """Whether a config says what network it is, rather than the registry or timm."""
    return isinstance(source, StoredWeights) or source.kind == "hub" or source.local


def _find(source: Address | StoredWeights, pretrained: bool, cache: str | Path | None) -> Builder:
    if isinstance(source, StoredWeights):
        return builder_of_weights(source, pretrained)
    if source.kind == "timm":
        return builder_of_timm(source.place, pretrained)
    if _has_config(source):
        return builder_of_weights(source.resolve(cache=cache), pretrained)
    entry, tag = _entry(source)
    if not (tag or pretrained):
        return builder_of_entry(entry)
    if not entry.built_in:
        return builder_of_entry(entry, pretrained, tag)
    released = find_weights(entry.name, tag)
    if released is None:
        names = ", ".join(f"'{weights.name}'" for weights in list_weights()) or "none yet"
        raise WeightsError(f"No released weights for '{source}'. Of other models there are: {names}.")
    return builder_of_weights(released.open(), pretrained)


def _entry(address: Address) -> tuple[Entry, str]:
    try:
        return address.entry()
    except UnknownNameError as error:
        # Without any built-in entry the registry's own text says what is amiss with the installation.
        installed = any(entry.built_in for entry in MODELS.entries())
        raise UnknownNameError(unknown_model(address) if installed else str(error)) from error
