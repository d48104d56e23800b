"""What adds up over an epoch of training: images, times, and whatever batches come to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["COUNTS", "Sums"]

COUNTS = ("images", "seconds", "compute_seconds")
"""What an epoch counts besides the totals of what batches came to."""


@dataclass
class Sums:
    """What adds up over an epoch: on the device what is computed there, so that the loop never waits for it.

    Attributes:
        totals: loss and other figures, each a mean over a batch times its images, and under ``right`` the count of
            right predictions; scalars in double precision.
        images: trained on.
        seconds: spent.
        compute_seconds: spent on forward, backward and optimiser.
    """

    totals: dict[str, Tensor]
    images: int = 0
    seconds: float = 0.0
    compute_seconds: float = 0.0

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Count the time within as spent on forward, backward or optimiser."""
        started = time.perf_counter()
        yield
        self.compute_seconds += time.perf_counter() - started

    def add(self, images: int, right: Tensor, means: dict[str, Tensor]) -> None:
        """Add what a batch came to: its images, how many of them were right, and means over them."""
        self.images += images
        for name, total in {"right": right, **{name: mean * images for name, mean in means.items()}}.items():
            self.totals[name] = self.totals.get(name, 0) + total

    def figures(self) -> tuple[float, float]:
        """Mean loss and accuracy so far."""
        return self.totals["loss"].item() / self.images, self.totals["right"].item() / self.images

    def to_dict(self) -> dict[str, float]:
        """Everything, as plain numbers."""
        return {name: getattr(self, name) for name in COUNTS} | {
            name: total.item() for name, total in self.totals.items()
        }

    @classmethod
    def start(cls, device: torch.device, values: dict[str, Any] | None = None) -> Sums:
        """Nothing yet, or what `to_dict` gave."""
        values = values or {}
        totals = {
            name: torch.tensor(value, dtype=torch.float64, device=device)
            for name, value in values.items()
            if name not in COUNTS
        }
        return cls(totals, **{name: values[name] for name in COUNTS if name in values})
