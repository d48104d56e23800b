"""One update of a network's weights by one batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..curricula import Stage
from ..curricula.samples.run_scores import RunScores
from ..data import Batch
from .epoch_totals import EpochTotals
from .image_losses import weighed
from .optimizers import make_optimizer
from .run_parts import RunParts
from .step_guard import StepGuard

__all__ = ["TrainStep"]


class TrainStep:
    """Updates the weights by one batch after another, and never waits for the device, nor copies to the host.

    Only under fp16 torch's loss scaling asks the device once per step whether to skip it, unless the optimiser is a
    fused one (``optimizer.options={"fused": true}``).

    Args:
        parts: the run's.
        scores: where it is noted what is seen of each image, for curricula that choose images by that.

    Attributes:
        optimizer: the present one.
        guard: takes back steps that are not finite.
    """

    def __init__(self, parts: RunParts, scores: RunScores | None = None) -> None:
        limit = parts.recipe.nonfinite_limit if parts.recipe.on_nonfinite == "skip" else None
        self.guard = StepGuard(parts.device, skips=parts.accelerator.scaler is not None, limit=limit)
        self.optimizer = make_optimizer(parts.network, parts.recipe.optimizer, parts.rates)
        self._parts = parts
        self._scores = scores
        self._model: nn.Module = parts.accelerator.prepare(parts.trained)

    def renew_optimizer(self) -> None:
        """Go on with a fresh optimiser."""
        self.optimizer = make_optimizer(self._parts.network, self._parts.recipe.optimizer, self._parts.rates)

    def __call__(
        self, images: Tensor, targets: Tensor, batch: Batch, stage: Stage, step: int, totals: EpochTotals
    ) -> None:
        """Update the weights.

        Args:
            images: normalised, [n, C, H, W].
            targets: class numbers [n], or distributions [n, classes].
            batch: what they were made from; accuracy is counted by its labels.
            stage: the epoch's.
            step: number of the step in the epoch.
            totals: the epoch's; the batch is added to them.
        """
        with totals.computing():
            self.guard.hold(self._changing())
            self.optimizer.zero_grad(set_to_none=True)
            means, rows, right = self._backward(images, targets, batch, stage)
            self._finish_gradients(step, means["loss"])
            self._step_optimizer()
            if self._parts.average is not None:
                self._parts.average.update(self._parts.network)
            self.guard.settle()
        self._update_objective(means)
        totals.add(len(images), rows, right, means)

    def attempt(self, images: Tensor, targets: Tensor, stage: Stage) -> None:
        """Compute gradients of some images at once, and drop them; a run cannot go on after it.

        Args:
            images: as for a step.
            targets: as for a step.
            stage: the epoch's.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with self._parts.accelerator.no_sync(self._model):
            self._parts.accelerator.backward(self._parts.objective(self._model, images, targets, stage).loss)
        self.optimizer.zero_grad(set_to_none=True)

    def _changing(self) -> Iterator[Tensor]:
        """All tensors that a step changes."""
        yield from (parameter for parameter in self._parts.network.parameters() if parameter.requires_grad)
        yield from self._parts.network.buffers()
        yield from _tensors(list(self.optimizer.state.values()))
        if self._parts.average is not None:
            yield from self._parts.average.module.parameters()
            yield from self._parts.average.module.buffers()

    def _backward(
        self, images: Tensor, targets: Tensor, batch: Batch, stage: Stage
    ) -> tuple[dict[str, Tensor], int, Tensor]:
        """Accumulate gradients of one batch; return its mean figures, its count of predictions, and of right ones."""
        accelerator = self._parts.accelerator
        means: dict[str, Tensor] = {}
        rows, right = 0, torch.zeros((), dtype=torch.int64, device=self._parts.device)
        parts = self._parts.recipe.accumulation
        chunks = [tensor.chunk(parts) for tensor in (images, targets, batch.labels, batch.numbers)]
        weights = [None] * len(chunks[0]) if batch.weights is None else batch.weights.chunk(parts)
        for number, (some_images, some_targets, some_labels, numbers) in enumerate(zip(*chunks, strict=True), 1):
            last = number == len(chunks[0])
            weight = len(some_images) / len(images)
            with contextlib.nullcontext() if last else accelerator.no_sync(self._model):
                output = self._parts.objective(self._model, some_images, some_targets, stage)
                if self._scores is not None and stage.samples is not None:
                    self._scores.note(stage.samples.notes, numbers, output.logits, some_labels, output.losses)
                output = weighed(output, weights[number - 1])
                accelerator.backward(output.loss * weight)
            for name, value in output.means().items():
                means[name] = means.get(name, 0) + value * weight
            rows += len(output.logits)
            samples = len(output.logits) // len(some_images)
            right += (output.logits.detach().argmax(1) == some_labels.repeat(samples)).sum()
        return means, rows, right

    def _finish_gradients(self, step: int, loss: Tensor) -> None:
        """Judge loss and gradients, and clip them where the recipe says so."""
        scaler, clip_norm = self._parts.accelerator.scaler, self._parts.recipe.optimizer.clip_norm
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        learning = [parameter for parameter in self._parts.network.parameters() if parameter.grad is not None]
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.guard.limit is not None:
            loss = self._parts.accelerator.reduce(loss, reduction="sum")  # all processes leave out the same steps
        self.guard.judge(step, loss, norm)
        if clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(learning, clip_norm, norm)
        self.guard.silence(gradients)

    def _step_optimizer(self) -> None:
        scaler = self._parts.accelerator.scaler
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def _update_objective(self, means: dict[str, Tensor]) -> None:
        """Let the objective remember what it is to remember, the same on all processes."""
        figures = {name: value for name, value in means.items() if name != "loss"}
        if figures:
            values = self._parts.accelerator.reduce(torch.stack(list(figures.values())), reduction="mean")
            self._parts.objective.update(dict(zip(figures, values.unbind(), strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser and loss scaling, for a checkpoint."""
        scaler = self._parts.accelerator.scaler
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "skipped": self.guard.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.guard.skipped = state.get("skipped", 0)
        if self._parts.accelerator.scaler is not None:
            self._parts.accelerator.scaler.load_state_dict(state["scaler"])


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a tree of lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
