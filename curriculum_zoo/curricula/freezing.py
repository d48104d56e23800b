"""Which parts of a network do not learn for a while: `Frozen` names them, `freeze` holds them still and thaws them.

Parts are named by shell patterns over parameter names, or by a range of depth, which `curriculum_zoo.curricula.depth`
gives meaning to.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..compat import batch_norms
from ..errors import CurriculumError, CurriculumWarning
from ..parameter_patterns import matching_names, no_match_message
from .depth import NORMS, Depth, depth_of, plain_name, unwrapped

__all__ = ["Frozen", "freeze"]

# Of a head of several layers that learns where all else is frozen, this share of the parameters is told.
_LARGE_HEAD = 0.1


@dataclass(frozen=True)
class Frozen:
    """Parts of a network that do not learn: those that the patterns name, and those that lie in the range of depth.

    Attributes:
        patterns: shell patterns over parameter names, ``"layer3.*"`` say; a module's name alone means all of it.
        depth: a range in [0, 1]. Part i of n, stem first, lies at depth i/n, and is frozen if low ≤ i/n < high. Parts
            are the coarse groups of timm's ``group_matcher``, those of the one network inside where the model only
            holds one; else the children in the order in which they are registered, the largest ones opened while there
            are fewer than 4, a normalisation layer counted with the child before it. The head is no part of the depth
            and always learns, unless a pattern names it: the classifier of a timm network, what stands behind a network
            that a model holds, else the last child.
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
        stated = ", ".join(note for note, holds in notes.items() if holds)
        return ", ".join((*self.patterns, *depth)) + (f" ({stated})" if stated else "")

    def choose(self, model: nn.Module, names: Iterable[str]) -> set[str]:
        """Return those of the names that belong to these parts.

        Args:
            model: the network, unwrapped.
            names: names of its parameters and buffers.

        Raises:
            CurriculumError: a pattern or the range of depth matches none of them.
        """
        chosen = self._chosen(model, list(names))
        if self.norms:
            return chosen
        norms = tuple(plain_name(f"{name}.") for name, module in model.named_modules() if isinstance(module, NORMS))
        return {name for name in chosen if not name.startswith(norms)}

    def _chosen(self, model: nn.Module, names: list[str]) -> set[str]:
        chosen = {name for pattern in self.patterns for name in _named(pattern, names, model)}
        if self.depth is None:
            return chosen
        depth = depth_of(model, names)
        inside = self._inside(depth.parts, type(model).__name__)
        if inside:
            _warn_of_what_learns(model, depth, inside, f"depth {self.depth[0]:g}–{self.depth[1]:g}")
        return chosen.union(*inside)

    def _inside(self, parts: list[list[str]], network: str) -> list[list[str]]:
        """Those of the parts that lie in the range of depth."""
        low, high = self.depth or (0.0, 0.0)
        # The epsilon takes part 3 of 5 for depth 0.6, which no float equals.
        inside = [part for i, part in enumerate(parts) if low <= i / len(parts) + 1e-9 < high]
        if self.least_parts is None:
            if not inside:
                starts = ", ".join(f"{i / len(parts):.3g}" for i in range(len(parts)))
                raise CurriculumError(
                    f"No part of {network} lies at a depth from {low:g} to {high:g}; its {len(parts)} parts start at "
                    f"{starts or 'none'}. Widen the range, or name the parts by patterns."
                )
            return inside
        if len(parts) < self.least_parts:
            _warn(
                f"Nothing of {network} is frozen: it has {len(parts)} parts, and is divided from {self.least_parts} "
                "on. To freeze some of it, name parts by patterns."
            )
            return []
        return inside


