"""What makes a ResNet hierarchical: projections from lower levels, and their sum into a higher one; and its papers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..citation import Paper, cites

__all__ = ["HIRESNET", "OF_HIRESNETS", "RESNET", "LevelSum", "Projection", "average_pool"]

RESNET = Paper(
    "resnet",
    "Deep Residual Learning for Image Recognition",
    "Kaiming He and Xiangyu Zhang and Shaoqing Ren and Jian Sun",
    "CVPR",
    2016,
)
HIRESNET = Paper(
    "hiresnet",
    "Hierarchical Residuals Exploit Brain-Inspired Compositionality",
    "Francisco M. López and Jochen Triesch",
)
OF_HIRESNETS = cites(
    HIRESNET,
    RESNET,
    idea="A HiResNet is a ResNet with residual connections from every lower level of its hierarchy to every higher "
    "one.",
)
"""Decorator for the builder of a HiResNet, a plugin's too: its papers, and what it is."""

torch.fx.wrap("average_pool")


def average_pool(image: Tensor, copy: Tensor, like: Tensor) -> Tensor:
    """Average-pool to the height and width of another tensor.

    Where the sides are whole multiples, averages of averages are the same averages, so the smaller copy that an
    earlier level has pooled already serves instead of the image; else adaptive pooling takes the image itself.

    Args:
        image: what is pooled, [N, C, H, W].
        copy: the image itself, or an average-pooled copy of it, [N, C, h, w].
        like: the tensor whose height and width are wanted.
    """
    height, width = like.shape[-2:]
    if torch.onnx.is_in_onnx_export() and torch.jit.is_tracing():
        return _pool_as_matrices(image, height, width)
    if isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt) or torch.jit.is_tracing():
        # While a program for images of any size is exported or traced, a branch would tie it to sizes that take it.
        return F.adaptive_avg_pool2d(image, (height, width))
    source = copy if _divides(copy, image.shape[-2:]) and _divides(like, copy.shape[-2:]) else image
    if source.shape[-2:] == like.shape[-2:]:
        return source
    if _divides(like, source.shape[-2:]):
        return F.avg_pool2d(source, (source.shape[-2] // height, source.shape[-1] // width))
    return F.adaptive_avg_pool2d(source, (height, width))


def _pool_as_matrices(image: Tensor, height: int, width: int) -> Tensor:
    """Adaptive average pooling for ONNX's exporter by tracing, which has none to sizes that it does not know."""
    rows = _shares(image.shape[-2], height, image)
    return rows.T @ image @ _shares(image.shape[-1], width, image)


def _shares(side: int, pooled: int, like: Tensor) -> Tensor:
    """How much of each of `side` pixels goes into each of `pooled` averages, [side, pooled]; both may be traced."""
    number = torch.arange(pooled, device=like.device)
    first, end = number * side // pooled, ((number + 1) * side + pooled - 1) // pooled
    place = torch.arange(side, device=like.device).unsqueeze(1)
    return ((place >= first) & (place < end)).to(like.dtype) / (end - first)


def _divides(small: Tensor, size: torch.Size) -> bool:
    return size[0] % small.shape[-2] == 0 and size[1] % small.shape[-1] == 0


class Projection(nn.Module):
    """A hierarchical projection behind its pooling: 1×1 convolution without bias, then BatchNorm of weight zero.

    Args:
        in_channels: channels of the source level.
        out_channels: channels of the target level.
        device: where its parameters are made.
        dtype: their type.
    """

    def __init__(self, in_channels: int, out_channels: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False, device=device, dtype=dtype)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, device=device, dtype=dtype)
        self.init_weights()

    def init_weights(self) -> None:
        """Kaiming initialisation of the convolution; BatchNorm at weight and bias zero, so that it adds nothing."""
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        for parameter in self.bn.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Project a pooled source [N, in_channels, h, w] to [N, out_channels, h, w]."""
        return self.bn(self.conv(x))

    def fuse(self) -> None:
        """Fold BatchNorm, by its running statistics, into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class LevelSum(nn.Module):
    """The sum of one level and the projections into it, and the activation that follows.

    Args:
        channels: channels of each source level, by the level's number.
        out_channels: channels of the level that they are added to.
        activation: what follows the sum.
        device: where its parameters are made.
        dtype: their type.
    """

    def __init__(
        self, channels: dict[int, int], out_channels: int, activation: nn.Module, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.sources = tuple(channels)
        for level, width in channels.items():
            self.add_module(f"from{level}", Projection(width, out_channels, device, dtype))
        self.act = activation

    def forward(self, x: Tensor, levels: list[Tensor], copies: list[Tensor]) -> Tensor:
        """Add the projections of lower levels to one.

        Args:
            x: the level's own features, [N, out_channels, h, w].
            levels: the features of all levels so far, the lowest first.
            copies: for each of them its last pooled copy; renewed in place, so that targets share their pooling.
        """
        projected = [self._project(level, x, levels, copies) for level in self.sources]
        total = projected[0]
        for other in projected[1:]:
            total += other
        total += x
        return self.act(total)

    def _project(self, level: int, like: Tensor, levels: list[Tensor], copies: list[Tensor]) -> Tensor:
        copies[level] = average_pool(levels[level], copies[level], like)
        return getattr(self, f"from{level}")(copies[level])
