"""What a name leads to: the function that builds a network, with the options it takes and the errors it gives."""

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
from ..weights.address import Address

__all__ = ["PLACEMENT", "Builder", "Load", "builder_of_entry", "builder_of_timm", "unknown_model"]

PLACEMENT = ("device", "dtype")
"""Options that say where a network is made, and nothing of the network."""

Load = Callable[[nn.Module, Mapping[str, Any]], None]
"""Loads weights into a network that was built with the options given."""


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds a network from options.

    Attributes:
        title: what to call the network in messages.
        function: makes the network from options.
        entry: the function behind the name, whose signature and module say what options there are.
        failed: returns the error of a failure, from what is to be said of the network.
        takes: names of the options that it takes; all where None.
        defaults: options that come with its weights.
        one_size: whether it is built for one size of images, given as ``img_size``.
        load: loads weights into the network that `function` made, where that has not loaded any.
        describe: records on the network what belongs to those weights.
    """

    title: str
    function: Callable[..., nn.Module]
    entry: Callable[..., nn.Module]
    failed: Callable[[str], CurriculumZooError]
    takes: frozenset[str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    one_size: bool = False
    load: Load | None = None
    describe: Callable[[nn.Module], None] | None = None

    def build(self, options: Mapping[str, Any]) -> nn.Module:
        """Build the network; whatever goes wrong becomes one error of ours."""
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


def builder_of_timm(name: str, pretrained: bool = False) -> Builder:
    """Return the builder of a network of timm's.

    Args:
        name: ``architecture[.tag]``, as timm knows it.
        pretrained: whether timm is to load its weights.

    Raises:
        UnknownNameError: timm has no such network, or no weights of that tag.
    """
    if not timm.is_model(name):
        raise UnknownNameError(unknown_model(Address("timm", name)))
    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(f"'{Address('timm', tagged)}'" for tagged in get_arch_pretrained_cfgs(name)) or "none"
        raise UnknownNameError(f"timm has no weights '{name}'. There are: {tags}.") from error
    error_class = WeightsError if pretrained else ModelError
    function = timm.model_entrypoint(name)
    return Builder(
        title=f"timm's '{name}'",
        function=partial(timm.create_model, name, pretrained=pretrained),
        entry=function,
        failed=lambda what: error_class(f"timm's '{name}' {what}."),
        one_size=_for_one_size(function, cfg),
    )


def builder_of_entry(entry: Entry, pretrained: bool = False, tag: str = "") -> Builder:
    """Return the builder of a registered network.

    Args:
        entry: the registry's.
        pretrained: whether a plugin's builder is to load weights, which it finds itself.
        tag: which of them.

    Raises:
        PluginError: it cannot be imported.
        WeightsError: weights are wanted of a builder that takes no such option.
    """
    function = entry.load()
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    own: dict[str, Any] = {"pretrained": pretrained} | ({"pretrained_cfg": tag} if tag else {})
    title = f"The model '{entry.name}'" + ("" if entry.built_in else f" (from {entry.distribution} {entry.version})")
    if not open_ended:
        for option in [option for option in own if option not in parameters]:
            if own.pop(option):
                raise WeightsError(f"{title} has no weights to load: it takes no option '{option}'.")
    known_to_timm = timm.is_model(entry.name) and timm.model_entrypoint(entry.name) is function
    return Builder(
        title=title,
        function=partial(entry.build, nn.Module, **own),
        entry=function,
        failed=(lambda what: ModelError(f"{title} {what}.")) if entry.built_in else entry.error,
        takes=None if open_ended else frozenset(parameters) - {"pretrained", "pretrained_cfg"},
        one_size=_for_one_size(function, get_pretrained_cfg(entry.name) if known_to_timm else None),
    )


def _for_one_size(function: Callable[..., nn.Module], cfg: Any) -> bool:
    return "img_size" in inspect.signature(function).parameters or bool(cfg and cfg.fixed_input_size)


def unknown_model(address: Address) -> str:
    """Return a sentence that nothing has a name, with the closest names of ours and timm's."""
    bare = address.place.rpartition("/")[2]
    ours = difflib.get_close_matches(bare, MODELS.names(), n=2)
    matches = difflib.get_close_matches(bare.partition(".")[0], timm.list_models(), n=2)
    theirs = [str(Address("timm", match)) for match in matches]
    near = theirs + ours if address.kind == "timm" else ours + theirs
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "list_models() and timm.list_models() list all."
    return f"No model named '{address}'. {hint}"
