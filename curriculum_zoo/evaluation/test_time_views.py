"""A network that sees each image several times, mirrored and shifted, and answers by its logits' weighted mean."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from ..models.adaptive import AdaptiveNetwork
from .trained_network import TrainedNetwork

__all__ = ["TestTimeViews", "Views", "views_of"]

Views = Literal["single", "flip", "flip_shift"]

_COUNTS = {"single": 1, "flip": 2, "flip_shift": 6}


class TestTimeViews(nn.Module):
    """Averages a network's logits over views of each image.

    Args:
        network: images [N, C, H, W] to logits [N, classes].
        views: ``"flip"``, the image and its mirror image; ``"flip_shift"``, both of them in place, and both shifted by
            one pixel up and left, and down and right, at the border their own reflection: with weights of ¼ for each
            in place and ⅛ for each shifted one (Jordan 2024, §3.5 and listing 4); ``"single"``, the image alone.
    """

    __test__ = False  # pytest takes every class of such a name for tests

    def __init__(self, network: nn.Module, views: Views) -> None:
        super().__init__()
        self.network = network
        self.views = views

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] for images [N, C, H, W]."""
        if self.views == "single":
            logits: Tensor = self.network(images)
            return logits
        if self.views == "flip":
            return self._both_ways(images)
        height, width = images.shape[-2:]
        wider = F.pad(images, (1, 1, 1, 1), mode="reflect")
        first, second = (self._both_ways(wider[..., at : at + height, at : at + width]) for at in (0, 2))
        return 0.5 * self._both_ways(images) + 0.25 * (first + second)

    def _both_ways(self, images: Tensor) -> Tensor:
        """Mean logits of images and of their mirror images."""
        return torch.stack((self.network(images), self.network(images.flip(-1)))).mean(0)


def views_of(trained: TrainedNetwork, views: str) -> int:
    """Return how many views of each image a network is to see.

    Raises:
        ModelError: there are no such views, or it is an adaptive network, whose choices cannot be averaged.
    """
    if views not in _COUNTS:
        raise ModelError(f"views={views!r} is unknown; choose {', '.join(map(repr, _COUNTS))}.")
    if views != "single" and isinstance(trained.model, AdaptiveNetwork):
        raise ModelError(f"{trained.name} chooses where to look in each image. Evaluate it with views='single'.")
    return _COUNTS[views]
