"""What training costs: FLOPs counted from the network that runs, forward and backward, stage by stage."""

from __future__ import annotations

import copy
import resource
import sys
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..curricula import Stage
from ..errors import CurriculumError, ModelError, RecipeError, TrainingError
from .objectives import Objective, Outcome

__all__ = ["CostMeter", "peak_memory"]


class CostMeter:
    """FLOPs of one training image under each stage, each distinct stage counted once.

    Counting runs a real training step of two images through a copy of the network, so it also finds out before
    training starts whether the network takes what a stage shows it. Where a network computes some of its parts by
    choice, as many such steps with fixed choices as it takes tell what each choice costs; FLOPs of training then
    follow from the choices that it made.

    Args:
        model: the network; it is copied, not touched.
        channels: channels of its images.
        image_size: full side of the images, in pixels.
        num_classes: number of classes.
        objective: the loss that training uses.
        precision: of forward and backward in training.

    Attributes:
        idle: names of the parameters that got no gradient in a step that was counted.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        channels: int,
        image_size: int,
        num_classes: int,
        objective: Objective,
        precision: str = "fp32",
    ) -> None:
        self._model = model
        self._channels = channels
        self._image_size = image_size
        self._num_classes = num_classes
        self._objective = objective
        self._precision = precision
        self._counted: dict[tuple[object, ...], dict[str, int]] = {}
        self._full: int | None = None
        self.idle: set[str] = set()

    def full(self) -> int:
        """FLOPs of one image at full resolution with every part learning: the baseline of all comparisons.

        Of a network that chooses what to compute: with all of it computed, once an image.
        """
        if self._full is None:
            stage, dense = Stage(name="full"), self._objective.dense()
            costs = self._costs(stage, dense)
            choices: dict[str, float] = {}
            if len(costs) > 1:
                with torch.no_grad():
                    _, choices = self._trial(stage, dense, images=1)
            self._full = _total(costs, choices)
        return self._full

    def of(self, stage: Stage, choices: Mapping[str, float] | None = None) -> int:
        """FLOPs of one image's forward and backward pass under `stage`.

        Args:
            stage: what the network sees.
            choices: mean counts of what was computed by choice, as in `Outcome.choices`; other names are passed over.
                None where nothing was.

        Raises:
            CurriculumZooError: the network cannot take the stage's images, or could not learn from them, for the
                gradients would be wrong.
        """
        key = (stage.pixels(self._image_size), stage.frozen, stage.levels, stage.level_weights)
        if key not in self._counted:
            self._counted[key] = self._costs(stage, self._objective)
        return _total(self._counted[key], choices or {})

    def _costs(self, stage: Stage, objective: Objective) -> dict[str, int]:
        """FLOPs of an image by name of choice, those that every image costs under an empty name."""
        flops, choices = self._trial(stage, objective.with_choices(0))
        rows, counted = [[1.0, *choices.values()]], [flops]
        for number in range(1, 1 + len(choices)):
            flops, choices = self._trial(stage, objective.with_choices(number))
            rows.append([1.0, *choices.values()])
            counted.append(flops)
        # Steps may be alike, where there is but one choice to make: then any share of it for each name will do.
        costs = np.linalg.lstsq(np.array(rows), np.array(counted, dtype=np.float64), rcond=None)[0]
        return dict(zip(("", *choices), (round(cost) for cost in costs), strict=True))

    def _trial(self, stage: Stage, objective: Objective, images: int = 2) -> tuple[int, dict[str, float]]:
        """FLOPs of an image in one training step, forward alone without gradients, and its mean choices."""
        device = next((parameter.device for parameter in self._model.parameters()), None)
        if device is None:
            raise ModelError(
                f"{type(self._model).__name__} has no parameters: there is nothing to train. Choose another."
            )
        labels = torch.arange(images, device=device) % self._num_classes
        model = copy.deepcopy(self._model).train()
        if device.type == "cpu" and self._precision == "bf16":
            _refuse_wrong_gradients(model, stage)
        # Counting must not move the generators that training draws from.
        with torch.random.fork_rng(), stage.applied_to(model) as view:
            seen = view(torch.rand(images, self._channels, self._image_size, self._image_size, device=device))
            try:
                with FlopCounterMode(display=False) as counter:
                    outcome = objective(model, seen, labels, stage)
                    if outcome.loss.requires_grad:
                        outcome.loss.backward()
            except (CurriculumError, RecipeError, TrainingError):
                raise
            except Exception as error:  # a network fails in whatever way its layers do
                raise ModelError(self._refusal(seen, stage, error)) from error
            if torch.is_grad_enabled():
                self.idle |= {name for name, parameter in model.named_parameters() if parameter.grad is None}
        self._check_logits(outcome, images)
        return counter.get_total_flops() // images, {name: value.item() for name, value in outcome.choices.items()}

    def _check_logits(self, outcome: Outcome, images: int) -> None:
        rows, *classes = outcome.logits.shape
        if rows == 0 or rows % images or classes != [self._num_classes]:
            raise ModelError(
                f"{type(self._model).__name__} gives outputs of shape {[rows, *classes]} for {images} images of "
                f"{self._num_classes} classes, expected {[images, self._num_classes]}. Choose another network."
            )

    def _refusal(self, seen: Tensor, stage: Stage, error: Exception) -> str:
        channels, height, width = seen.shape[1:]
        return (
            f"{type(self._model).__name__} cannot train on images of {height}x{width} px with {channels} channels, as "
            f"stage '{stage.name}' shows them ({_first_line(error)}). Choose a higher resolution or another network."
        )


def _refuse_wrong_gradients(model: nn.Module, stage: Stage) -> None:
    """Make the forward pass refuse convolutions whose bf16 weight gradients the CPU computes wrong.

    torch 2.15's CPU kernels leave memory uninitialised in them where an input is smaller than the stride of a kernel
    larger than one pixel; errors of 1e30 were seen, and smaller ones would go unnoticed.
    """

    def refuse(convolution: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(convolution, nn.Conv2d)
        sides = zip(inputs[0].shape[-2:], convolution.stride, convolution.kernel_size, strict=True)
        if any(side < stride and kernel > 1 for side, stride, kernel in sides):
            height, width = inputs[0].shape[-2:]
            raise TrainingError(
                f"bf16 on the CPU computes wrong gradients in stage '{stage.name}', where a convolution of stride "
                f"{convolution.stride[0]} sees {height}x{width} px. Use fp32, a higher resolution, or a GPU."
            )

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(refuse)


def _total(costs: Mapping[str, int], choices: Mapping[str, float]) -> int:
    """FLOPs of an image with so many choices."""
    return costs[""] + round(sum(cost * choices.get(name, 0) for name, cost in costs.items()))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def peak_memory(device: torch.device) -> int:
    """Most memory that was in use so far, in bytes: the tensors' on a GPU, the whole process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
