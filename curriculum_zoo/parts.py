"""Parts of a network, named by shell patterns over the names of its parameters."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from .registry import closest

__all__ = ["no_such_part", "parts_named"]


def parts_named(pattern: str, names: Sequence[str]) -> list[str]:
    """Those of the names that a pattern means; a module's name alone means all of it.

    Args:
        pattern: ``"layer3.*"``, ``"*.bias"``, or ``"layer3"`` for everything in it.
        names: names of parameters and buffers.
    """
    return [name for name in names if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")]


def no_such_part(pattern: str, names: Sequence[str], network: str) -> str:
    """Sentences that say that a pattern means nothing in a network, and what it may have meant.

    Args:
        pattern: the pattern.
        names: what there is.
        network: what to call the network.
    """
    tops = list(dict.fromkeys(name.split(".")[0] for name in names))
    near = closest(pattern.split(".")[0].strip("*?"), tops)
    return f"'{pattern}' names no parameter of {network}. {near} Its parts are {', '.join(f'{top}.*' for top in tops)}."
