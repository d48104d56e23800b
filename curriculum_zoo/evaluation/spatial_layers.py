"""Layers whose output is a grid over the image: how one lays its cells out, which one to look at, and a tap in it.

Convolutional networks give maps [N, C, h, w], some vision transformers [N, h, w, C], most of them tokens [N, T, C] with
a class token or registers before the grid. All of these become maps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..curricula.depth import depth_groups
from ..errors import ModelError
from ..registry import closest

__all__ = ["Grid", "find_layer", "grid_of", "named_layer", "tapped"]

PREFIXES = (0, 1, 2, 3, 4, 5)
"""Numbers of tokens before the grid that are tried beside the one that a network states."""

_FIXED = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)  # their grid is not the image's own


@dataclass(frozen=True)
class Grid:
    """How an output holds a grid of features.

    Attributes:
        order: ``"NCHW"``, ``"NHWC"``, or ``"tokens"`` [N, T, C].
        height: cells from top to bottom.
        width: cells from left to right.
        prefix: tokens before those of the grid.
    """

    order: Literal["NCHW", "NHWC", "tokens"]
    height: int
    width: int
    prefix: int = 0

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.height * self.width

    def maps(self, features: Tensor) -> Tensor:
        """Return the features as [N, C, height, width]."""
        if self.order == "NCHW":
            return features
        if self.order == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features[:, self.prefix :].transpose(1, 2).unflatten(2, (self.height, self.width))

    def features(self, maps: Tensor, like: Tensor) -> Tensor:
        """Return maps as the layer gives its features.

        Args:
            maps: [N, C, height, width].
            like: the layer's own features, for the tokens before the grid.
        """
        if self.order == "NCHW":
            return maps
        if self.order == "NHWC":
            return maps.permute(0, 2, 3, 1)
        return torch.cat((like[:, : self.prefix], maps.flatten(2).transpose(1, 2)), 1)


def grid_of(features: Tensor, images: Tensor, prefix: int | None = None) -> Grid | None:
    """Return how a layer's features lie over the images that the network was given; None where they do not.

    Their sides must have the proportion of the images' sides, but for what rounding takes of a side that is no
    multiple.

    Args:
        features: what the layer gave.
        images: [N, C, H, W].
        prefix: tokens that the network states to stand before its grid; they do not in all of its layers.
    """
    if features.ndim not in (3, 4) or len(features) != len(images):
        return None
    high, wide = images.shape[2:]
    if features.ndim == 4:
        _, first, second, third = features.shape
        if _proportional(second, third, high, wide):
            return Grid("NCHW", second, third)
        return Grid("NHWC", first, second) if _proportional(first, second, high, wide) else None
    for before in dict.fromkeys((prefix or 0, *PREFIXES)):
        cells = features.shape[1] - before
        rows = round(math.sqrt(max(0, cells) * high / wide))
        if rows and cells % rows == 0 and _proportional(rows, cells // rows, high, wide):
            return Grid("tokens", rows, cells // rows, before)
    return None


def _proportional(rows: int, columns: int, high: int, wide: int) -> bool:
    if rows > high or columns > wide:
        return False
    return rows == columns if high == wide else abs(rows * wide - columns * high) < max(high, wide)


def _in_output(output: Any, images: Tensor, prefix: int | None) -> tuple[int | None, Tensor, Grid] | None:
    """Where in a layer's output the first features that are a grid stand, those, and their grid."""
    several = isinstance(output, tuple | list)
    for index, features in enumerate(output if several else (output,)):
        grid = grid_of(features, images, prefix) if isinstance(features, Tensor) else None
        if grid is not None:
            return (index if several else None), features, grid
    return None


def find_layer(model: nn.Module, images: Tensor) -> str:
    """Return the name of the layer that holds a network's last features before its head.

    A network's parts are those of its ``group_matcher``, of an inner network's where that has one, else its children.
    Of each part, the features are the last output that lies over the image before the next part begins: what a block
    hands on, sums and activations after its last parameter included. The last part is taken whose features the
    class depends on, cell by cell: a vision transformer that classifies by its class token alone no longer looks
    at what its last block makes of the others.

    Args:
        model: the network, in eval mode.
        images: a batch [N, C, H, W] as it takes them.

    Raises:
        ModelError: no layer's output lies over the image.
    """
    prefix, owner = _grouped_network(model)
    features = _Features(owner, images)
    with torch.enable_grad(), features.watching():
        logits = model(images.detach().clone().requires_grad_())
    found = [features.last[part] for part in sorted(features.last)]
    if not found:
        raise ModelError(
            f"{type(model).__name__}: no layer gives a grid over the image, so there is no map to draw. Name a layer "
            "whose output does."
        )
    outputs = [output for _, output in found]
    gradients = torch.autograd.grad(logits.max(1).values.sum(), outputs, allow_unused=True)
    for (name, output), gradient in zip(reversed(found), reversed(gradients), strict=True):
        grid = grid_of(output, images, features.prefix)
        if gradient is not None and grid is not None and grid.maps(gradient).any():
            return f"{prefix}{name}"
    return f"{prefix}{found[-1][0]}"  # of a network whose logits are constant


