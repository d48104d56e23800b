"""Where the parts of a network lie: its parts from the first one on, and its head, which belongs to no depth.

timm's networks state their parts in ``group_matcher``. Of any other module the parts are its children in the order in
which they are registered, and what merely holds a network is looked through: a wrapper, a normalisation or a change of
channels before the network, a head behind it. Where that order means nothing, it is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..compat import WRAPPERS, batch_norms
from ..errors import CurriculumError

__all__ = ["NORMS", "Depth", "depth_groups", "depth_of", "plain_name", "unwrapped"]

NORMS = (*batch_norms(), nn.LayerNorm, nn.GroupNorm)
"""Layers of normalisation with parameters."""

# Fewer parts than this are mere containers of the parts.
_FEW_PARTS = 4
# A module of fewer layers with weights than this is a stem or a block, and no network.
_FEW_LAYERS = 4
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# A name that no matcher knows, so that it lands where timm puts whatever belongs to the head.
_HEAD = "\0"

_Child = tuple[str, nn.Module]
"""A module inside of a network, and what the names of its parameters begin with, a dot at the end."""


@dataclass(frozen=True)
class Depth:
    """Names of a network's parameters and buffers by their depth.

    Attributes:
        parts: shallowest first.
        head: what classifies; empty where there is none.
    """

    parts: list[list[str]]
    head: list[str]


def depth_of(model: nn.Module, names: Iterable[str]) -> Depth:
    """Return which parts a network has, in order, and its head.

    Args:
        model: the network, unwrapped, or a module that holds it.
        names: names of its parameters and buffers.

    Raises:
        CurriculumError: its parts have no order that could be found out.
    """
    return _Division(model, list(names), coarse=True).of(model, "", headless=False)


def depth_groups(model: nn.Module, names: Iterable[str]) -> list[list[str]]:
    """Group names of parameters and buffers by the block they lie in, shallowest first, without the head.

    Args:
        model: the network, unwrapped.
        names: names of its parameters and buffers.

    Returns:
        The fine groups of timm's ``group_matcher``, single blocks, without what it leaves over; else the parts of
        `depth_of`; nothing where those have no order.
    """
    try:
        return _Division(model, list(names), coarse=False).of(model, "", headless=False).parts
    except CurriculumError:
        return []


class _Division:
    """Divides a network, and the modules inside of it, into parts.

    Args:
        model: the whole network.
        names: names of its parameters and buffers.
        coarse: whether parts are timm's coarse groups, and all that is no classifier lies in one.
    """

    def __init__(self, model: nn.Module, names: list[str], *, coarse: bool) -> None:
        self.model = model
        self.names = names
        self.coarse = coarse
        self.sizes = {plain_name(name): parameter.numel() for name, parameter in model.named_parameters()}

    def of(self, module: nn.Module, prefix: str, *, headless: bool) -> Depth:
        """Return the depth of what lies in a module; `headless` where the head is known to lie behind it."""
        if _states_groups(module):
            return self._by_groups(module, prefix, headless)
        children = self._children(module, prefix)
        if not children:
            return Depth([self._inside(prefix)] if self._inside(prefix) else [], [])
        network = self._network_among(children)
        if network is None:
            return self._by_children(module, children, prefix, headless)
        others = children[children.index(network) + 1 :]
        norms = list(itertools.takewhile(lambda child: isinstance(child[1], NORMS), others))
        last = [name for inner, _ in norms for name in self._inside(inner)]
        behind = [name for inner, _ in others[len(norms) :] for name in self._inside(inner)]
        classified = any(_weights(child) for _, child in others)
        inside = self.of(network[1], network[0], headless=headless or classified)
        before = set(self._inside(prefix)) - set(self._inside(network[0])) - {*last, *behind}
        parts = _joined([name for name in self.names if name in before], inside.parts)
        head = [] if headless else self._classifier(module, prefix, behind)
        last += [name for name in behind if name not in head]
        return Depth(_joined(last, parts, -1), inside.head + head)

    def _by_groups(self, module: nn.Module, prefix: str, headless: bool) -> Depth:
        """The groups that timm's ``group_matcher`` states."""
        from timm.models import group_parameters

        inside = [name.removeprefix(prefix) for name in self._inside(prefix)]
        groups: dict[Any, list[str]] = group_parameters(_Names([*inside, _HEAD]), _matcher(module, self.coarse))
        ordered = [group for _, group in sorted(groups.items())]
        parts = [group for group in ordered if _HEAD not in group]
        left = [name for group in ordered if _HEAD in group for name in group if name != _HEAD]
        if self.coarse:
            head = [] if headless else _classifier(module, inside, left)
            parts = [kept for part in parts if (kept := [name for name in part if name not in head])]
            parts = _joined([name for name in left if name not in head], parts, -1)
            left = head
        return Depth([[prefix + name for name in part] for part in parts], [prefix + name for name in left])

    def _by_children(self, module: nn.Module, children: list[_Child], prefix: str, headless: bool) -> Depth:
        """The children themselves, opened one by one, the largest first, while they are few."""
        self._refuse_late_images(children)
        heads = [] if headless else self._heads(children)
        modules = children[: len(children) - len(heads)]
        last = [name for inner, _ in heads for name in self._inside(inner)]
        head = self._classifier(module, prefix, last)
        whole = sum(map(self._size, modules))
        parts = self._grouped(modules)
        while len(parts) < _FEW_PARTS:
            closed = [child for child in modules if self._opens(child, whole)]
            if not closed:
                break
            place = modules.index(max(closed, key=self._size))
            inner_prefix, opened = modules[place]
            modules[place : place + 1] = self._children(opened, inner_prefix)
            parts = self._grouped(modules)
        parts = self._with_loose_ones(parts, prefix, last)
        return Depth(_joined([name for name in last if name not in head], parts, -1), head)

    def _classifier(self, module: nn.Module, prefix: str, names: list[str]) -> list[str]:
        """What classifies of what stands last in a module."""
        return [prefix + name for name in _classifier(module, [name.removeprefix(prefix) for name in names])]

    def _with_loose_ones(self, parts: list[list[str]], prefix: str, last: list[str]) -> list[list[str]]:
        """The parts with what opened modules have of their own, beside modules: in the first part inside of each."""
        placed = {name for part in parts for name in part}.union(last)
        for name in self._inside(prefix):
            if name not in placed:
                owner = name.rpartition(".")[0] + "."
                inside = (i for i, part in enumerate(parts) if any(other.startswith(owner) for other in part))
                parts = _joined([name], parts, next(inside, 0))
        return parts

    def _heads(self, children: list[_Child]) -> list[_Child]:
        """The last child, and linear layers beside it that take the same features; none where that is the network."""
        last = children[-1]
        if len(children) == 1 or (2 * self._size(last) > sum(map(self._size, children)) and _looks_around(last[1])):
            return []
        first = len(children) - 1
        while first > 1 and _side_by_side(children[first - 1][1], last[1]):
            first -= 1
        return children[first:]

    def _network_among(self, children: list[_Child]) -> _Child | None:
        """The one child that holds the network, where the others stand before or behind it; None if all are parts.

        It is the only child, the one that states its groups, or one of more than half of all parameters that images
        enter without having met a layer that looks at more than a pixel.
        """
        if len(children) == 1:
            return children[0]
        stating = [child for child in children if any(_states_groups(module) for module in child[1].modules())]
        if len(stating) > 1:
            self._refuse(f"it holds several networks, {' and '.join(prefix[:-1] for prefix, _ in stating)}")
        if stating:
            before = children[: children.index(stating[0])]
            if any(_matrices(child) for _, child in before) or sum(map(self._size, before)) > self._size(stating[0]):
                self._refuse(f"{before[-1][0][:-1]} is registered before the network {stating[0][0][:-1]}")
            return stating[0]
        half = sum(map(self._size, children)) / 2
        for child in children:
            if self._size(child) > half and _looks_around(child[1]) and _layers(child[1]) >= _FEW_LAYERS:
                return child
            if _looks_around(child[1]) or _matrices(child[1]):
                break
        return None

    def _refuse_late_images(self, children: list[_Child]) -> None:
        """Refuse networks side by side: children that images enter when they have been through others already."""
        entered = [child for child in children if _takes_colours(child[1])]
        if len(entered) > 1:
            self._refuse(f"images enter it by {' and by '.join(prefix[:-1] for prefix, _ in entered)}")
        before = children[: children.index(entered[0])] if entered else []
        if any(_matrices(child) for _, child in before):
            self._refuse(f"{before[-1][0][:-1]} is registered before {entered[0][0][:-1]}, where images enter")

    def _refuse(self, why: str) -> None:
        tops = list(dict.fromkeys(name.partition(".")[0] for name in self.names))
        patterns = ", ".join(top if top in self.names else f"{top}.*" for top in tops[:8])
        raise CurriculumError(
            f"The parts of {type(self.model).__name__} have no depth: {why}. Name what is to be frozen by patterns: "
            f"{patterns}{', …' if len(tops) > 8 else ''}."
        )

    def _children(self, module: nn.Module, prefix: str) -> list[_Child]:
        """The children that have any of the names."""
        children = [(plain_name(f"{prefix}{name}."), child) for name, child in module.named_children()]
        return [(inner, child) for inner, child in children if self._inside(inner)]

    def _inside(self, prefix: str) -> list[str]:
        return [name for name in self.names if name.startswith(prefix)]

    def _size(self, child: _Child) -> int:
        return sum(size for name, size in self.sizes.items() if name.startswith(child[0]))

    def _opens(self, child: _Child, whole: int) -> bool:
        """Whether a module only holds parts: a container, or a module that consists of such, or nearly everything."""
        inner = self._children(child[1], child[0])
        if len(inner) == 1 or (inner and isinstance(child[1], _CONTAINERS)):
            return True
        contained = sum(self._size(part) for part in inner if isinstance(part[1], _CONTAINERS))
        return bool(inner) and (2 * contained > self._size(child) or 2 * self._size(child) > whole)

    def _grouped(self, children: list[_Child]) -> list[list[str]]:
        groups: list[list[str]] = []
        for prefix, child in children:
            if groups and isinstance(child, NORMS):
                groups[-1] += self._inside(prefix)
            else:
                groups.append(self._inside(prefix))
        return groups


