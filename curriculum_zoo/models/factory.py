"""`create_model`: from a name to a network, ours, a plugin's, timm's or one on the Hub."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from ..errors import CurriculumZooError, ModelError, UnknownNameError, WeightsError
from ..registry import MODELS, Entry
from .warm_start import describe_input, warm_start_from

__all__ = ["create_model"]

TIMM = "timm/"
SOURCES = ("hf-hub:", "local-dir:")
PLACEMENT = ("device", "dtype")
FEATURE_OPTIONS = ("features_only", "out_indices", "feature_cls")


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
        The network: ``forward`` takes images [N, C, H, W] and gives logits [N, num_classes].

    Raises:
        UnknownNameError: nothing has that name; the text offers the closest of ours and timm's.
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
    network = _find(name, pretrained)
    size = image_size if network.one_size else None
    asked = {"num_classes": num_classes, "in_chans": in_chans, "img_size": size, **kwargs}
    options = {**network.defaults, **{key: value for key, value in asked.items() if value is not None}}
    load = network.load
    if warm_start:
        load = partial(warm_start_from, source=warm_start, any_classes=num_classes is not None)
    model = _with_weights(network, options, load)
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
        load: loads weights into the network that `function` made, if that has not.
    """

    title: str
    function: Callable[..., nn.Module]
    failed: Callable[[str], CurriculumZooError]
    takes: frozenset[str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    one_size: bool = False
    load: Callable[[nn.Module], None] | None = None

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


def _with_weights(network: _Network, options: dict[str, Any], load: Callable[[nn.Module], None] | None) -> nn.Module:
    model = network.build(options)
    if load is None:
        return model
    if not options.get("features_only"):
        load(model)
        return model
    # Weights fit the whole network, and feature extraction has taken a part of it away.
    whole = network.build({option: options[option] for option in options if option not in FEATURE_OPTIONS})
    load(whole)
    state = whole.state_dict()
    part = getattr(model, "model", model)
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    describe_input(model, getattr(whole, "pretrained_cfg", {}))
    return model


def _find(name: str, pretrained: bool) -> _Network:
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), pretrained)
    if name.startswith(SOURCES):
        return _Network(
            title=f"'{name}'",
            function=partial(timm.create_model, name, pretrained=pretrained),
            failed=lambda what: WeightsError(f"'{name}' {what}. It must hold a config.json in timm's format."),
        )
    return _registered(name, pretrained)


def _of_timm(name: str, pretrained: bool) -> _Network:
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


def _registered(name: str, pretrained: bool) -> _Network:
    entry, tag = _entry(name)
    function = entry.load()
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    released = _released(entry, tag) if tag or pretrained else None
    own: dict[str, Any] = {"pretrained": pretrained and released is None}
    if tag and released is None:
        own["pretrained_cfg"] = tag
    if not open_ended:
        for option in [option for option in own if option not in parameters]:
            if own.pop(option):
                raise WeightsError(f"{_title(entry)} has no weights to load: it takes no option '{option}'.")
    known_to_timm = timm.is_model(entry.name) and timm.model_entrypoint(entry.name) is function
    one_size = _for_one_size(function, get_pretrained_cfg(entry.name) if known_to_timm else None)
    return _Network(
        title=_title(entry),
        function=partial(entry.build, nn.Module, **own),
        failed=(lambda what: ModelError(f"{_title(entry)} {what}.")) if entry.built_in else entry.error,
        takes=None if open_ended else frozenset(parameters) - {"pretrained", "pretrained_cfg"},
        one_size=one_size and not (pretrained and released),
        defaults=_options_of(released, one_size),
        load=partial(_load_released, weights=released) if pretrained and released else None,
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


def _released(entry: Entry, tag: str) -> Any:
    """The released weights of a name; None where a plugin is to find its own."""
    from ..hub.weights import list_weights

    there_are = list_weights(f"{entry.name}.*")
    wanted = [weights for weights in there_are if not tag or weights.tag == tag]
    if len(wanted) == 1:
        return wanted[0]
    if not wanted and not entry.built_in:
        return None
    names = ", ".join(f"'{weights.name}'" for weights in there_are or list_weights()) or "none yet"
    asked = f"{entry.name}.{tag}" if tag else entry.name
    problem = "Several released weights fit" if wanted else "No released weights for"
    whose = f"Of {entry.name} there are" if there_are else "Of other models there are"
    raise WeightsError(f"{problem} '{asked}'. {whose}: {names}.")


def _options_of(released: Any, one_size: bool) -> dict[str, Any]:
    """The options that a network was built with whose weights were released."""
    if released is None:
        return {}
    from ..hub.weights import read_config

    config = read_config(released.folder)
    options = {"num_classes": config.get("num_classes")}
    if "input_size" in config.get("pretrained_cfg", {}):
        options["in_chans"], *size = config["pretrained_cfg"]["input_size"]
        if one_size:
            options["img_size"] = tuple(size)
    return {option: value for option, value in {**options, **config.get("model_args", {})}.items() if value is not None}


def _load_released(model: nn.Module, weights: Any) -> None:
    from ..hub.weights import load_released_weights, read_config

    load_released_weights(model, weights.name)
    describe_input(model, read_config(weights.folder).get("pretrained_cfg", {}))
