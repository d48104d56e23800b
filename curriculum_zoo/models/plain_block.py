"""Residual blocks without their shortcuts, for the plain networks that residual ones are measured against."""

from __future__ import annotations

from typing import Any

from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["PlainBasicBlock", "PlainBottleneck", "plain_block"]


class PlainBasicBlock(BasicBlock):
    """A ResNet's basic block without its shortcut: two convolutions, as in He et al.'s plain networks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        x = self.aa(self.act1(self.drop_block(self.bn1(self.conv1(x)))))
        x = self.bn2(self.conv2(x))
        return self.act2(x if self.se is None else self.se(x))


class PlainBottleneck(Bottleneck):
    """A ResNet's bottleneck block without its shortcut."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.aa(self.act2(self.drop_block(self.bn2(self.conv2(x)))))
        x = self.bn3(self.conv3(x))
        return self.act3(x if self.se is None else self.se(x))


def plain_block(block: type[nn.Module]) -> type[nn.Module]:
    """Return the class without shortcuts that corresponds to one of timm's.

    Args:
        block: timm's `BasicBlock` or `Bottleneck`, or a subclass.

    Raises:
        ModelError: another class.
    """
    for known, plain in ((Bottleneck, PlainBottleneck), (BasicBlock, PlainBasicBlock)):
        if issubclass(block, known):
            return plain
    raise ModelError(f"residual=False is there for timm's BasicBlock and Bottleneck, not for {block.__name__}.")
