"""Feature extraction modules of the glimpse pyramid and its baselines: the paper's, and any other network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...citation import Paper
from ...errors import CurriculumZooError, ModelError
from ...weights.address import Address
from ..factory import create_model
from ..options import leads_elsewhere

__all__ = [
    "PAPER",
    "PYRAMID",
    "SLOPE",
    "BackboneFeatures",
    "ConvFeatures",
    "PaperNet",
    "WholeConv2d",
    "initialize",
    "prefixed",
]

NOT_OPTIONS = frozenset({"feature_cls", "features_only", "out_indices", "warm_start"})
SLOPE = 0.2
"""Of the leaky ReLU for negative values; the paper does not say, and TensorFlow's own is 0.2."""


def initialize(module: nn.Module) -> None:
    """Xavier (uniform) weights and zero biases, in every convolution and linear layer (section A.5.2)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class WholeConv2d(nn.Conv2d):
    """A convolution without padding over a map that its kernel covers whole, done as the matrix product it is."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, in_channels, *kernel_size] to [N, out_channels]."""
        if input.is_contiguous():
            return F.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return F.linear(input.permute(0, 2, 3, 1).flatten(1), self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)


@dataclass(frozen=True)
class PaperNet:
    """One pair of the paper's: what a glimpse pyramid and its fully convolutional baseline have in common.

    Attributes:
        widths: channels of each convolution of the feature extraction.
        pools: the side of the max-pooling behind each; 0 for none.
        in_chans: channels of the images.
        base_size: the base resolution, pixels.
        size: the side of the largest images in the paper, pixels.
        num_classes: number of classes.
    """

    widths: tuple[int, ...]
    pools: tuple[int, ...]
    in_chans: int = 1
    base_size: int = 14
    size: int = 56
    num_classes: int = 10

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the last feature map at base resolution."""
        side = self.base_size
        for pool in self.pools:
            side = (side - pool) // 2 + 1 if pool else side
        return self.widths[-1], side, side

    @property
    def smallest(self) -> int:
        """The smallest side of an image that can be pooled so often, pixels."""
        side = 1
        for pool in reversed(self.pools):
            side = 2 * (side - 1) + pool if pool else side
        return side

    def cfg(self, smallest: int) -> dict[str, Any]:
        """Return the metadata, as timm has it.

        Args:
            smallest: the smallest side of an image that the network takes, pixels.
        """
        half = 0.0 if self.in_chans == 1 else 0.5
        return {
            "num_classes": self.num_classes,
            "input_size": (self.in_chans, self.size, self.size),
            "min_input_size": (self.in_chans, smallest, smallest),
            "mean": (half,) * self.in_chans,
            "std": (1 - half,) * self.in_chans,
            **CFG,
        }


PYRAMID = Paper(
    "pyramid",
    "Image classification through top-down image pyramid traversal",
    where="anonymous, under double-blind review",
)
CFG: dict[str, Any] = {
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "first_conv": "features.conv1",
    "classifier": "classifier",
    "license": "mit",
    "paper_name": PYRAMID.title,
}
IMAGENET: dict[str, int] = {"in_chans": 3, "base_size": 32, "size": 256, "num_classes": 1000}
PAPER = {
    "m1": PaperNet((64,), (2,)),
    "m2": PaperNet((32, 64), (2, 0)),
    "m3": PaperNet((32, 64, 64), (2, 3, 0)),
    "in_m1": PaperNet((64, 128, 256), (2, 2, 0), **IMAGENET),
    "in_m2": PaperNet((64, 128, 256, 256), (2, 2, 2, 0), **IMAGENET),
}
"""The paper's pairs, tables 3, 2, 1, 5 and 4. The second pooling of M3 is 3×3: its receptive field grows by 4 px."""


