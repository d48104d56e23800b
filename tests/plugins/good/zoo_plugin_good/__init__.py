"""A network, a curriculum and a data set, as anyone may bring them, each with what to cite for it."""

from dataclasses import dataclass

import numpy as np
import torch
from timm.models import register_model
from torch import nn
from torch.nn import functional

from curriculum_zoo.citation import DataSource, Paper, cites, published_as
from curriculum_zoo.curricula import Curriculum, Stage
from curriculum_zoo.data.sets.image_set import ImageSet

__all__ = ["Halves", "good_net", "stripes"]


class GoodNet(nn.Module):
    """Mean responses of eight filters to classes: [N, C, H, W] to [N, num_classes]."""

    def __init__(self, num_classes: int = 1000, in_chans: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.filters = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.filters(images).relu().mean((2, 3)))


@cites(Paper("goodnet", "Eight Filters Are Enough", "Ada Lovelace", year=2026), idea="A GoodNet has eight filters.")
@register_model
def good_net(pretrained: bool = False, **kwargs) -> GoodNet:
    """An entry function as timm's own are; timm's private keywords are of no use here."""
    return GoodNet(**{name: kwargs[name] for name in ("num_classes", "in_chans") if name in kwargs})


@dataclass(frozen=True)
class Halved:
    """Images at half their side."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(images, 2)


@dataclass(frozen=True, kw_only=True)
class Halves(Curriculum):
    """Half resolution for the first part of training, full resolution after it."""

    paper = Paper("halves", "Half the Pixels at First", "Grace Hopper", "a plugin's own")

    share: float = 0.5

    def _stage(self, epoch: int) -> Stage:
        if epoch < self.share * self.epochs:
            return Stage(name="half", view=Halved(), image_size=0.5)
        return Stage(name="full")


@published_as(DataSource("Stripes", "ada/stripes", split="test", paper=Paper("stripes", "On Stripes", "Alan Turing")))
def stripes(argument, *, root, download, image_size, channels, seed) -> ImageSet:
    """Horizontal against vertical stripes, 2 px wide; ``stripes:N`` has N images of each."""
    size, count = image_size or 8, int(argument or 16)
    wave = np.arange(size, dtype=np.uint8) // 2 % 2 * 255
    pair = np.stack([np.broadcast_to(wave[:, None], (size, size)), np.broadcast_to(wave, (size, size))])
    labels = np.tile([0, 1], count)
    images = np.repeat(pair[labels, :, :, None], channels or 1, axis=-1)
    return ImageSet("stripes", images, labels, images, labels, classes=("horizontal", "vertical"))
