"""Fully convolutional twins of the paper's glimpse pyramids: the same layers over the whole image."""

from __future__ import annotations

from typing import Any

import torch.fx
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from ...citation import cites
from ...errors import ModelError
from ..checks import check_images
from ..timm_networks import build_network, default_cfgs_of
from .features import PAPER, PYRAMID, SLOPE, ConvFeatures, initialize
from .head import VectorClassifier

__all__ = ["GlimpseBaseline"]


class GlimpseBaseline(VectorClassifier):
    """Feature extraction over the whole image, then two linear layers, then the classification module (tables 1 to 5).

    The linear layers stand in for a glimpse pyramid's aggregation and merging modules.

    Args:
        features: the feature extraction module.
        num_classes: number of classes; 0 leaves the classification module out.
        in_chans: channels of the images.
        drop_rate: dropout before the classification module.
        device: where parameters are made.
        dtype: their type.
    """

    features: ConvFeatures

    def __init__(
        self,
        features: ConvFeatures,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(features, num_classes, in_chans, drop_rate, device, dtype)
        width = self.num_features
        self.fc1 = nn.Linear(width, width, device=device, dtype=dtype)
        self.fc2 = nn.Linear(width, width, device=device, dtype=dtype)
        initialize(self.fc1)
        initialize(self.fc2)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] of any size to feature vectors [N, num_features].

        Raises:
            ModelError: the images have another number of channels, or too few pixels to be pooled.
        """
        if not isinstance(x, torch.fx.Proxy):
            check_images(x, self.in_chans, self.features.smallest)
        _, vector = self._describe(x)
        return F.leaky_relu(self.fc2(F.leaky_relu(self.fc1(vector), SLOPE)), SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to logits [N, num_classes].

        Raises:
            ModelError: as `forward_features`.
        """
        return self.forward_head(self.forward_features(x))


def _paper(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    net = PAPER[variant]
    if kwargs.pop("features_only", False):
        raise ModelError(
            f"glimpse_baseline_{variant} gives no features by level. Its module `features` gives its last map."
        )

    def network(in_chans: int, device: Any = None, dtype: Any = None, **options: Any) -> GlimpseBaseline:
        features = ConvFeatures(net, in_chans, device, dtype)
        return GlimpseBaseline(features, in_chans=in_chans, device=device, dtype=dtype, **options)

    return build_network(network, f"glimpse_baseline_{variant}", pretrained, **kwargs)


_OF_BASELINES = cites(PYRAMID, idea="This is the fully convolutional network that a glimpse pyramid is compared with.")

default_cfgs = default_cfgs_of(
    {f"glimpse_baseline_{variant}": net.cfg(smallest=net.smallest) for variant, net in PAPER.items()}
)


@_OF_BASELINES
@register_model
def glimpse_baseline_m1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BL1 for MNIST (table 3): receptive field 3 px, 9,610 parameters."""
    return _paper("m1", pretrained, **kwargs)


@_OF_BASELINES
@register_model
def glimpse_baseline_m2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BL2 for MNIST (table 2): receptive field 8 px, 27,786 parameters."""
    return _paper("m2", pretrained, **kwargs)


@_OF_BASELINES
@register_model
def glimpse_baseline_m3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BL3 for MNIST (table 1): receptive field 20 px, 64,714 parameters."""
    return _paper("m3", pretrained, **kwargs)


@_OF_BASELINES
@register_model
def glimpse_baseline_in_m1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BL1 for ImageNet (table 5): receptive field 18 px, 759,400 parameters."""
    return _paper("in_m1", pretrained, **kwargs)


@_OF_BASELINES
@register_model
def glimpse_baseline_in_m2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BL2 for ImageNet (table 4): receptive field 38 px, 1,349,480 parameters."""
    return _paper("in_m2", pretrained, **kwargs)
