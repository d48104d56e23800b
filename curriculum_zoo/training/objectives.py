"""What training minimises: a loss, with the logits that accuracy is counted from and figures for the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from ..curricula import Stage
from ..errors import RecipeError
from ..recipes import Recipe

__all__ = ["BringsObjective", "CrossEntropy", "LossOutput", "Objective"]


@dataclass(frozen=True)
class LossOutput:
    """What an objective computed on a batch of N images.

    Attributes:
        loss: to be minimised, a scalar: a mean over the batch.
        logits: [N·samples, classes], of sample s of image i in row s·N + i.
        figures: further quantities for the log, each a mean over the batch, a scalar without gradient.
        choices: where a network computes some of its parts by choice: how often an image's choices had each of them
            computed. Scalars without gradient, means over the batch; FLOPs are linear in them.
        losses: the loss of each image, [N], whose mean `loss` is; needed only where a stage chooses images
            (`Stage.samples`), which may weigh or note them. None where there is no such.
    """

    loss: Tensor
    logits: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    choices: Mapping[str, Tensor] = field(default_factory=dict)
    losses: Tensor | None = None

    def means(self) -> dict[str, Tensor]:
        """Return everything that is a mean over the batch, the loss included, keyed by name."""
        return {"loss": self.loss.detach(), **self.figures, **self.choices}


class Objective(ABC):
    """What training minimises, and what it remembers from one batch to the next.

    A subclass is called with the network, normalised images [N, C, H, W], targets (class indices [N] or distributions
    [N, classes]) and the stage. It must not wait for the device: no ``.item()``, no branch on a tensor's value.
    """

    @abstractmethod
    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> LossOutput:
        """Compute the loss of a batch."""

    def update(self, figures: Mapping[str, Tensor]) -> None:  # noqa: B027  most remember nothing
        """Update what is remembered, once per batch.

        Args:
            figures: `LossOutput.figures` and `choices`, each a mean over all parts of the batch and all processes:
                scalars on the device.
        """

    def with_choices(self, number: int) -> Objective:
        """Return the same objective with fixed choices, by which the cost of what is computed by choice is measured.

        Args:
            number: 0 for as little as possible; 1 up to the count of names in `LossOutput.choices` for choices that
                differ, so that all of them together tell the cost of each.
        """
        return self

    def dense(self) -> Objective:
        """Return the same objective with every part that can be computed by choice computed, once per image."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers, for a checkpoint: tensors and plain Python values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore what `state_dict` returned."""


class BringsObjective(Protocol):
    """A network that learns by an objective of its own; the engine asks it before it takes a recipe's usual one."""

    def training_objective(self, recipe: Recipe) -> Objective | None:
        """Return the objective for a recipe; None for the usual one, by ``glimpses`` and ``label_smoothing``."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross entropy with label smoothing, against class indices [N] or target distributions [N, classes].

    Attributes:
        label_smoothing: share of the target spread over all classes.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> LossOutput:
        """Compute mean loss and logits [N, classes] of a batch of normalised images [N, C, H, W].

        Raises:
            RecipeError: the stage weighs losses of several processing levels.
        """
        if stage.level_weights:
            raise RecipeError(
                f"recipe: stage '{stage.name}' weighs the losses of {len(stage.level_weights)} processing levels, "
                "which plain cross entropy does not know. Set glimpses, or leave level_weights out."
            )
        logits = model(images) if stage.levels is None else model(images, levels=stage.levels)
        if stage.samples is None:
            return LossOutput(F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing), logits)
        losses = F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=self.label_smoothing)
        return LossOutput(losses.mean(), logits, losses=losses)
