"""What a run writes while it trains: by time, not by epoch, so that short epochs are not spent on writing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..runs.checkpoint import save_checkpoint
from ..runs.curves import draw_curves
from ..runs.folder import RunFolder
from ..weights.folder import Which, save_folder

__all__ = ["WRITING_SECONDS", "RunFiles"]

WRITING_SECONDS = 20.0
"""After an epoch that ends sooner than this after the last writing, nothing is written."""


class RunFiles:
    """Holds the weights of the last and of the best epoch in memory, and writes them with all else that is due.

    A run that is killed goes on from its checkpoint, and makes again what had been held. Weights are written before the
    checkpoint that counts on them.

    Args:
        folder: the run's.
        title: what its figure is called.
    """

    def __init__(self, folder: RunFolder, title: str) -> None:
        self._folder = folder
        self._title = title
        self._held: dict[Which, tuple[dict[str, Tensor], dict[str, Any]]] = {}
        self._written = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since files were last written, or since the run started."""
        return time.monotonic() - self._written

    def hold(self, which: Sequence[Which], weights: Mapping[str, Tensor], config: dict[str, Any]) -> None:
        """Keep a copy of weights in main memory until they are written, in place of those that were held.

        Args:
            which: as which weights: ``last``, and ``best`` if they are.
            weights: a network's state.
            config: their ``config.json``.
        """
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        self._held |= dict.fromkeys(which, (copied, config))

    def write(self, checkpoint: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
        """Write the weights that are held, the checkpoint, the lines of metrics and their figure.

        Args:
            checkpoint: the run's state.
            metrics: a line per epoch that is done.

        Raises:
            CheckpointError: one of them cannot be written, as on a full disk; those of before are whole.
        """
        with self._folder.writing():
            for which, (weights, config) in self._held.items():
                save_folder(getattr(self._folder, which), weights, config)
            self._held.clear()
            save_checkpoint(self._folder.path, checkpoint)
        self.write_log(metrics)
        self._written = time.monotonic()

    def write_log(self, metrics: list[dict[str, Any]]) -> None:
        """Write the lines of metrics and their figure alone."""
        if metrics:
            self._folder.write_metrics(metrics)
            with self._folder.writing():
                draw_curves(metrics, self._folder.curves, title=self._title)
