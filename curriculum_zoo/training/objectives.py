"""What training minimises: a loss, and the logits that accuracy is counted from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..curricula import Stage
from .recipe import Recipe

__all__ = ["CrossEntropy", "Mixer"]


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy with label smoothing, against class indices [N] or target distributions [N, classes].

    Attributes:
        label_smoothing: share of the target spread over all classes.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
        """Mean loss (scalar) and logits [N, classes] of a batch of normalised images [N, C, H, W]."""
        logits = model(images) if stage.levels is None else model(images, levels=stage.levels)
        return F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing), logits


class Mixer:
    """Mixup and cutmix of a batch by timm, as a recipe has them; gives target distributions.

    timm's `Mixup` draws from NumPy's global generator, which the engine seeds before every step.

    Args:
        recipe: whose `mixing` is used; its label smoothing stays with the loss.
        num_classes: number of classes.
    """

    def __init__(self, recipe: Recipe, num_classes: int) -> None:
        from timm.data import Mixup

        mixing = recipe.mixing
        self._mixup: Any = Mixup(
            mixup_alpha=mixing.mixup,
            cutmix_alpha=mixing.cutmix,
            prob=mixing.probability,
            switch_prob=mixing.switch,
            label_smoothing=0.0,
            num_classes=num_classes,
        )
        self._num_classes = num_classes

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images [N, C, H, W] with those of the batch reversed; an odd last image stays as it is.

        Returns:
            The images, and target distributions [N, classes].
        """
        even = len(images) // 2 * 2
        targets = F.one_hot(labels, self._num_classes).to(images.dtype)
        if even:
            mixed, mixed_targets = self._mixup(images[:even].clone(), labels[:even])
            images = torch.cat([mixed, images[even:]])
            targets = torch.cat([mixed_targets.to(images.dtype), targets[even:]])
        return images, targets
