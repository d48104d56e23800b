"""`EpochTotals`: what adds up over an epoch of training: images, right predictions, losses, times."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["EpochTotals"]

_COUNTS = ("images", "left_out", "rows", "right", "seconds", "compute_seconds")
"""What an epoch counts besides the figures of its batches."""


@dataclass
class EpochTotals:
    """What adds up over an epoch on one process.

    Figures of batches are single-precision scalars on the device, since not every device has double precision. They
    stay there until `read`, which brings those since the last reading to the host in one copy, and adds them up there,
    in double precision and in order, so that reading more or less often changes no digit.

    Attributes:
        images: trained on.
        left_out: of these, those in batches with figures that were not finite, which count in no mean.
        rows: predictions: several per image, where an objective draws several samples of it.
        right: right ones among them.
        seconds: spent.
        compute_seconds: spent on forward, backward and optimiser, as the host's clock has it.
        figures: loss and other figures, each a mean over a batch times its images, keyed by name.
    """

    images: int = 0
    left_out: int = 0
    rows: int = 0
    right: int = 0
    seconds: float = 0.0
    compute_seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    _unread: list[tuple[int, int, tuple[str, ...], Tensor]] = field(default_factory=list, repr=False)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Count the time within as spent on forward, backward or optimiser."""
        started = time.perf_counter()
        yield
        self.compute_seconds += time.perf_counter() - started

    def add(self, images: int, rows: int, right: Tensor, means: Mapping[str, Tensor]) -> None:
        """Add a batch, without waiting for the device.

        Args:
            images: its images.
            rows: its predictions.
            right: how many of those were right, a scalar.
            means: loss and other figures, means over its images, scalars keyed by name.
        """
        self.images += images
        # A count of one batch is exact in single precision, too.
        values = torch.stack([right.float(), *(mean.float() for mean in means.values())])
        self._unread.append((images, rows, tuple(means), values))

    def read(self) -> EpochTotals:
        """Bring to the host what is still on the device, and return these totals; this waits for the device."""
        # Batches of an epoch have the same figures, so that this is one copy.
        for names, batches in itertools.groupby(self._unread, key=lambda batch: batch[2]):
            sizes, rows, _, values = zip(*batches, strict=True)
            for images, count, (right, *means) in zip(sizes, rows, torch.stack(values).tolist(), strict=True):
                if not all(map(math.isfinite, means)):
                    self.left_out += images
                    continue
                self.rows += count
                self.right += int(right)
                for name, mean in zip(names, means, strict=True):
                    self.figures[name] = self.figures.get(name, 0.0) + mean * images
        self._unread.clear()
        return self

    def loss_and_accuracy(self) -> tuple[float, float]:
        """Return mean loss and accuracy so far; this waits for the device."""
        return self.read().means().get("loss", math.nan), self.right / max(1, self.rows)

    def means(self) -> dict[str, float]:
        """Return the figures that were read as means over images, keyed by name."""
        return {name: total / max(1, self.images - self.left_out) for name, total in self.figures.items()}

    def to_dict(self) -> dict[str, float]:
        """Return everything as plain numbers; this waits for the device."""
        self.read()
        return {**{name: getattr(self, name) for name in _COUNTS}, **self.figures}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> EpochTotals:
        """Return totals from what `to_dict` returned."""
        counts = {name: values.get(name, 0) for name in _COUNTS}
        return cls(**counts, figures={name: value for name, value in values.items() if name not in _COUNTS})  # type: ignore[arg-type]

    @classmethod
    def summed(cls, parts: Sequence[Mapping[str, float]]) -> EpochTotals:
        """Return the totals of all processes, from what `to_dict` returned on each."""
        names = dict.fromkeys(name for part in parts for name in part)
        return cls.from_dict({name: sum(part.get(name, 0) for part in parts) for name in names})

    @classmethod
    def share(cls, parts: Sequence[Mapping[str, float]], process: int, processes: int) -> EpochTotals:
        """Return the totals with which one process goes on from those of a checkpoint.

        Args:
            parts: what `to_dict` returned on each of the processes that wrote the checkpoint.
            process: number of the process that goes on.
            processes: how many go on. Where they are others than wrote it, the first one takes over all.
        """
        if processes == len(parts):
            return cls.from_dict(parts[process])
        if process:
            return cls()
        totals = cls.summed(parts)
        # Seconds pass on all processes at once: the mean over them counts.
        totals.seconds *= processes / len(parts)
        totals.compute_seconds *= processes / len(parts)
        return totals