def _grouped_network(model: nn.Module) -> tuple[str, nn.Module]:
    """The network itself or, where it only wraps one that states its parts, that one, with its name and a dot."""
    for name, module in model.named_modules():
        if callable(getattr(module, "group_matcher", None)):
            return (f"{name}." if name else ""), module
    return "", model


class _Features:
    """The last outputs that lie over the images, by part of a network, of a forward pass that is watched.

    Args:
        network: the network whose parts are meant.
        images: what it is given, or whatever it stands in.

    Attributes:
        last: name of the layer and its output, by number of the part.
        prefix: tokens before a grid, as the network states it.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.network = network
        self.images = images
        self.last: dict[int, tuple[str, Tensor]] = {}
        self.prefix: int | None = getattr(network, "num_prefix_tokens", None)
        groups = depth_groups(network, [name for name, _ in network.named_parameters()])
        self._parts = {name: part for part, group in enumerate(groups) for name in group}
        self._head = len(groups)
        self._now = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every layer of the network inside a ``with`` block."""
        hooks = []
        for name, module in self.network.named_modules():
            if name:
                hooks.append(module.register_forward_pre_hook(self._entering(name, module)))
                hooks.append(module.register_forward_hook(self._leaving(name)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _entering(self, name: str, module: nn.Module) -> Any:
        own = [self._parts.get(f"{name}.{leaf}", self._head) for leaf, _ in module.named_parameters(recurse=False)]

        def hook(*_: Any) -> None:
            self._now = max(self._now, *own) if own else self._now

        return hook

    def _leaving(self, name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if self._now >= max(1, self._head) or isinstance(module, _FIXED):
                return
            found = _in_output(output, self.images, self.prefix)
            if found is not None and found[2].cells > 1 and found[1].requires_grad:
                self.last[self._now] = (name, found[1])

        return hook


def named_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a network's layer by its name.

    Raises:
        ModelError: there is none of that name; the text offers the closest.
    """
    layers = dict(model.named_modules())
    if not name or name not in layers:
        hint = closest(name, [layer for layer in layers if layer], "model.named_modules()")
        raise ModelError(f"{type(model).__name__} has no layer '{name}'. {hint}")
    return layers[name]


@contextlib.contextmanager
def tapped(model: nn.Module, name: str, images: Tensor) -> Iterator[nn.Module]:
    """Give access to a layer's features as maps inside a ``with`` block, whatever their layout.

    Args:
        model: the network.
        name: of the layer.
        images: what the network will be given, [N, C, H, W].

    Yields:
        A module that the features pass through as [N, C, h, w] on their way; hooks and captum's methods take it for a
        layer.

    Raises:
        ModelError: there is no layer of that name, or its output is no grid.
    """
    layer, tap = named_layer(model, name), nn.Identity()
    prefix = getattr(_grouped_network(model)[1], "num_prefix_tokens", None)
    shapes: list[str] = []
    reached = False

    def through_tap(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal reached
        found = _in_output(output, images, prefix)
        if found is None:
            shapes.append(str(list(output.shape)) if isinstance(output, Tensor) else type(output).__name__)
            return output
        reached = True
        index, features, grid = found
        passed = grid.features(tap(grid.maps(features)), features)
        if index is None:
            return passed
        parts = (*output[:index], passed, *output[index + 1 :])
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)

    hook = layer.register_forward_hook(through_tap)
    try:
        yield tap
    except Exception as error:
        if reached:
            raise
        high, wide = images.shape[2:]
        gives = f"gives {shapes[0]}, which is no grid over images of {high}×{wide} px" if shapes else "is never used"
        raise ModelError(
            f"The layer '{name}' of {type(model).__name__} {gives}. Name a layer before the pooling."
        ) from error
    finally:
        hook.remove()
