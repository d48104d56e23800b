"""What a run saw of each training image so far, by which its curriculum chooses: `RunScores`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .measures import Measure, difficulty, forgotten
from .rule import SampleRule

__all__ = ["RunScores", "together"]


class RunScores:
    """An array of scores for each measure that a curriculum goes by; the same on every process at an epoch's start.

    While an epoch lasts, each process notes on the device what it saw of its own images, without waiting for it.
    `merge`, after the epoch, brings what all processes noted into the arrays, which choices are made from.

    Args:
        numbers: the training images' numbers in their set, int64 [N].
        rules: those of the whole curriculum's stages; None for a stage without one.

    Attributes:
        numbers: as given, on the CPU.
        scores: float32 [N] on the CPU, NaN for an image that was not seen, keyed by measure.
    """

    def __init__(self, numbers: Tensor, rules: Iterable[SampleRule | None]) -> None:
        measures = dict.fromkeys(measure for rule in rules if rule for measure in rule.notes + rule.looks)
        self.numbers = numbers
        self.scores: dict[Measure, Tensor] = {measure: self._blank() for measure in measures}
        self._right = self._blank() if "forgetting" in measures else None
        self._unread: dict[Measure, list[tuple[Tensor, Tensor]]] = {}
        self._read: dict[Measure, Tensor] = {}
        self._places = torch.full((int(numbers.max()) + 1 if len(numbers) else 0,), -1)
        self._places[numbers] = torch.arange(len(numbers))

    @property
    def any(self) -> bool:
        """Whether the curriculum goes by anything that the run saw."""
        return bool(self.scores)

    def note(
        self,
        measures: Sequence[Measure],
        numbers: Tensor,
        logits: Tensor,
        labels: Tensor,
        losses: Tensor | None = None,
    ) -> None:
        """Note what an epoch sees of some images; without waiting for the device.

        Args:
            measures: what to note.
            numbers: the images' numbers, int64 [n] on the CPU.
            logits: the network's, [n, classes].
            labels: class numbers, int64 [n].
            losses: the training's own losses before weights, [n]; cross entropy where None.
        """
        for measure in measures:
            if measure == "loss" and losses is not None:
                values = losses.detach().float()
            else:
                values = difficulty(measure, logits, labels)
            self._unread.setdefault(measure, []).append((numbers, values))

    def fresh(self) -> dict[Measure, Tensor]:
        """Return what this process noted since the last `merge`, float32 [N], NaN elsewhere; waits for the device."""
        for measure, noted in self._unread.items():
            numbers, values = (torch.cat(parts) for parts in zip(*noted, strict=True))  # one copy from the device
            self._read.setdefault(measure, self._blank()).index_copy_(0, self._places[numbers], values.cpu())
        self._unread.clear()
        return dict(self._read)

    def merge(self, shares: Iterable[Mapping[Measure, Tensor]]) -> None:
        """Bring what all processes noted in an epoch into the scores.

        Args:
            shares: what `fresh` returned on each of them.
        """
        for measure, array in together(shares).items():
            if measure == "forgetting":
                assert self._right is not None
                self.scores[measure] = forgotten(self.scores[measure], self._right, array)
                self._right = torch.where(array.isnan(), self._right, array)
            else:
                self.scores[measure] = torch.where(array.isnan(), self.scores[measure], array)
        self._unread.clear()
        self._read.clear()

    def state_dict(self, shares: Iterable[Mapping[Measure, Tensor]]) -> dict[str, Any]:
        """Return everything for a checkpoint: scores, and what all processes noted so far in the present epoch."""
        return {"numbers": self.numbers, "scores": dict(self.scores), "right": self._right, "fresh": together(shares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; each process goes on with what all of them had noted."""
        self.scores = dict(state["scores"])
        self._right = state["right"]
        self._read = dict(state["fresh"])

    def _blank(self) -> Tensor:
        return torch.full((len(self.numbers),), torch.nan)


def together(shares: Iterable[Mapping[Measure, Tensor]]) -> dict[Measure, Tensor]:
    """Return the arrays of several processes as one, each image's value from whichever has it."""
    arrays: dict[Measure, Tensor] = {}
    for share in shares:
        for measure, array in share.items():
            arrays[measure] = torch.where(array.isnan(), arrays[measure], array) if measure in arrays else array
    return arrays
