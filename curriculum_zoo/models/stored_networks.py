"""Networks of stored weights: built as their config says, with the weights fitted to the network that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any, cast

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn

from ..errors import UnknownNameError, WeightsError
from ..registry import BUILT_IN, MODELS, THIS_SESSION
from ..weights.stored import TIMM, StoredWeights
from .bounded_building import build_within
from .builders import Builder, builder_of_entry, builder_of_timm
from .fitting import describe_input, fit_classifier, fit_first_convolution, load_tensors, misfits
from .hierarchical_stage import rename_sums
from .options import check_stored_options

__all__ = ["builder_of_weights", "load_stored"]

# What weights say of themselves in a ``pretrained_cfg``, beyond how images are prepared for them.
DESCRIBED = ("input_size", "test_input_size", "test_crop_pct", "pool_size", "num_classes", "tag", "license")
PLACES = {"url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source"}


def builder_of_weights(weights: StoredWeights, pretrained: bool) -> Builder:
    """Return the builder of the network that a config names: a registered one, ours, timm's or a plugin's.

    Args:
        weights: whose config names it, and holds the options that it was trained with.
        pretrained: whether the weights are loaded into it.

    Raises:
        UnknownNameError: nothing is registered under that name; the text says what to install.
        WeightsError: the config asks for options that no config may, or the weights cannot be had.
        ModelError: it has an option that the network does not take.
    """
    architecture, distribution = weights.architecture, _distribution(weights)
    try:
        if distribution == TIMM:
            builder = builder_of_timm(architecture)
        else:
            builder = builder_of_entry(MODELS.entry(f"{distribution}/{architecture}"))
    except UnknownNameError as error:
        raise UnknownNameError(f"{weights.name}: {_not_registered(distribution, architecture, error)}") from None
    options = _options(builder, weights)
    timms = architecture if distribution == TIMM else None
    load = None
    if pretrained:
        reading = weights.reading()
        load = partial(load_stored, weights=weights, read=reading.tensors, timms=timms)
        if weights.sha256 is None:  # else weights and config are those that this package released
            bounds = reading.size, weights.name, weights.config.get("num_classes")
            builder = replace(builder, function=partial(build_within, builder.function, *bounds))
    return replace(
        builder,
        title=f"{builder.title} in {weights.name}",
        one_size=builder.one_size and not pretrained,
        defaults={option: value for option, value in options.items() if value is not None},
        load=load,
        describe=partial(_describe, weights=weights),
    )


def _distribution(weights: StoredWeights) -> str:
    """Who registers the architecture; where the config, in timm's own format, does not say, timm goes before plugins.

    A plugin's name must not take the place of one of timm's.
    """
    stated = weights.facts.get("distribution")
    if stated is not None:
        return str(stated)
    claims = [entry for entry in MODELS.entries() if entry.name == weights.architecture]
    if any(entry.built_in for entry in claims):
        return BUILT_IN
    known_to_timm = not claims or timm.is_model(weights.architecture)
    return TIMM if known_to_timm else MODELS.entry(weights.architecture).distribution


def _not_registered(distribution: str, architecture: str, error: UnknownNameError) -> str:
    if distribution == THIS_SESSION:
        return f"'{architecture}' was registered by @register_model in a session. Run that code first."
    if distribution in (BUILT_IN, TIMM) or any(entry.distribution == distribution for entry in MODELS.entries()):
        return f"{error} If it is newer than the {distribution} installed here, upgrade that."
    return (
        f"'{architecture}' is registered by the distribution '{distribution}', which is not installed here. If you "
        "trust it, install it by pip."
    )


def _options(builder: Builder, weights: StoredWeights) -> dict[str, Any]:
    """The options that the weights were trained with."""
    stored = weights.config.get("model_args", {})
    check_stored_options(builder, stored, weights.name)
    options: dict[str, Any] = {"num_classes": weights.config.get("num_classes")}
    if "input_size" in weights.cfg:
        options["in_chans"], *size = weights.cfg["input_size"]
        if builder.one_size:
            options["img_size"] = tuple(size)
    return options | stored


def load_stored(
    model: nn.Module,
    options: Mapping[str, Any],
    *,
    weights: StoredWeights,
    read: Callable[[], dict[str, Tensor]],
    timms: str | None = None,
) -> None:
    """Load stored weights into a network, fitted to its channels and classes and checked.

    Args:
        model: the network.
        options: what it was built with.
        weights: what the config says of the weights.
        read: returns their tensors.
        timms: the network's name where it is timm's.

    Raises:
        WeightsError: they cannot be had, or do not fit.
    """
    given = rename_sums(read(), model)
    tensors = dict(given)
    channels, *_ = weights.cfg.get("input_size") or (3,)
    fit_first_convolution(model, tensors, channels)
    if options.get("num_classes") != weights.config.get("num_classes"):
        fit_classifier(model, tensors)
    if timms and (weights.cfg.get("label_offset") or misfits(model, tensors)):
        tensors = _translated_by_timm(timms, options, given, weights)
    load_tensors(model, tensors, source=weights.name)


def _translated_by_timm(
    architecture: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor], weights: StoredWeights
) -> dict[str, Tensor]:
    """The state that timm itself makes of tensors under the names of an older layout, say, or for another image size.

    Timm insists on all tensors only where the number of classes is that of the weights, so that is tried first.
    """
    known = {field.name for field in fields(PretrainedCfg)} - PLACES
    usual = get_pretrained_cfg(architecture, allow_unregistered=True)
    cfg = {**(usual.to_dict() if usual else {}), **weights.cfg, "custom_load": False}
    cfg = {key: value for key, value in cfg.items() if key in known}
    model = None
    for classes in dict.fromkeys((weights.config.get("num_classes"), options.get("num_classes"))):
        source = {"pretrained_cfg": {**cfg, "state_dict": dict(tensors)}, "num_classes": classes}
        try:
            model = timm.create_model(architecture, pretrained=True, **{**options, **source})
        except Exception as error:  # whatever a network's own translation makes of tensors that it does not expect
            reason = " ".join(str(error).split())
            raise WeightsError(f"The weights of {weights.name} do not fit timm's '{architecture}': {reason}") from error
    return model.state_dict() if model else dict(tensors)


def _describe(model: nn.Module, weights: StoredWeights) -> None:
    describe_input(model, weights.cfg, also=DESCRIBED)
    if weights.classes and len(weights.classes) == getattr(model, "num_classes", len(weights.classes)):
        vars(model)["class_names"] = weights.classes
        if callable(getattr(model, "reset_classifier", None)):
            # Of module-level functions, so that the network can be copied and pickled.
            vars(model)["reset_classifier"] = partial(_reset_classifier, model)


def _reset_classifier(model: nn.Module, *arguments: Any, **options: Any) -> Any:
    """As the network's own ``reset_classifier``; the names of the classes that it knew go with its classifier."""
    vars(model).pop("class_names", None)
    vars(model).pop("reset_classifier", None)
    return cast("Callable[..., Any]", model.reset_classifier)(*arguments, **options)
