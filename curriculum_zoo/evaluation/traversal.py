"""A glimpse pyramid under given options, as a network like any other that also counts what it attends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.glimpse_choice import Attend
from ..models.glimpse_pyramid import GlimpsePyramid
from .subject import Subject

__all__ = ["Traversal", "glimpse_network", "traversed"]


class Traversal(nn.Module):
    """A glimpse pyramid that goes through some processing levels at most and chooses in one of its ways.

    Args:
        network: the glimpse pyramid.
        levels: processing levels after which it stops; as many as the image allows where None.
        attend: how it chooses; its own way where None.
    """

    def __init__(self, network: GlimpsePyramid, levels: int | None = None, attend: Attend | None = None) -> None:
        super().__init__()
        self.network = network
        self.levels = levels
        self.attend = attend
        self._counts: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] after the last level, for images [N, C, H, W]."""
        glimpses = self.network.glimpse(images, self.levels, self.attend, every_level=False)
        self._counts.append(torch.stack([glimpses.attended(), glimpses.located(), glimpses.merged()]))
        return glimpses.logits[-1]

    def levels_at(self, side: int) -> int:
        """Processing levels that it goes through on square images of some side in pixels."""
        return self.levels or self.network.levels_for(side, side)

    def spent(self) -> tuple[float, float]:
        """Attended locations and multiply-adds of an image, means over all images so far; counting starts anew."""
        attended, located, merged = torch.cat(self._counts, 1).cpu().double().mean(1).tolist()
        self._counts.clear()
        return attended, self.network.costs.total(attended, located, merged)


def traversed(subject: Subject, levels: int | None, attend: Attend | None) -> nn.Module:
    """The subject's network under given options.

    Raises:
        ModelError: options for a network that has no processing levels.
    """
    if levels is None and attend is None and not isinstance(subject.model, GlimpsePyramid):
        return subject.model
    return Traversal(glimpse_network(subject), levels, attend)


def glimpse_network(subject: Subject) -> GlimpsePyramid:
    """The subject's network, which must be a glimpse pyramid.

    Raises:
        ModelError: it is another one.
    """
    if isinstance(subject.model, GlimpsePyramid):
        return subject.model
    raise ModelError(
        f"{subject.name} is a {type(subject.model).__name__}, which looks at each image once, as a whole: it has no "
        "levels to stop at and no way to attend. Take a glimpse pyramid."
    )