class _Names:
    """What timm's `group_parameters` asks a network for, when only names are to be grouped."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        return ((name, None) for name in self.names)


def _states_groups(module: nn.Module) -> bool:
    # Asked of the class: wrappers hand on attributes of what they hold, whose names are other ones there.
    return callable(getattr(type(module), "group_matcher", None))


def _matcher(module: nn.Module, coarse: bool) -> Any:
    """A network's coarse or fine groups; its fine ones where it says, by an assertion, that it has no coarse ones."""
    matcher: Callable[..., Any] = module.group_matcher  # type: ignore[assignment]
    try:
        return matcher(coarse=coarse)
    except (AssertionError, NotImplementedError, TypeError):
        return matcher()


def _classifier(module: nn.Module, names: list[str], head: list[str] | None = None) -> list[str]:
    """Those of the names that belong to the layers that classify: those that are new where the classes are.

    Args:
        module: a network, one of timm's perhaps, which state their classifier.
        names: of its parameters and buffers, all that could belong to it.
        head: the names of what its parts leave over, which is the head of a network that states none; all where None.
    """
    cfg: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    stated = cfg.get("classifier") or ()
    layers = [stated] if isinstance(stated, str) else list(stated)
    if not callable(getattr(type(module), "get_classifier", None)):
        return _in_layers(layers, names) or (names if head is None else head)
    own: Any = module.get_classifier()  # type: ignore[operator]
    owned = own if isinstance(own, tuple | list) else (own,)
    classes = getattr(module, "num_classes", None)
    # A statement may leave out the second of two classifiers.
    layers += [
        name
        for name, inner in module.named_modules()
        if any(inner in one.modules() for one in owned if isinstance(one, nn.Module))
        and isinstance(weight := getattr(inner, "weight", None), Tensor)
        and weight.ndim > 1
        and len(weight) == classes
    ]
    return _in_layers(layers, names) or _in_layers(
        [name for name, inner in module.named_modules() if inner in owned], names
    )


