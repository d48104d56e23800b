"""What training costs: FLOPs of forward and backward pass, counted from the network that runs, stage by stage."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..curricula import Stage
from ..errors import CurriculumError, ModelError, RecipeError, TrainingError
from .image_losses import check_objective
from .objectives import LossOutput, Objective

__all__ = ["CostMeter"]


class CostMeter:
    """Counts the FLOPs of one training image in each stage.

    A count runs one training step of two images through a copy of the network, with torch's FLOP counter. So it also
    shows, before training starts, whether the network takes the images of that stage. Stages that differ in nothing
    that FLOPs depend on are counted once.

    Some networks decide per image which of their parts to compute (`LossOutput.choices`). Their FLOPs are linear in
    these choices: several steps with different fixed choices give a system of linear equations, whose solution is the
    cost of each choice. The cost of a training then follows from the choices that it made.

    Args:
        model: the network; only copies of it are run.
        channels: channels of its images.
        image_size: full side of the images, in pixels.
        num_classes: number of classes.
        objective: the loss that training uses.
        precision: of forward and backward in training.

    Attributes:
        idle: names of parameters that got no gradient in at least one of the steps.
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
        self._looks: dict[tuple[object, ...], int] = {}
        self._full: int | None = None
        self.idle: set[str] = set()

    def full(self) -> int:
        """Return the FLOPs of one image at full resolution with no part frozen: what relative costs are shares of.

        Of a network that decides what to compute, everything is computed, once per image.
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
        """Return the FLOPs of one image's forward and backward pass in a stage.

        Args:
            stage: the stage.
            choices: mean choices per image, as in `LossOutput.choices`; other names are ignored. None for no choices.

        Raises:
            CurriculumZooError: the network does not take the stage's images, or its gradients would be wrong.
        """
        rule = stage.samples
        chosen_by = None if rule is None else (rule.notes, rule.looks, rule.weighs)
        key = (stage.pixels(self._image_size), stage.frozen, stage.levels, stage.level_weights, chosen_by)
        if key not in self._counted:
            self._counted[key] = self._costs(stage, self._objective)
        return _total(self._counted[key], choices or {})

    def of_look(self, stage: Stage) -> int:
        """Return the FLOPs of one image's forward pass in a stage: what it costs to look at an image to choose.

        Raises:
            CurriculumZooError: the network does not take the stage's images.
        """
        key = (stage.pixels(self._image_size), stage.levels)
        if key not in self._looks:
            with torch.no_grad():
                self._looks[key], _ = self._trial(stage, self._objective)
        return self._looks[key]

    def _costs(self, stage: Stage, objective: Objective) -> dict[str, int]:
        """FLOPs per choice, keyed by its name; those of every image under the empty name."""
        flops, choices = self._trial(stage, objective.with_choices(0))
        rows, counted = [[1.0, *choices.values()]], [flops]
        for number in range(1, 1 + len(choices)):
            flops, choices = self._trial(stage, objective.with_choices(number))
            rows.append([1.0, *choices.values()])
            counted.append(flops)
        # With one cell to choose among, some choices go together: any split of their cost between them is right then.
        costs = np.linalg.lstsq(np.array(rows), np.array(counted, dtype=np.float64), rcond=None)[0]
        return dict(zip(("", *choices), (round(cost) for cost in costs), strict=True))

    def _trial(self, stage: Stage, objective: Objective, images: int = 2) -> tuple[int, dict[str, float]]:
        """FLOPs per image of a training step, or of its forward pass where gradients are off, and mean choices."""
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
                    output = objective(model, seen, labels, stage)
                    if output.loss.requires_grad:
                        output.loss.backward()
            except (CurriculumError, RecipeError, TrainingError):
                raise
            except Exception as error:  # a network fails in whatever way its layers do
                raise ModelError(self._refusal(seen, stage, error)) from error
            if torch.is_grad_enabled():
                self.idle |= {name for name, parameter in model.named_parameters() if parameter.grad is None}
        self._check_logits(output, images)
        if stage.samples is not None:
            check_objective(stage.samples, output, images)
        return counter.get_total_flops() // images, {name: value.item() for name, value in output.choices.items()}

    def _check_logits(self, output: LossOutput, images: int) -> None:
        rows, *classes = output.logits.shape
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
    """Let the forward pass raise at convolutions whose bf16 weight gradients the CPU computes wrong.

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
    """FLOPs of an image with these mean choices."""
    return costs[""] + round(sum(cost * choices.get(name, 0) for name, cost in costs.items()))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
