"""Which options a stored config may give to the function that builds a network: those of its own signature, no others.

Anyone may have written a config, so nothing in it may lead to files or to further downloads: options are taken from an
allow-list, and of that list none that is named like a place or like weights.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from ..errors import ModelError, WeightsError
from .builders import Builder

__all__ = ["check_stored_options", "leads_elsewhere", "options_of"]

_ELSEWHERE = re.compile(
    "(.*_)?(pretrained|checkpoint|ckpt|weights?|state_dict|cache|hub|ur[il]|files?|filename|dir|folder|path)(_.*)?"
)
_OF_A_NETWORK = re.compile("(.*_)?drop_path(_.*)?|use_checkpoint|pretrained_window_sizes?|(.*_)?weight_(init|norm)")
"""Options of timm's networks whose names look like places or weights, and are none."""

_NOT_STORED = frozenset({"device", "dtype", "features_only", "out_indices", "feature_cls", "warm_start", "image_size"})
"""What says where a network is made, or makes half of one: the caller's, never a config's."""

_TIMM_KEYWORDS = frozenset({"bn_eps", "bn_momentum", "bn_tf"})
"""What timm's builders of EfficientNets and their kin read out of their keywords, for all normalisation layers."""

LARGEST_NUMBER = 2**16
"""What a number in a config's options may be; depths, widths and sides of images are all far below."""

_PLACE = re.compile(r"[\w+.-]+:|(\.{1,2}|~)?[/\\]")


def leads_elsewhere(option: str) -> bool:
    """Return whether an option is named like a place or like weights, as ``pretrained_backbone`` is."""
    name = option.lower()
    return bool(_ELSEWHERE.fullmatch(name)) and not _OF_A_NETWORK.fullmatch(name)


def options_of(builder: Builder) -> frozenset[str]:
    """Return the names of the options that a network can be built with.

    Those of its function's signature; where that is open-ended, as timm's are, also those of the class of network
    that the function makes and of its base classes.

    Args:
        builder: the network; one of default options is built where its function is open-ended.
    """
    if builder.takes is not None:
        return builder.takes
    built = type(builder.build({}))
    classes = [kind for kind in built.__mro__ if issubclass(kind, nn.Module) and kind is not nn.Module]
    functions: list[Callable[..., Any]] = [builder.entry]
    functions += [vars(kind)["__init__"] for kind in classes if "__init__" in vars(kind)]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return _TIMM_KEYWORDS | {
        name
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in named and name != "self"
    }


def check_stored_options(builder: Builder, options: Mapping[str, Any], source: str) -> None:
    """Insist on options that a config may have.

    Args:
        builder: the network that they are for.
        options: the config's ``model_args``.
        source: where the config comes from, for messages.

    Raises:
        WeightsError: one names a place or weights, says where a network is made, or its value names a place or is a
            number so large that building by it would fill the memory.
        ModelError: the network takes no such option.
    """
    for option, value in _flattened(options):
        if any(abs(number) > LARGEST_NUMBER for number in _numbers(value)):
            raise WeightsError(
                f"{source}: its config has a number larger than {LARGEST_NUMBER:,} in the option '{option}'. Get it "
                "again from where it came from."
            )
        if option in _NOT_STORED or leads_elsewhere(option):
            raise WeightsError(
                f"{source}: its config has the option '{option}', and none may say where a network is made or where "
                "weights are. Get it again from where it came from."
            )
        if isinstance(value, str) and _PLACE.match(value):
            raise WeightsError(
                f"{source}: its config gives the option '{option}' the place {value!r}, and none may lead elsewhere. "
                "Get it again from where it came from."
            )
    explicit = inspect.signature(builder.entry).parameters
    if options.keys() <= explicit.keys():
        return
    for option in sorted(options.keys() - options_of(builder)):
        raise ModelError(
            f"{builder.title} in {source} takes no option '{option}'. Build the network yourself, and start it from "
            f"these weights: create_model(…, warm_start='{source}')."
        )


def _numbers(value: Any) -> Iterator[float]:
    """Every number of an option's value, in lists within lists too; those of options within it are options' own."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def _flattened(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every option with its value, those within options too."""
    for option, value in options.items():
        yield option, value
        if isinstance(value, Mapping):
            yield from _flattened(value)
