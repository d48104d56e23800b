"""Shell patterns over the names of a network's parameters."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from .registry import closest

__all__ = ["matching_names", "no_match_message"]


def matching_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that match a pattern; a module's name alone matches everything in it.

    Args:
        pattern: ``"layer3.*"``, ``"*.bias"``, or ``"layer3"`` for everything in it.
        names: names of parameters and buffers.
    """
    return [name for name in names if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")]


def no_match_message(pattern: str, names: Sequence[str], network: str) -> str:
    """Return sentences that say that a pattern matches nothing in a network, and which pattern may have been meant.

    Args:
        pattern: the pattern.
        names: names of the network's parameters.
        network: what to call the network.
    """
    tops = list(dict.fromkeys(name.split(".")[0] for name in names))
    near = closest(pattern.split(".")[0].strip("*?"), tops)
    return f"'{pattern}' names no parameter of {network}. {near} Its parts are {', '.join(f'{top}.*' for top in tops)}."
