"""Keeps numbers that are not finite out of all that a step changes, without waiting for the device.

Whether a step's loss and gradients are finite is known on the device long before it is known on the host. So each step
is computed as if they were, and taken back on the device where they are not: what it changed is selected, bit by bit,
from before or after it. The host reads every so many steps which step was the first to go wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compat import add_all, copy_all, multiply_all

__all__ = ["MOST_SKIPPED", "Breakdown", "StepGuard", "first_breakdown"]

MOST_SKIPPED = 40
"""Steps in a row that fp16's loss scaling may skip. It halves its scale each time, from 65,536: gradients that are
still infinite after so many are so by themselves."""

_CAUSES = (
    "the loss is not finite",
    "the gradient norm is not finite",
    f"the gradients were not finite in {MOST_SKIPPED} steps in a row, at ever smaller loss scales",
    "loss or gradients were not finite in more steps than nonfinite_limit lets be left out",
)

# Selecting by a product with 0 or 1 is exact for integers of the same bits, where 0 · NaN would be NaN.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, order=True)
class Breakdown:
    """The first step of an epoch that went wrong.

    Attributes:
        step: its number in the epoch.
        cause: what was wrong, as a clause.
    """

    step: int
    cause: str


class StepGuard:
    """Takes back steps whose loss or gradients are not finite.

    After the first of them nothing changes any more, so that what is in memory when the host finds out is what the last
    good step left. Under fp16, whose loss scaling makes infinite gradients now and then, only such steps themselves are
    taken back; with a limit, all steps that are not finite are, up to that many in a run.

    Optimisers' state on the host, the step counts of some, is not taken back.

    Args:
        device: where the run computes.
        skips: whether infinite gradients are skipped, as under fp16, up to `MOST_SKIPPED` in a row.
        limit: how many steps of a run may be left out that are not finite, those of fp16's scaling not counted; None
            where the first one ends it.
    """

    def __init__(self, device: torch.device, *, skips: bool = False, limit: int | None = None) -> None:
        self.limit = limit
        self._device = device
        self._skips = skips
        self._first = torch.full((len(_CAUSES),), -1, dtype=torch.int32, device=device)
        self._skipped = torch.zeros((), dtype=torch.int32, device=device)
        self._left_out = torch.zeros((), dtype=torch.int32, device=device)
        self._keep = torch.ones((), dtype=torch.bool, device=device)
        self._held: list[Tensor] = []
        self._before: list[Tensor] = []

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Copy all that the next step may change.

        Args:
            tensors: parameters, buffers, the optimiser's state, none of them twice; those on other devices are left
                out.
        """
        self._held = [tensor.detach() for tensor in tensors if tensor.device == self._device]
        if [(t.shape, t.dtype) for t in self._held] != [(t.shape, t.dtype) for t in self._before]:
            self._before = [torch.empty_like(tensor) for tensor in self._held]
        copy_all(self._before, self._held)

    def judge(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Find out, on the device, whether a step is to be kept.

        Args:
            step: its number in the epoch.
            loss: the batch's, a scalar.
            norm: that of its gradients, a scalar, the same on all processes.
        """
        infinite, undefined = ~norm.to(self._device).isfinite(), ~loss.isfinite()
        self._skipped = torch.where(infinite, self._skipped + 1, 0)
        stuck = (self._skipped >= MOST_SKIPPED) & self._skips
        broken = infinite & (not self._skips)
        if self.limit is None:
            over = torch.zeros_like(stuck)
        else:
            self._left_out = self._left_out + (undefined | broken)
            over = self._left_out > self.limit
            infinite = infinite | undefined
            undefined = broken = torch.zeros_like(stuck)
        wrong = torch.stack([undefined, broken, stuck, over])
        self._first = torch.where((self._first < 0) & wrong, step, self._first)
        self._keep = (self._first < 0).all() & ~infinite

    def silence(self, gradients: Sequence[Tensor]) -> None:
        """Set gradients to zero in place where the step is not kept, so that no optimiser's state takes them in."""
        for bits, views in _by_width(gradients).items():
            multiply_all(views, self._keep.to(bits))

    def settle(self) -> None:
        """Take back what the step changed of all that is held, where it is not kept."""
        befores = _by_width(self._before)
        for bits, after in _by_width(self._held).items():
            keep = self._keep.to(bits)
            multiply_all(after, keep)
            multiply_all(befores[bits], 1 - keep)
            add_all(after, befores[bits])

    @property
    def skipped(self) -> int:
        """How many steps of the run were left out because of the limit; this waits for the device."""
        return int(self._left_out)

    @skipped.setter
    def skipped(self, count: int) -> None:
        self._left_out = torch.full_like(self._left_out, count)

    def read(self) -> list[int]:
        """Return the first step of the epoch that went wrong, -1 for none, by cause; this waits for the device."""
        return self._first.tolist()


def first_breakdown(readings: Iterable[Sequence[int]]) -> Breakdown | None:
    """Return the first step that went wrong on any process; None where none did.

    Args:
        readings: what `StepGuard.read` returned on each process.
    """
    found = [Breakdown(step, _CAUSES[cause]) for reading in readings for cause, step in enumerate(reading) if step >= 0]
    # Of one step's causes the loss comes first: gradients of a loss that is not finite are none either.
    return min(found, key=lambda breakdown: (breakdown.step, _CAUSES.index(breakdown.cause)), default=None)


def _by_width(tensors: Sequence[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    """The tensors' bits as integers, in their memory, keyed by the integers' type."""
    views: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        bits = _BITS[tensor.element_size()]
        views.setdefault(bits, []).append(tensor.detach().view(bits))
    return views
