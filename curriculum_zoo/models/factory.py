"""`create_model`: from a name to a network, ours, a plugin's, timm's or one on the Hub."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg, get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import Tensor, nn

from ..errors import CurriculumZooError, ModelError, UnknownNameError, WeightsError
from ..hub.download import HUB
from ..hub.folder import LOCAL, StoredWeights
from ..hub.weights import find_weights, list_weights, open_weights
from ..registry import BUILT_IN, MODELS, THIS_SESSION, Entry
from .fitting import describe_input, fit_classifier, fit_first_convolution, load_tensors, misfits
from .warm_start import warm_start_from

__all__ = ["create_model"]

TIMM = "timm/"
PLACEMENT = ("device", "dtype")
FEATURE_OPTIONS = ("features_only", "out_indices", "feature_cls")
# What weights say of themselves in a ``pretrained_cfg``, beyond how images are prepared for them.
DESCRIBED = ("input_size", "test_input_size", "test_crop_pct", "pool_size", "num_classes", "tag", "license")
PLACES = {"url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source"}

Load = Callable[[nn.Module, Mapping[str, Any]], None]
Reader = Callable[[], dict[str, Tensor]]


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    warm_start: str | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Create a network by its name, in training mode.

    Args:
        name: one of `list_models`, plugins' included (``hiresnet18``, or ``distribution/name`` where several claim a
            name), with a tag of released weights if wanted (``hiresnet18.<tag>``); ``timm/<any name of timm's>``;
            ``hf-hub:owner/repo[@revision]``; ``local-dir:path`` of a folder with config and weights.
        pretrained: whether to load released weights: those of the tag, or of the name.
        num_classes: number of classes; the network's own default where None. Loaded weights of another number leave
            the classifier as it was initialised, as in timm.
        in_chans: channels of the images; the network's own default where None.
        image_size: the side of the images in pixels; reaches only networks that are built for one size, and not
            those whose released weights are loaded, which keep the size that they were trained at.
        warm_start: weights of the plain twin, or of the network itself: ``timm/<name>``, ``hf-hub:owner/repo``,
            ``local-dir:path``, or a safetensors or state-dict file; see `warm_start_from`.
        **kwargs: every further option of the network's, and those of ``timm.create_model`` such as
            ``features_only=True``; options that are None are left out.

    Returns:
        The network: ``forward`` takes images [N, C, H, W] and gives logits [N, num_classes]. Where stored weights
        name their classes, and it has that many, ``class_names`` is a tuple of those names.

    Raises:
        UnknownNameError: nothing has that name, or the name in a config; the text offers the closest of ours and
            timm's, or tells which distribution to install.
        NameClashError: several distributions claim it.
        PluginError: a plugin cannot be imported, fails, or returns no ``nn.Module``.
        ModelError: an option that the network does not take, or a value that it cannot be built with.
        WeightsError: there are no such weights, they cannot be had, or they do not fit.
    """
    if pretrained and warm_start:
        raise ModelError(f"{name}: pretrained=True and warm_start={warm_start!r} both name weights. Choose one.")
    for option, value, least in (
        ("num_classes", num_classes, 0),
        ("in_chans", in_chans, 1),
        ("image_size", image_size, 1),
    ):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ModelError(f"{name}: {option}={value!r} must be an integer of at least {least}.")
    cache = kwargs.pop("cache_dir", None) if name.startswith((HUB, LOCAL)) else None
    network = _find(name, pretrained, cache)
    size = image_size if network.one_size else None
    asked = {"num_classes": num_classes, "in_chans": in_chans, "img_size": size, **kwargs}
    options = {**network.defaults, **{key: value for key, value in asked.items() if value is not None}}
    load = network.load
    if warm_start:
        source, any_classes = warm_start, num_classes is not None

        def load(model: nn.Module, _: Mapping[str, Any]) -> None:
            warm_start_from(model, source, any_classes=any_classes)

    model = _with_weights(network, options, load)
    if network.describe and not warm_start:
        network.describe(model)
    # What timm's own create_model leaves, for its push_to_hf_hub to write into config.json.
    vars(model).setdefault("_model_args", {key: options[key] for key in options if key not in PLACEMENT})
    return model


