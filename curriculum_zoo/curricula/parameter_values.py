"""Numbers for the parameters of a network, stated by patterns of their names.

A pattern also takes along what it does not match but what shares a block of the network's ``group_matcher`` with a
match and lies outside of its module: ``conv1`` the first normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..errors import CurriculumError, CurriculumZooError
from ..parameter_patterns import matching_names, no_match_message
from .depth import depth_groups, plain_name, unwrapped

__all__ = ["values_by_parameter"]


def values_by_parameter(
    model: nn.Module, values: Mapping[str, float], what: str, error: type[CurriculumZooError] = CurriculumError
) -> dict[str, float]:
    """Return values keyed by parameter name, for those parameters that patterns match or take along.

    Args:
        model: the network, as it is or wrapped by DDP or ``torch.compile``; names are those of the network inside.
        values: values keyed by patterns of parameter names.
        what: where the patterns stand, for messages.
        error: the error to raise.

    Raises:
        CurriculumZooError: of that type: a pattern matches nothing, or two of different values match one parameter.
    """
    model = unwrapped(model)
    names = [plain_name(name) for name, _ in model.named_parameters()]
    matched: dict[str, str] = {}
    for pattern in values:
        found = matching_names(pattern, names)
        if not found:
            raise error(f"{what}: {no_match_message(pattern, names, type(model).__name__)}")
        for name in found:
            other = matched.setdefault(name, pattern)
            if values[other] != values[pattern]:
                raise error(f"{what}: '{other}' and '{pattern}' both name {name}. Let one of them name fewer.")
    taken = _taken_along(model, names, matched) if matched else {}
    return {name: values[pattern] for name, pattern in (taken | matched).items()}


def _taken_along(model: nn.Module, names: list[str], matched: Mapping[str, str]) -> dict[str, str]:
    """Patterns keyed by the names they take along: of modules without a match that share a block with some that have.

    Args:
        model: the network.
        names: names of all its parameters.
        matched: patterns keyed by the names that match them.
    """
    taken: dict[str, str] = {}
    for block in depth_groups(model, names):
        inside = [name for name in block if name in matched]
        modules = {_module(name) for name in inside}
        taken |= {name: matched[inside[-1]] for name in block if inside and _module(name) not in modules}
    return taken


def _module(name: str) -> str:
    return name.partition(".")[0]
