"""An adaptive network under given options, as a network like any other that also counts what it attends and spends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.adaptive import AdaptiveNetwork, Attend
from .trained_network import TrainedNetwork

__all__ = ["Traversal", "adaptive_network", "cost_range", "traversed"]


class Traversal(nn.Module):
    """An adaptive network that goes through some processing levels at most and chooses in one of its ways.

    Args:
        network: the network.
        levels: processing levels after which it stops; as many as the image allows where None.
        attend: how it chooses; its own way where None.
    """

    def __init__(self, network: AdaptiveNetwork, levels: int | None = None, attend: Attend | None = None) -> None:
        super().__init__()
        self.network: Any = network
        self.levels = levels
        self.attend = attend
        self._counts: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] after the last level, for images [N, C, H, W]."""
        glimpses = self.network.glimpse(images, self.levels, self.attend, every_level=False)
        self._counts.append(torch.stack([glimpses.attended(), self.network.multiply_adds(glimpses)]))
        logits: Tensor = glimpses.logits[-1]
        return logits

    def levels_at(self, side: int) -> int:
        """Return how many processing levels it goes through on square images of some side in pixels."""
        return self.levels or int(self.network.levels_for(side, side))

    def spent(self) -> tuple[float, float]:
        """Return attended locations and multiply-adds, means per image since the last call."""
        attended, multiply_adds = torch.cat(self._counts, 1).cpu().double().mean(1).tolist()
        self._counts.clear()
        return attended, multiply_adds


def traversed(trained: TrainedNetwork, levels: int | None, attend: Attend | None) -> nn.Module:
    """Return the network under given options; as it is where there are none and it is not adaptive.

    Raises:
        ModelError: options for a network that has no processing levels.
    """
    if levels is None and attend is None and not isinstance(trained.model, AdaptiveNetwork):
        return trained.model
    return Traversal(adaptive_network(trained), levels, attend)


def adaptive_network(trained: TrainedNetwork) -> AdaptiveNetwork:
    """Return the network, which must be adaptive.

    Raises:
        ModelError: it is not.
    """
    if isinstance(trained.model, AdaptiveNetwork):
        return trained.model
    raise ModelError(
        f"{trained.name} is a {type(trained.model).__name__}, which looks at each image once, as a whole: it has no "
        "levels to stop at and no way to attend. Take a glimpse pyramid."
    )


@torch.no_grad()
def cost_range(network: AdaptiveNetwork, images: Tensor) -> tuple[int, int]:
    """Return the FLOPs of an image in which nothing is attended, and of one in which everything is.

    Args:
        network: it says what its choices cost.
        images: one image [1, C, H, W] of the size in question, such as the network takes.
    """
    costs = []
    for attended in (torch.zeros_like, torch.ones_like):
        glimpses = network.glimpse(images, attend=lambda p, _, mask=attended: mask(p, dtype=torch.bool))
        costs.append(2 * int(network.multiply_adds(glimpses)))
    least, most = costs
    return least, most