@contextlib.contextmanager
def freeze(model: nn.Module, frozen: tuple[Frozen, ...]) -> Iterator[None]:
    """Keep parts of a network from learning inside a ``with`` block.

    Their parameters stop requiring gradients and lose those they have, so that optimisers pass them over (momentum
    and weight decay too) and the backward pass computes nothing for their sake alone. On leaving, also by an
    exception, exactly the parameters that were frozen here learn again. Blocks may be nested.

    A network wrapped by DDP or ``torch.compile`` is unwrapped. DDP must have been made with
    ``find_unused_parameters=True``, or be made inside the block: when it is made, it fixes what it waits for.

    A copy of the network that is made or saved inside the block has no BatchNorm layers on hold; its frozen parameters
    do not require gradients until ``copied.requires_grad_()``.

    Args:
        model: the network.
        frozen: the parts, together one set; nothing happens when empty.

    Raises:
        CurriculumError: a part names nothing in this network, nothing would be left that learns, or the network has
            lazy layers that know no shape yet; inside the block, LBFGS takes a step, which moves all parameters as one.
    """
    if not frozen:
        yield
        return
    model = unwrapped(model)
    _refuse_lazy(model)
    parameters = {plain_name(name): parameter for name, parameter in model.named_parameters()}
    norms = {
        f"{plain_name(name)}.running_mean".lstrip("."): module
        for name, module in model.named_modules()
        if isinstance(module, batch_norms()) and module.running_mean is not None
    }
    stilled: set[str] = set()
    held: set[str] = set()
    for part in frozen:
        chosen = part.choose(model, [*parameters, *norms])
        stilled |= chosen
        if part.statistics == "hold":
            held |= chosen
    learning = [p for name, p in parameters.items() if name in stilled and p.requires_grad]
    if learning and not any(p.requires_grad for name, p in parameters.items() if name not in stilled):
        raise CurriculumError(
            f"Nothing of {type(model).__name__} would learn: {'; '.join(map(str, frozen))} are all of its parameters. "
            f"Name fewer of its parts, which are {', '.join(f'{name}.*' for name, _ in model.named_children())}."
        )
    moving = [_HeldStatistics(norm) for name, norm in norms.items() if name in held and "train" not in vars(norm)]
    refusal = register_optimizer_step_pre_hook(_refusing_lbfgs(learning))
    try:
        for parameter in learning:
            parameter.requires_grad_(False).grad = None
        for hold in moving:
            hold.start()
        yield
    finally:
        refusal.remove()
        for parameter in learning:
            parameter.requires_grad_(True)
        for hold in moving:
            hold.stop()


class _HeldStatistics:
    """Stands in for a BatchNorm layer's ``train`` method, so that ``model.train()`` leaves the layer in eval mode.

    A stand-in rather than a forward hook: a compiled network does not notice hooks that come later, but does notice
    that ``training`` changed. Copying and pickling meet a second stand-in, so that copies are the layer as it was.
    """

    def __init__(self, norm: nn.Module) -> None:
        self.norm = norm
        self.mode = norm.training

    def __call__(self, mode: bool = True) -> nn.Module:
        self.mode = mode
        return self.norm

    def reduce(self, protocol: Any) -> tuple[Any, ...]:
        """Take the place of the layer's ``__reduce_ex__``, which `copy` and `pickle` ask for on the layer itself."""
        reduced: Any = type(self.norm).__reduce_ex__(self.norm, protocol)
        function, arguments, state, *rest = reduced
        own = {name: value for name, value in state.items() if name not in ("train", "__reduce_ex__")}
        return function, arguments, {**own, "training": self.mode}, *rest

    def start(self) -> None:
        self.norm.training = False
        vars(self.norm).update({"train": self, "__reduce_ex__": self.reduce})

    def stop(self) -> None:
        for name in ("train", "__reduce_ex__"):
            vars(self.norm).pop(name, None)
        self.norm.training = self.mode


def _refuse_lazy(model: nn.Module) -> None:
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise CurriculumError(
            f"{type(model).__name__} has lazy layers, whose shape is not known yet ({', '.join(lazy[:3])}), so nothing "
            "can be frozen. Show it one batch of images before training begins."
        )


def _refusing_lbfgs(stilled: Iterable[Tensor]) -> Any:
    """A hook for every optimiser's step that refuses the one that moves parameters without a gradient too."""
    held = set(map(id, stilled))

    def refuse(optimizer: Optimizer, *_: Any) -> None:
        if isinstance(optimizer, LBFGS) and any(
            id(p) in held for group in optimizer.param_groups for p in group["params"]
        ):
            raise CurriculumError(
                "LBFGS moves all parameters along one direction, frozen ones too. Take another optimiser, or give it "
                "those parameters alone that always learn."
            )

    return refuse


def _warn_of_what_learns(model: nn.Module, depth: Depth, inside: list[list[str]], asked: str) -> None:
    """Warn of a range of depth that leaves less, or more, to learn than its words say."""
    sizes = {plain_name(name): parameter.numel() for name, parameter in model.named_parameters()}
    outside = [part for part in depth.parts if part not in inside]
    head = [name for name in depth.head if name in sizes]
    network = type(model).__name__
    if outside and not any(name in sizes for part in outside for name in part):
        _warn(
            f"Of {network}, the head alone learns, though {asked} is to be frozen: the other parts have no parameters."
        )
    layers = dict.fromkeys(name.rpartition(".")[0] for name in head)
    share = sum(sizes[name] for name in head) / max(1, sum(sizes.values()))
    if not outside and len(layers) > 1 and share > _LARGE_HEAD:
        _warn(
            f"The head of {network} holds {share:.0%} of its parameters, and all of it learns: {', '.join(layers)}. "
            "If that is too much, name what is to be frozen by patterns."
        )


def _warn(message: str) -> None:
    warnings.warn(message, CurriculumWarning, stacklevel=2)


def _named(pattern: str, names: list[str], model: nn.Module) -> list[str]:
    found = matching_names(pattern, names)
    if not found:
        raise CurriculumError(f"The frozen part {no_match_message(pattern, names, type(model).__name__)}")
    return found