class ConvFeatures(nn.Module):
    """The paper's feature extraction: 3×3 convolutions with leaky ReLU, max-pooling between (tables 1 to 5).

    Convolutions have SAME padding, poolings none and a stride of 2.

    Args:
        net: channels and poolings.
        in_chans: channels of the images.
        device: where parameters are made.
        dtype: their type.
    """

    def __init__(self, net: PaperNet, in_chans: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.pools = net.pools
        self.smallest = net.smallest
        self.map_shape = net.map_shape
        self.num_features = net.widths[-1]
        for index, (before, width) in enumerate(zip((in_chans, *net.widths), net.widths, strict=False), start=1):
            convolution = nn.Conv2d(before, width, 3, padding=1, device=device, dtype=dtype)
            self.add_module(f"conv{index}", convolution)
        initialize(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[N, in_chans, H, W] to the last feature map [N, f, h, w] and its mean over positions [N, f]."""
        # Channels last in memory, whatever the caller's layout: on a CPU these layers take a quarter of the time then.
        _, channels, height, width = images.shape
        x = images.permute(0, 2, 3, 1).flatten(1).unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)
        for index, pool in enumerate(self.pools, start=1):
            x = self.get_submodule(f"conv{index}")(x)
            # Leaky ReLU rises with its argument, so behind the pooling it gives the same, at a quarter of the work.
            x = F.leaky_relu(F.max_pool2d(x, pool, 2) if pool else x, SLOPE, inplace=True)
        return x, x.mean((2, 3))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names by depth, as in timm.

        Args:
            coarse: without effect: every layer is a group of its own.
        """
        return {"stem": r"^conv1\.", "blocks": [(r"^conv(\d+)\.", None)]}


class BackboneFeatures(nn.Module):
    """Any registered network or timm's as feature extraction: its last feature map, and its pooled features.

    Args:
        backbone: a name as `create_model` takes it, without weights from elsewhere: ``"timm/resnet18"``,
            ``"hiresnet20_cifar"``.
        size: height and width of the base resolution, pixels.
        in_chans: channels of the images.
        options: further options of the backbone's.
        pretrained: whether to load the backbone's released weights.
        device: where parameters are made.
        dtype: their type.

    Raises:
        ModelError: the backbone cannot be built, or gives no feature map at that resolution.
        UnknownNameError: nothing has that name.
    """

    def __init__(
        self,
        backbone: str,
        size: tuple[int, int],
        in_chans: int = 3,
        options: Mapping[str, Any] | None = None,
        pretrained: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        # A config from elsewhere names a backbone too, so nothing here may lead to files or to other repositories.
        if not isinstance(backbone, str) or Address.parse(backbone).kind not in ("name", "timm"):
            raise ModelError(f"backbone={backbone!r} must be a registered name or 'timm/<name>'.")
        for option in options or {}:
            if option in NOT_OPTIONS or leads_elsewhere(option):
                raise ModelError(f"backbone_options has '{option}', which is no option of a network. Leave it out.")
        placed = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
        asked = {"image_size": size[0] if size[0] == size[1] else None, **(options or {}), **placed}
        self.name = backbone
        self.backbone: Any = create_model(backbone, pretrained, num_classes=0, in_chans=in_chans, **asked)
        for name in ("forward_features", "forward_head"):
            self._insist_on(name)
        self.intermediate = getattr(self.backbone, "output_fmt", "NCHW") != "NCHW"
        feature_map, vector = self._probed(in_chans, size)
        self.map_shape = tuple(feature_map.shape[1:])
        self.num_features = vector.shape[1]

    def _insist_on(self, name: str) -> None:
        if not hasattr(self.backbone, name):
            raise ModelError(f"backbone='{self.name}' has no {name}, and so no feature map for the location module.")

    def _probed(self, in_chans: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Outputs for an image of zeros; finds out whether the feature map has to be asked for by itself."""
        like = next(self.backbone.parameters())
        zeros = torch.zeros(1, in_chans, *size, device=like.device, dtype=like.dtype)
        training = self.backbone.training
        self.backbone.eval()
        self.takes_none = True
        try:
            with torch.no_grad():
                if not self.intermediate:
                    self.intermediate = self.backbone.forward_features(zeros).ndim != 4
                if self.intermediate:
                    self._insist_on("forward_intermediates")
                feature_map, vector = self(zeros)
                self.takes_none = self._takes(zeros[:0])
        except CurriculumZooError:
            raise
        except Exception as error:
            raise ModelError(
                f"backbone='{self.name}' cannot take images of {size[0]}×{size[1]} px, the base resolution: "
                f"{type(error).__name__}: {error}"
            ) from error
        finally:
            self.backbone.train(training)
        if feature_map.ndim != 4 or vector.ndim != 2:
            raise ModelError(f"backbone='{self.name}' gives no feature map [N, C, h, w] with a pooled vector [N, f].")
        return feature_map, vector

    def _takes(self, images: Tensor) -> bool:
        try:
            self(images)
        except Exception:  # whatever a network fails with
            return False
        return True

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[N, in_chans, H, W] to the last feature map [N, C, h, w] and the pooled features [N, f]; N may be 0."""
        if not len(images) and not self.takes_none:
            return images.new_zeros(0, *self.map_shape), images.new_zeros(0, self.num_features)
        if len(images) == 1 and self.training:
            # A crop on its own, with a map of one pixel, has no variance that BatchNorm would take.
            feature_map, vector = self(images.repeat(2, 1, 1, 1))
            return feature_map[:1], vector[:1]
        if self.intermediate:
            features, (feature_map,) = self.backbone.forward_intermediates(images, indices=1, norm=True)
        else:
            features = feature_map = self.backbone.forward_features(images)
        return feature_map, self.backbone.forward_head(features, pre_logits=True)

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return the backbone's own patterns, as in timm; one group where it has none."""
        matcher = getattr(self.backbone, "group_matcher", None)
        inner = {"stem": "."} if matcher is None else matcher(coarse=coarse)
        return prefixed(inner, "backbone")


def prefixed(matcher: Any, prefix: str) -> Any:
    """Return a ``group_matcher`` of timm's for names with a module's name before them, from the module's own."""
    if not isinstance(matcher, Mapping):
        return lambda name: matcher(name.removeprefix(f"{prefix}."))

    def longer(patterns: Any) -> Any:
        if isinstance(patterns, list | tuple):
            return [(longer(pattern), suffix) for pattern, suffix in patterns]
        return patterns and rf"^{prefix}\.(?:{patterns.replace('|^', '|').removeprefix('^')})"

    return {group: longer(patterns) for group, patterns in matcher.items()}
