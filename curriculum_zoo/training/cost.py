"""What training costs: FLOPs counted from the network that runs, forward and backward, stage by stage."""

from __future__ import annotations

import copy
import resource
import sys

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..curricula import Frozen, Stage
from ..errors import ModelError, TrainingError
from .objectives import CrossEntropy

__all__ = ["CostMeter", "peak_memory"]


class CostMeter:
    """FLOPs of one training image under each stage, each distinct stage counted once.

    Counting runs a real training step of two images through a copy of the network, so it also finds out before
    training starts whether the network takes what a stage shows it.

    Args:
        model: the network; it is copied, not touched.
        channels: channels of its images.
        image_size: full side of the images, in pixels.
        num_classes: number of classes.
        objective: the loss that training uses.
        precision: of forward and backward in training.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        channels: int,
        image_size: int,
        num_classes: int,
        objective: CrossEntropy,
        precision: str = "fp32",
    ) -> None:
        self._model = model
        self._channels = channels
        self._image_size = image_size
        self._num_classes = num_classes
        self._objective = objective
        self._precision = precision
        self._counted: dict[tuple[int, tuple[Frozen, ...], int | None], int] = {}

    def full(self) -> int:
        """FLOPs of one image at full resolution with every part learning: the baseline of all comparisons."""
        return self.of(Stage(name="full"))

    def of(self, stage: Stage) -> int:
        """FLOPs of one image's forward and backward pass under `stage`.

        Raises:
            ModelError: the network cannot take the stage's images.
            TrainingError: it could not learn from them, for the gradients would be wrong.
        """
        key = (stage.pixels(self._image_size), stage.frozen, stage.levels)
        if key not in self._counted:
            self._counted[key] = self._count(stage)
        return self._counted[key]

    def _count(self, stage: Stage) -> int:
        device = next((parameter.device for parameter in self._model.parameters()), None)
        if device is None:
            raise ModelError(
                f"{type(self._model).__name__} has no parameters: there is nothing to train. Choose another."
            )
        labels = torch.arange(2, device=device) % self._num_classes
        model = copy.deepcopy(self._model).train()
        if device.type == "cpu" and self._precision == "bf16":
            _refuse_wrong_gradients(model, stage)
        # Counting must not move the generators that training draws from.
        with torch.random.fork_rng(), stage.applied_to(model) as view:
            seen = view(torch.rand(2, self._channels, self._image_size, self._image_size, device=device))
            try:
                with FlopCounterMode(display=False) as counter:
                    loss, logits = self._objective(model, seen, labels, stage)
                    if loss.requires_grad:
                        loss.backward()
            except TrainingError:
                raise
            except Exception as error:  # a network fails in whatever way its layers do
                raise ModelError(self._refusal(seen, stage, error)) from error
        if logits.shape != (2, self._num_classes):
            raise ModelError(
                f"{type(self._model).__name__} gives outputs of shape {list(logits.shape)} for 2 images of "
                f"{self._num_classes} classes, expected {[2, self._num_classes]}. Choose another network."
            )
        return counter.get_total_flops() // 2

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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def peak_memory(device: torch.device) -> int:
    """Most memory that was in use so far, in bytes: the tensors' on a GPU, the whole process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