@dataclass(frozen=True, kw_only=True)
class _Network:
    """What a name leads to.

    Attributes:
        title: what to call it in messages.
        function: makes the network from options.
        failed: the error of a failure, from what is to be said of the network.
        takes: the options that it takes; all where None.
        defaults: options that come with its weights.
        one_size: whether it is built for one size of images, told as ``img_size``.
        load: loads weights into the network that `function` made from options, if that has not.
        describe: lets the network tell what belongs to those weights.
    """

    title: str
    function: Callable[..., nn.Module]
    failed: Callable[[str], CurriculumZooError]
    takes: frozenset[str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    one_size: bool = False
    load: Load | None = None
    describe: Callable[[nn.Module], None] | None = None

    def build(self, options: Mapping[str, Any]) -> nn.Module:
        """Make the network; whatever goes wrong becomes one error of ours."""
        given = self._taken(options)
        try:
            return self.function(**given)
        except CurriculumZooError:
            raise
        except TypeError as error:
            unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unexpected and unexpected[1] in given:
                raise ModelError(f"{self.title} takes no option '{unexpected[1]}'. Leave it out.") from error
            raise self.failed(_failure(given, error)) from error
        except Exception as error:
            raise self.failed(_failure(given, error)) from error

    def _taken(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if self.takes is None:
            return dict(options)
        for option, value in options.items():
            # Three channels are what a network takes that has nothing to say about them.
            if option not in self.takes and (option, value) != ("in_chans", 3):
                there_are = ", ".join(sorted(self.takes)) or "none"
                raise ModelError(f"{self.title} takes no option '{option}'; it takes: {there_are}.")
        return {option: value for option, value in options.items() if option in self.takes}


def _failure(options: Mapping[str, Any], error: Exception) -> str:
    given = ", ".join(f"{option}={value!r}" for option, value in options.items()) or "its defaults"
    return f"cannot be built with {given}: {type(error).__name__}: {error}"


def _with_weights(network: _Network, options: dict[str, Any], load: Load | None) -> nn.Module:
    model = network.build(options)
    if load is None:
        return model
    if not options.get("features_only"):
        load(model, options)
        return model
    # Weights fit the whole network, and feature extraction has taken a part of it away.
    for_all = {option: options[option] for option in options if option not in FEATURE_OPTIONS}
    whole = network.build(for_all)
    load(whole, for_all)
    state = whole.state_dict()
    part = getattr(model, "model", model)
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    describe_input(model, getattr(whole, "pretrained_cfg", {}))
    return model


def _find(name: str, pretrained: bool, cache: str | Path | None) -> _Network:
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), pretrained)
    if name.startswith((HUB, LOCAL)):
        return _stored(open_weights(name, cache=cache), pretrained)
    entry, tag = _entry(name)
    if not (tag or pretrained):
        return _registered(entry)
    if not entry.built_in:
        return _registered(entry, pretrained, tag)
    released = find_weights(entry.name, tag)
    if released is None:
        names = ", ".join(f"'{weights.name}'" for weights in list_weights()) or "none yet"
        raise WeightsError(f"No released weights for '{name}'. Of other models there are: {names}.")
    return _with_stored(_registered(entry), released.open(), pretrained)


def _stored(weights: StoredWeights, pretrained: bool) -> _Network:
    """The network that a config names: a registered one, ours, timm's or a plugin's."""
    architecture = weights.config["architecture"]
    name = _qualified(architecture, weights.facts.get("distribution"))
    timms = architecture if name.startswith(TIMM) else None
    try:
        network = _of_timm(architecture) if timms else _registered(MODELS.entry(name))
    except UnknownNameError as error:
        raise UnknownNameError(f"{weights.name}: {_not_registered(name, error)}") from None
    return _with_stored(network, weights, pretrained, timms)


def _qualified(architecture: str, distribution: str | None) -> str:
    """The name here of a config's architecture; timm's own format tells no distribution."""
    if distribution is None and any(entry.built_in and entry.name == architecture for entry in MODELS.entries()):
        distribution = BUILT_IN
    if distribution is None and not timm.is_model(architecture) and architecture in MODELS.names():
        return architecture
    return f"{distribution or TIMM.rstrip('/')}/{architecture}"


def _not_registered(name: str, error: UnknownNameError) -> str:
    distribution, _, architecture = name.partition("/")
    if distribution == THIS_SESSION:
        return f"'{architecture}' was registered by @register_model in a session. Run that code first."
    if distribution in (BUILT_IN, TIMM.rstrip("/")) or any(e.distribution == distribution for e in MODELS.entries()):
        return f"{error} If it is newer than the {distribution} installed here, upgrade that."
    return (
        f"'{architecture}' is registered by the distribution '{distribution}', which is not installed here. If you "
        "trust it, install it by pip."
    )


def _with_stored(network: _Network, weights: StoredWeights, pretrained: bool, timms: str | None = None) -> _Network:
    """A network with the options that its weights were trained with, and those weights, where wanted, on loading."""
    cfg = weights.config.get("pretrained_cfg", {})
    options = {"num_classes": weights.config.get("num_classes")}
    if "input_size" in cfg:
        options["in_chans"], *size = cfg["input_size"]
        if network.one_size:
            options["img_size"] = tuple(size)
    options |= weights.config.get("model_args", {})
    load = partial(_load_stored, weights=weights, read=weights.reading(), timms=timms) if pretrained else None
    return replace(
        network,
        title=f"{network.title} in {weights.name}" if weights.name.startswith((HUB, LOCAL)) else network.title,
        one_size=network.one_size and not pretrained,
        defaults={option: value for option, value in options.items() if value is not None},
        load=load,
        describe=partial(_describe, weights=weights),
    )