def _in_layers(layers: Iterable[str], names: list[str]) -> list[str]:
    prefixes = tuple(plain_name(f"{layer}.") for layer in layers)
    return [name for name in names if f"{name}.".startswith(prefixes)]


def _joined(names: list[str], parts: list[list[str]], place: int = 0) -> list[list[str]]:
    """Return the parts with further names in the one of that index; a part of their own where there is none."""
    if not parts or not names:
        return parts or [names] * bool(names)
    parts = list(parts)
    parts[place] = parts[place] + names if place == -1 else names + parts[place]
    return parts


def _weights(module: nn.Module) -> bool:
    """Whether a module has weights, and not only factors and offsets."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _matrices(module: nn.Module) -> bool:
    return any(parameter.ndim == 2 for parameter in module.parameters())


def _layers(module: nn.Module) -> int:
    """How many layers inside of a module have parameters."""
    return sum(1 for inner in module.modules() if any(True for _ in inner.parameters(recurse=False)))


def _looks_around(module: nn.Module) -> bool:
    """Whether a module has a convolution over more than a pixel."""
    return any(isinstance(inner, _CONVOLUTIONS) and max(inner.kernel_size) > 1 for inner in module.modules())


def _takes_colours(module: nn.Module) -> bool:
    """Whether a module is a network of its own that begins with a convolution over an image's channels."""
    first = next((inner for inner in module.modules() if isinstance(inner, _CONVOLUTIONS)), None)
    entered = first is not None and first.in_channels <= 3 and max(first.kernel_size) > 1
    return entered and _layers(module) >= _FEW_LAYERS


def _side_by_side(one: nn.Module, other: nn.Module) -> bool:
    """Whether two layers are linear ones that take the same features, none of them the other's output."""
    linear = isinstance(one, nn.Linear) and isinstance(other, nn.Linear)
    return linear and one.in_features == other.in_features != one.out_features


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside of DDP and ``torch.compile``."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
            continue
        compiled = getattr(model, "_orig_mod", None)
        if not isinstance(compiled, nn.Module):
            return model
        model = compiled


def plain_name(name: str) -> str:
    """Return a parameter's name without what compiling, checkpointing and FSDP put into it."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
