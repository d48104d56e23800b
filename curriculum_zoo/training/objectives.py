"""What training minimises: a loss, the logits that accuracy is counted from, and figures for the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..curricula import Stage
from ..errors import RecipeError
from .recipe import Recipe

__all__ = ["CrossEntropy", "Mixer", "Objective", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What an objective found on a batch of N images.

    Attributes:
        loss: to be minimised, a scalar: a mean over the batch.
        logits: [N·samples, classes], of sample s of image i in row s·N + i.
        figures: further quantities for the log, each the mean over the batch, a scalar without gradient.
        choices: how often an image's choices had the network compute its parts that are not computed for each image:
            scalars without gradient, means over the batch. FLOPs are linear in them.
    """

    loss: Tensor
    logits: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    choices: Mapping[str, Tensor] = field(default_factory=dict)

    def means(self) -> dict[str, Tensor]:
        """Everything that is a mean over the batch, the loss included, by name."""
        return {"loss": self.loss.detach(), **self.figures, **self.choices}


class Objective(ABC):
    """What training minimises, and what it remembers from one batch to the next.

    A subclass is called with the network, normalised images [N, C, H, W], targets (class indices [N] or distributions
    [N, classes]) and the stage.
    """

    @abstractmethod
    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> Outcome:
        """Compute the loss of a batch."""

    def update(self, figures: Mapping[str, float]) -> None:  # noqa: B027  most remember nothing
        """Remember what is to be remembered of a batch, from its figures: means over all its parts and processes."""

    def with_choices(self, number: int) -> Objective:
        """The same objective with choices that are fixed, different ones for each number; they tell what choices cost.

        Number 0 is as little as possible. As many numbers as there are names in `Outcome.choices`, and 0, tell the
        cost of each.
        """
        return self

    def dense(self) -> Objective:
        """The same objective with everything computed that can be, once an image."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as a checkpoint keeps it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Remember what `state_dict` gave."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross entropy with label smoothing, against class indices [N] or target distributions [N, classes].

    Attributes:
        label_smoothing: share of the target spread over all classes.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> Outcome:
        """Mean loss and logits [N, classes] of a batch of normalised images [N, C, H, W].

        Raises:
            RecipeError: the stage weighs losses of several processing levels.
        """
        if stage.level_weights:
            raise RecipeError(
                f"recipe: stage '{stage.name}' weighs the losses of {len(stage.level_weights)} processing levels, "
                "which plain cross entropy does not know. Set glimpses, or leave level_weights out."
            )
        logits = model(images) if stage.levels is None else model(images, levels=stage.levels)
        return Outcome(F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing), logits)


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
