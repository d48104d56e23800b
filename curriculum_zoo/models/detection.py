"""A network of the zoo as the backbone of torchvision's detectors: its dense features under a feature pyramid."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from .factory import create_model

__all__ = ["FeaturePyramid", "feature_pyramid"]


class FeaturePyramid(nn.Module):
    """Dense features of a network, brought to one width at every scale (Lin et al., CVPR 2017).

    Args:
        body: a network made with ``features_only=True``.
        out_channels: width of every level.
    """

    def __init__(self, body: Any, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(
            body.feature_info.channels(), out_channels, extra_blocks=LastLevelP6P7(out_channels, out_channels)
        )
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Images [N, C, H, W] to levels [N, out_channels, h, w], the finest first; two coarser ones are added."""
        features = self.body(images)
        return self.fpn(OrderedDict((str(index), feature) for index, feature in enumerate(features)))


def feature_pyramid(
    name: str, *, out_indices: tuple[int, ...] = (2, 3, 4), out_channels: int = 256, **kwargs: Any
) -> FeaturePyramid:
    """Build a backbone for torchvision's detectors from any network of `create_model` that gives features.

    RetinaNet on a HiResNet, hierarchical sums included::

        from torchvision.models.detection import RetinaNet

        backbone = feature_pyramid("hiresnet50", warm_start="timm/resnet50.a1_in1k")
        detector = RetinaNet(backbone, num_classes=21)

    Args:
        name: as in `create_model`.
        out_indices: which features go in; 2, 3 and 4 are those at 1/8, 1/16 and 1/32 of the image, as RetinaNet's
            anchors expect (Lin et al., ICCV 2017).
        out_channels: width of the pyramid.
        **kwargs: as in `create_model`.

    Raises:
        CurriculumZooError: what `create_model` raises.
    """
    body = create_model(name, features_only=True, out_indices=out_indices, **kwargs)
    return FeaturePyramid(body, out_channels)
