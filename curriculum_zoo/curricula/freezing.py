"""Which parts of a network do not learn for a while: `Frozen` names them, `freeze` holds them still and thaws them.

Parts are named by shell patterns over parameter names, or by a range of depth, which timm's ``group_matcher`` gives
meaning to on any of its networks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import CurriculumError
from ..parts import no_such_part, parts_named

__all__ = ["Frozen", "depth_groups", "freeze"]

# What torch.compile, activation checkpointing and FSDP put into the names of parameters.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
# Fewer top-level children than this are mere containers of the parts.
_FEW_PARTS = 4
# A name that no matcher knows, so that it lands where timm puts whatever belongs to the head.
_HEAD = "\0"


@dataclass(frozen=True)
class Frozen:
    """Parts of a network that do not learn: those that the patterns name, and those that lie in the range of depth.

    Attributes:
        patterns: shell patterns over parameter names, ``"layer3.*"`` say; a module's name alone means all of it.
        depth: a range in [0, 1]. Part i of n, stem first, lies at depth i/n, and is frozen if low ≤ i/n < high. Parts
            are the coarse groups of timm's ``group_matcher``; where a network has none, its top-level children in
            their order, a normalisation layer counted with the child before it, and ``Sequential`` or ``ModuleList``
            ones opened if there are fewer than 4. The head (what timm's matcher leaves over; else the last child) is
            no part of the depth: it always learns, unless a pattern names it.
        statistics: whether the running statistics of frozen BatchNorm layers go on moving (``"move"``, as in HRT's
            published code), or whether these layers use and keep the ones they have (``"hold"``).
        least_parts: makes the range of depth one for any network: those of fewer parts than this are left alone, being
            too shallow to be divided, and so are those none of whose parts lies in the range. With None that is an
            error.
        norms: whether normalisation layers among these parts are frozen too, or go on learning.

    Raises:
        CurriculumError: neither patterns nor a depth, or a range that is none.
    """

    patterns: tuple[str, ...] = ()
    depth: tuple[float, float] | None = None
    statistics: Literal["move", "hold"] = "move"
    least_parts: int | None = None
    norms: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not all(isinstance(pattern, str) for pattern in self.patterns):
            raise CurriculumError(f"Frozen: patterns expects a tuple of names, got {self.patterns!r}")
        if not self.patterns and self.depth is None:
            raise CurriculumError("Frozen: give patterns of parameter names, or a range of depth, (0.5, 1) say")
        if self.depth is not None and not (len(self.depth) == 2 and 0 <= self.depth[0] < self.depth[1] <= 1):
            raise CurriculumError(f"Frozen: depth must be (low, high) with 0 ≤ low < high ≤ 1, got {self.depth}")
        if self.statistics not in ("move", "hold"):
            raise CurriculumError(f"Frozen: statistics must be 'move' or 'hold', got {self.statistics!r}")

    def __str__(self) -> str:
        depth = () if self.depth is None else (f"depth {self.depth[0]:.3g}–{self.depth[1]:.3g}",)
        notes = {"norms learn": not self.norms, "statistics held": self.statistics == "hold"}
        told = ", ".join(note for note, holds in notes.items() if holds)
        return ", ".join((*self.patterns, *depth)) + (f" ({told})" if told else "")

    def choose(self, model: nn.Module, names: Iterable[str]) -> set[str]:
        """Those of the names, of parameters and buffers of an unwrapped `model`, that belong to these parts.

        Raises:
            CurriculumError: a pattern or the range of depth matches none of them.
        """
        chosen = self._chosen(model, list(names))
        if self.norms:
            return chosen
        norms = tuple(_clean(f"{name}.") for name, module in model.named_modules() if isinstance(module, _NORMS))
        return {name for name in chosen if not name.startswith(norms)}

    def _chosen(self, model: nn.Module, names: list[str]) -> set[str]:
        chosen = {name for pattern in self.patterns for name in _named(pattern, names, model)}
        if self.depth is None:
            return chosen
        groups = depth_groups(model, names)
        if self.least_parts is not None and len(groups) < self.least_parts:
            return chosen
        low, high = self.depth
        # The epsilon takes part 3 of 5 for depth 0.6, which no float equals.
        inside = [group for i, group in enumerate(groups) if low <= i / len(groups) + 1e-9 < high]
        if not inside and self.least_parts is None:
            starts = ", ".join(f"{i / len(groups):.3g}" for i in range(len(groups)))
            raise CurriculumError(
                f"No part of {type(model).__name__} lies at a depth from {low:g} to {high:g}; its {len(groups)} parts "
                f"start at {starts or 'none'}. Widen the range, or name the parts by patterns."
            )
        return chosen.union(*inside)


@contextlib.contextmanager
def freeze(model: nn.Module, frozen: tuple[Frozen, ...]) -> Iterator[None]:
    """Keep parts of a network from learning inside a ``with`` block.

    Their parameters stop requiring gradients and lose those they have, so that optimisers pass them over (momentum
    and weight decay too) and the backward pass computes nothing for their sake alone. On leaving, also by an
    exception, exactly the parameters that were frozen here learn again. Blocks may be nested.

    A network wrapped by DDP or ``torch.compile`` is looked through. DDP must have been told
    ``find_unused_parameters=True``, or be made inside the block: it fixes at its making what it waits for.

    Args:
        model: the network.
        frozen: the parts, together one set; nothing happens when empty.

    Raises:
        CurriculumError: a part names nothing in this network.
    """
    model = _unwrapped(model)
    parameters = {_clean(name): parameter for name, parameter in model.named_parameters()}
    norms = {
        f"{_clean(name)}.running_mean".lstrip("."): module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    stilled: set[str] = set()
    held: set[str] = set()
    for part in frozen:
        chosen = part.choose(model, [*parameters, *norms])
        stilled |= chosen
        if part.statistics == "hold":
            held |= chosen
    learning = [p for name, p in parameters.items() if name in stilled and p.requires_grad]
    moving = [_HeldStatistics(norm) for name, norm in norms.items() if name in held and "train" not in vars(norm)]
    try:
        for parameter in learning:
            parameter.requires_grad_(False).grad = None
        for hold in moving:
            hold.start()
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for hold in moving:
            hold.stop()


class _HeldStatistics:
    """Stands in for a BatchNorm layer's ``train`` method, so that ``model.train()`` leaves the layer in eval mode.

    A stand-in rather than a forward hook: a compiled network does not notice hooks that come later, but does notice
    that ``training`` changed. An object rather than a closure: a deep copy of the network gets its own.
    """

    def __init__(self, norm: nn.Module) -> None:
        self.norm = norm
        self.mode = norm.training

    def __call__(self, mode: bool = True) -> nn.Module:
        self.mode = mode
        return self.norm

    def start(self) -> None:
        self.norm.training = False
        vars(self.norm)["train"] = self

    def stop(self) -> None:
        vars(self.norm).pop("train", None)
        self.norm.training = self.mode


class _Names:
    """What timm's `group_parameters` asks a network for, when only names are to be grouped."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        return ((name, None) for name in self.names)


def depth_groups(model: nn.Module, names: Iterable[str], *, coarse: bool = True) -> list[list[str]]:
    """Names of parameters and buffers by the part of the network they lie in, shallowest first, the head left out.

    Args:
        model: the network, unwrapped.
        names: names of its parameters and buffers; see `Frozen.depth` for what a part is.
        coarse: whether parts are timm's coarse groups, or its fine ones, single blocks.
    """
    names = list(names)
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        return _children_groups(model, names)
    from timm.models import group_parameters

    groups: dict[Any, list[str]] = group_parameters(_Names([*names, _HEAD]), _matcher(matcher, coarse))
    return [group for _, group in sorted(groups.items()) if _HEAD not in group]


def _matcher(matcher: Any, coarse: bool) -> Any:
    """A network's coarse or fine groups; its fine ones where it says, by an assertion, that it has no coarse ones."""
    try:
        return matcher(coarse=coarse)
    except (AssertionError, NotImplementedError, TypeError):
        return matcher()


def _children_groups(model: nn.Module, names: list[str]) -> list[list[str]]:
    children = [(_clean(f"{name}."), child) for name, child in model.named_children()]
    children = [(prefix, child) for prefix, child in children if any(name.startswith(prefix) for name in names)]
    if len(children) > 1:
        children.pop()
    groups = _grouped(children, names)
    if len(groups) < _FEW_PARTS:
        groups = _grouped([inner for prefix, child in children for inner in _opened(prefix, child)], names)
    if groups:
        groups[0] = [name for name in names if "." not in name] + groups[0]
    return groups


def _grouped(children: list[tuple[str, nn.Module]], names: list[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    for prefix, child in children:
        inside = [name for name in names if name.startswith(prefix)]
        if groups and isinstance(child, _NORMS):
            groups[-1] += inside
        elif inside:
            groups.append(inside)
    return groups


def _opened(prefix: str, child: nn.Module) -> list[tuple[str, nn.Module]]:
    if not isinstance(child, nn.Sequential | nn.ModuleList):
        return [(prefix, child)]
    return [(_clean(f"{prefix}{name}."), inner) for name, inner in child.named_children()]


def _named(pattern: str, names: list[str], model: nn.Module) -> list[str]:
    found = parts_named(pattern, names)
    if not found:
        raise CurriculumError(f"The frozen part {no_such_part(pattern, names, type(model).__name__)}")
    return found


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
            continue
        compiled = getattr(model, "_orig_mod", None)
        if not isinstance(compiled, nn.Module):
            return model
        model = compiled


def _clean(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name