def _load_stored(
    model: nn.Module, options: Mapping[str, Any], *, weights: StoredWeights, read: Reader, timms: str | None
) -> None:
    given = read()
    cfg = weights.config.get("pretrained_cfg", {})
    tensors = dict(given)
    channels, *_ = cfg.get("input_size") or (3,)
    fit_first_convolution(model, tensors, channels)
    if options.get("num_classes") != weights.config.get("num_classes"):
        fit_classifier(model, tensors)
    if timms and (cfg.get("label_offset") or misfits(model, tensors)):
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
    cfg = {**(usual.to_dict() if usual else {}), **weights.config.get("pretrained_cfg", {}), "custom_load": False}
    cfg = {key: value for key, value in cfg.items() if key in known}
    model = None
    for classes in dict.fromkeys((weights.config.get("num_classes"), options.get("num_classes"))):
        source = {"pretrained_cfg": {**cfg, "state_dict": dict(tensors)}, "num_classes": classes}
        try:
            model = timm.create_model(architecture, pretrained=True, **{**options, **source})
        except Exception as error:  # whatever a network's own translation makes of tensors that it does not expect
            told = " ".join(str(error).split())
            raise WeightsError(f"The weights of {weights.name} do not fit timm's '{architecture}': {told}") from error
    return model.state_dict() if model else dict(tensors)


def _describe(model: nn.Module, weights: StoredWeights) -> None:
    describe_input(model, weights.config.get("pretrained_cfg", {}), also=DESCRIBED)
    if weights.classes and len(weights.classes) == getattr(model, "num_classes", len(weights.classes)):
        vars(model)["class_names"] = weights.classes


def _of_timm(name: str, pretrained: bool = False) -> _Network:
    if not timm.is_model(name):
        raise UnknownNameError(_unknown(TIMM + name))
    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(f"'{TIMM}{tagged}'" for tagged in get_arch_pretrained_cfgs(name)) or "none"
        raise UnknownNameError(f"timm has no weights '{name}'. There are: {tags}.") from error
    error_class = WeightsError if pretrained else ModelError
    return _Network(
        title=f"timm's '{name}'",
        function=partial(timm.create_model, name, pretrained=pretrained),
        failed=lambda what: error_class(f"timm's '{name}' {what}."),
        one_size=_for_one_size(timm.model_entrypoint(name), cfg),
    )


def _registered(entry: Entry, pretrained: bool = False, tag: str = "") -> _Network:
    """A network by its entry in the registry; a plugin's finds its own weights, where they are wanted."""
    function = entry.load()
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    own: dict[str, Any] = {"pretrained": pretrained} | ({"pretrained_cfg": tag} if tag else {})
    if not open_ended:
        for option in [option for option in own if option not in parameters]:
            if own.pop(option):
                raise WeightsError(f"{_title(entry)} has no weights to load: it takes no option '{option}'.")
    known_to_timm = timm.is_model(entry.name) and timm.model_entrypoint(entry.name) is function
    return _Network(
        title=_title(entry),
        function=partial(entry.build, nn.Module, **own),
        failed=(lambda what: ModelError(f"{_title(entry)} {what}.")) if entry.built_in else entry.error,
        takes=None if open_ended else frozenset(parameters) - {"pretrained", "pretrained_cfg"},
        one_size=_for_one_size(function, get_pretrained_cfg(entry.name) if known_to_timm else None),
    )


def _entry(name: str) -> tuple[Entry, str]:
    """The registry's entry and the tag of a name; the tag is empty where the name has none."""
    try:
        return MODELS.entry(name), ""
    except UnknownNameError as error:
        path, slash, last = name.rpartition("/")
        architecture, dot, tag = last.partition(".")
        if dot:
            try:
                return MODELS.entry(f"{path}{slash}{architecture}"), tag
            except UnknownNameError:
                pass
        # Without any built-in entry the registry's own text says what is amiss with the installation.
        installed = any(entry.built_in for entry in MODELS.entries())
        raise UnknownNameError(_unknown(name) if installed else str(error)) from error


def _title(entry: Entry) -> str:
    origin = "" if entry.built_in else f" (from {entry.distribution} {entry.version})"
    return f"The model '{entry.name}'{origin}"


def _for_one_size(function: Callable[..., nn.Module], cfg: Any) -> bool:
    return "img_size" in inspect.signature(function).parameters or bool(cfg and cfg.fixed_input_size)


def _unknown(name: str) -> str:
    bare = name.removeprefix(TIMM).rpartition("/")[2]
    ours = difflib.get_close_matches(bare, MODELS.names(), n=2)
    theirs = [TIMM + match for match in difflib.get_close_matches(bare.partition(".")[0], timm.list_models(), n=2)]
    near = theirs + ours if name.startswith(TIMM) else ours + theirs
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "list_models() and timm.list_models() list all."
    return f"No model named '{name}'. {hint}"
