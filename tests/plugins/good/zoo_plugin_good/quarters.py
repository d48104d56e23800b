"""An adaptive network with an objective of its own: it sees an image coarsely, then the quarters that it chooses."""

import torch
from timm.models import register_model
from torch import nn
from torch.nn import functional

from curriculum_zoo.citation import Paper, cites
from curriculum_zoo.errors import ModelError
from curriculum_zoo.models.adaptive import GlimpseLevel, Glimpses
from curriculum_zoo.training.objectives import LossOutput, Objective

__all__ = ["Quarters", "quarters"]

BASE, WIDTH, CELLS = 4, 16, 4


class Quarters(nn.Module):
    """Images [N, C, H, W] shrunk to 4 × 4 px, then those of their quarters that are attended, likewise."""

    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.base = num_classes, in_chans, (BASE, BASE)
        self.describe = nn.Linear(in_chans * BASE * BASE, WIDTH)
        self.locate = nn.Linear(WIDTH, CELLS)
        self.head = nn.Linear(WIDTH, num_classes)

    def levels_for(self, height: int, width: int) -> int:
        if min(height, width) < BASE:
            raise ModelError(f"Quarters needs {BASE} px and more, got {height}x{width}.")
        return 2 if min(height, width) >= 2 * BASE else 1

    def _described(self, images: torch.Tensor) -> torch.Tensor:
        return self.describe(functional.adaptive_avg_pool2d(images, BASE).flatten(1)).relu()

    def glimpse(self, images, levels=None, attend=None, *, every_level=True) -> Glimpses:
        count, _, height, width = images.shape
        levels = levels or self.levels_for(height, width)
        first = self._described(images)
        answers = [self.head(first)]
        choices = []
        if levels > 1:
            log_odds = self.locate(first)
            if callable(attend):
                mask = attend(log_odds.sigmoid(), 0)
            else:
                mask = torch.rand_like(log_odds) < log_odds.sigmoid() if attend == "sample" else log_odds >= 0
            parent, cell = mask.nonzero().unbind(1)
            top, left = cell // 2 * (height // 2), cell % 2 * (width // 2)
            boxes = torch.stack([left, top, left + width // 2, top + height // 2], 1)
            quarters = images.unfold(2, height // 2, height // 2).unfold(3, width // 2, width // 2).flatten(2, 3)
            closer = self._described(quarters[parent, :, cell]) * log_odds.sigmoid()[parent, cell, None]
            answers.append(self.head(first.index_add(0, parent, closer)))
            rows = torch.arange(count, device=images.device)
            whole = torch.tensor([[0, 0, width, height]], device=images.device).repeat(count, 1)
            choices.append(GlimpseLevel(rows, whole, log_odds, mask, boxes, parent, cell))
        return Glimpses(tuple(answers if every_level else answers[-1:]), tuple(choices), count, CELLS)

    def multiply_adds(self, glimpses: Glimpses, levels: int | None = None) -> torch.Tensor:
        crop, located = self.in_chans * BASE * BASE * WIDTH, glimpses.located(levels) * WIDTH * CELLS
        return crop * (1 + glimpses.attended(levels)) + located + WIDTH * self.num_classes

    def forward(self, images: torch.Tensor, levels: int | None = None, everything: bool = False):
        if everything:
            return self.glimpse(images, levels)
        return self.glimpse(images, levels, every_level=False).logits[-1]

    def training_objective(self, recipe) -> Objective:
        return FewQuarters(recipe.label_smoothing)


class FewQuarters(Objective):
    """Cross entropy after every level, and a price on the quarters that are expected to be attended."""

    PRICE = 0.01

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model, images, targets, stage) -> LossOutput:
        glimpses = model(images, stage.levels, everything=True)
        losses = [functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
                  for logits in glimpses.logits]  # fmt: skip
        expected = glimpses.expected().mean()
        return LossOutput(sum(losses) + self.PRICE * expected, glimpses.logits[-1], {"expected": expected.detach()})


@cites(Paper("quarters", "Four Quarters Make a Whole", year=2026))
@register_model
def quarters(pretrained: bool = False, **kwargs) -> Quarters:
    """A network that looks closer at the quarters of an image that it chooses."""
    return Quarters(**{name: kwargs[name] for name in ("num_classes", "in_chans") if name in kwargs})
