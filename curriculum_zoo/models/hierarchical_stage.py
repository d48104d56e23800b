"""Stages of a HiResNet: hierarchical sums inside the blocks that they begin and end, so that hooks see the levels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from timm.models import checkpoint_seq
from torch import Tensor, nn

from ..errors import ModelError
from .hierarchy import LevelSum

__all__ = ["HierarchicalStage", "add_sums", "rename_sums"]

_SUM = re.compile(r"(?P<prefix>.*)layer(?P<level>\d+)\.\d+\.(?P<side>input|output)_sum")


class HierarchicalStage(nn.Sequential):
    """The blocks of a stage, of which the first may begin with a sum, and the last may end with one."""

    def forward(
        self,
        x: Tensor,
        levels: list[Tensor] | None = None,
        copies: list[Tensor] | None = None,
        checkpointing: bool = False,
    ) -> Tensor:
        """Return the level that the stage computes, sums included.

        Args:
            x: the level below, [N, C, H, W].
            levels: the features of all levels so far, the lowest first.
            copies: for each of them its last pooled copy; renewed in place.
            checkpointing: whether to compute each block again in the backward pass rather than keep its activations.

        Raises:
            ModelError: no levels are given.
        """
        if levels is None or copies is None:
            raise ModelError(
                "A stage of a HiResNet adds projections of lower levels, so it cannot run on its own. Call the "
                "network, forward_features or forward_intermediates; hooks on the stage see its features."
            )
        for block in self:
            if isinstance(block, HierarchicalBlock):
                x = block(x, levels, copies, checkpointing)
            else:
                x = checkpoint_seq([block], x) if checkpointing else block(x)
        return x


class HierarchicalBlock(nn.Module):
    """What makes a residual block hierarchical, before it in the order of base classes; see `_hierarchical`."""

    input_sum: LevelSum | None
    output_sum: LevelSum | None

    def forward(self, x: Tensor, levels: list[Tensor], copies: list[Tensor], checkpointing: bool = False) -> Tensor:
        """Compute the block between its sums; arguments as in `HierarchicalStage`."""
        if self.input_sum is not None:
            x = self.input_sum(x, levels, copies)
        # Sums stay outside, for what they renew in place must not be renewed again in the backward pass.
        x = checkpoint_seq([super().forward], x) if checkpointing else super().forward(x)
        return x if self.output_sum is None else self.output_sum(x, levels, copies)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the block's own class: the hierarchical one is made of it and has no name to import."""
        _, _, block_class, *_ = type(self).__mro__
        return _empty, (block_class,), self.__getstate__()


@cache
def _hierarchical(block_class: Any) -> Any:
    """The subclass of a block's class that has sums before and behind what the block computes."""
    return type(f"Hierarchical{block_class.__name__}", (HierarchicalBlock, block_class), {"__module__": __name__})


def _empty(block_class: Any) -> Any:
    hierarchical = _hierarchical(block_class)
    return hierarchical.__new__(hierarchical)


def add_sums(stage: nn.Sequential, **sums: LevelSum) -> HierarchicalStage:
    """Return a stage with sums in its blocks; no parameter of the blocks changes its name.

    Args:
        stage: timm's.
        **sums: ``input_sum``, with which the first block begins, and ``output_sum``, with which the last one ends.
    """
    for side, level_sum in sums.items():
        block: Any = stage[0 if side == "input_sum" else -1]
        if not isinstance(block, HierarchicalBlock):
            block_class: Any = type(block)
            block.__class__ = _hierarchical(block_class)
            block.input_sum = block.output_sum = None
        setattr(block, side, level_sum)
    return HierarchicalStage(*stage)


def rename_sums(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a network's tensors with those of sums under their names of now.

    Sums that stood beside the stages had names as ``output_sum4.from0.bn.weight``, where they are
    ``layer4.1.output_sum.from0.bn.weight`` in their stages.

    Args:
        tensors: keyed by name.
        model: the network, or one round it.
    """
    now = {}
    for name, module in model.named_modules():
        place = _SUM.fullmatch(name)
        if place and isinstance(module, LevelSum):
            now[f"{place['prefix']}{place['side']}_sum{place['level']}."] = f"{name}."
    former = re.compile("|".join(map(re.escape, now)) or r"(?!)")

    def renamed(name: str) -> str:
        match = former.match(name)
        return now[match[0]] + name.removeprefix(match[0]) if match else name

    return {renamed(name): tensor for name, tensor in tensors.items()}
