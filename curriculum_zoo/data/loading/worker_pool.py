"""`WorkerPool`: processes that read images, at any size, for all loaders of a run."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import DataError, RecipeError, TrainingError
from ..decoding.geometry import convert_channels
from ..decoding.image_file import ImageReader
from ..decoding.image_source import ImageSource
from ..decoding.transforms import Transform, single_threaded

__all__ = ["ReadRequest", "ReadResult", "WorkerPool", "available_processors"]

_AHEAD = 2  # batches that each worker may be ahead


@dataclass(frozen=True)
class ReadRequest:
    """Images to read for one batch of one training process.

    Attributes:
        indices: which images of the source, int64 [n].
        seeds: what decides each image's random changes, uint64 [n].
        training: whether they go through the training transform, or through that of evaluation.
        pixels: side of the squares that are wanted.
    """

    indices: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint64]
    training: bool
    pixels: int


@dataclass(frozen=True)
class ReadResult:
    """What became of a request.

    Attributes:
        pixels: the images that could be read, uint8 [m, pixels, pixels, channels].
        read: their places in the request, int64 [m], ascending.
        failures: what is wrong with the others, keyed by their names.
        fatal: what is wrong with the recipe's own pipeline; None where nothing is.
    """

    pixels: Tensor
    read: Tensor
    failures: dict[str, str]
    fatal: str | None = None

    def pin_memory(self) -> ReadResult:
        """Return the same with pixels in page-locked memory, as `DataLoader` asks it to."""
        return ReadResult(self.pixels.pin_memory(), self.read, self.failures, self.fatal)


class _RequestedImages(Dataset[ReadResult]):
    """The "dataset" of torch's `DataLoader`: its items are whole batches, its keys are requests."""

    def __init__(self, images: ImageSource, training: Transform, evaluation: Transform, channels: int) -> None:
        self._images = images
        self._training = training
        self._evaluation = evaluation
        self._channels = channels

    def __getitem__(self, request: ReadRequest) -> ReadResult:
        transform = self._training if request.training else self._evaluation
        pixels = np.empty((len(request.indices), request.pixels, request.pixels, self._channels), dtype=np.uint8)
        failures: dict[str, str] = {}
        read: list[int] = []
        for place, (index, seed) in enumerate(zip(request.indices.tolist(), request.seeds.tolist(), strict=True)):
            try:
                image = ImageReader(self._images.content(index), self._images.name(index))
                changed = transform(image, request.pixels, seed)
                pixels[len(read)] = convert_channels(changed[None], self._channels)[0]
                read.append(place)
            except DataError as error:
                failures[self._images.name(index)] = str(error)
            except RecipeError as error:
                return ReadResult(torch.empty(0), torch.empty(0), {}, fatal=str(error))
        return ReadResult(torch.from_numpy(pixels[: len(read)]), torch.tensor(read, dtype=torch.int64), failures)


class _RequestSampler:
    """The "sampler" of torch's `DataLoader`, which keeps the one it was made with: its requests change by epoch."""

    def __init__(self) -> None:
        self.requests: Iterable[ReadRequest] = ()

    def __iter__(self) -> Iterator[ReadRequest]:
        return iter(self.requests)


class WorkerPool:
    """Processes that read and transform images; started by the first request, they run until `close`.

    Args:
        images: where the images come from.
        training: what training images go through.
        evaluation: what validation and test images go through.
        channels: 3 for RGB, 1 for gray.
        workers: how many processes; 0 reads in this one. None takes one for each processor, or this process's share of
            them where several train together, but no more than 16.
        pin_memory: whether batches lie in page-locked memory, from which a GPU copies without the CPU's help.
    """

    def __init__(
        self,
        images: ImageSource,
        *,
        training: Transform,
        evaluation: Transform,
        channels: int = 3,
        workers: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.workers = _default_workers() if workers is None else workers
        self._dataset = _RequestedImages(images, training, evaluation, channels)
        self._sampler = _RequestSampler()
        self._pin_memory = pin_memory
        self._task = 0
        self._loader = self._new_loader()

    def results(self, requests: Iterable[ReadRequest]) -> Iterator[ReadResult]:
        """Yield the results of requests, in their order; a second call ends the first one, whose results stop.

        Args:
            requests: what to read; workers run a few of them ahead.

        Raises:
            TrainingError: a worker process died, or another call ended this one.
        """
        self._task += 1
        task = self._task
        self._sampler.requests = requests
        try:
            for result in self._loader:
                yield result
                if self._task != task:
                    raise TrainingError("These images are no longer being read: their workers were given another task.")
        except (RuntimeError, EOFError, OSError) as error:
            # One that is killed while it hands over a batch leaves its end of a pipe closed.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            cause = " ".join(str(error).split()) or type(error).__name__
            raise TrainingError(
                f"A process that reads images died ({cause}). Memory may have run out, or "
                "shared memory in a container: use fewer workers, or none (workers=0)."
            ) from error

    def close(self) -> None:
        """Stop the processes; a later request starts new ones."""
        self._loader = self._new_loader()

    def _new_loader(self) -> DataLoader[Any]:
        return DataLoader(
            self._dataset,
            sampler=self._sampler,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=self.workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.workers > 0,
            prefetch_factor=_AHEAD if self.workers else None,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # else it would draw from the generator that networks draw from
        )


def available_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _default_workers() -> int:
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun and by Accelerate
    return max(1, min(16, available_processors() // max(1, together)))


def _unchanged(result: Any) -> Any:
    return result


def _start_worker(worker: int) -> None:
    single_threaded()
    # Ctrl-C reaches all processes of a terminal; what to do about it is the training's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Between this and the size that is refused, an image is merely large.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
