"""`WorkerPool`: processes that read images, at any size, for all loaders of a run."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import pickle
import signal
import threading
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

from ...errors import CurriculumZooError, DataError, TrainingError
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
        fatal: what ends the run, as a failure of the recipe's own pipeline does; None where nothing does.
    """

    pixels: Tensor
    read: Tensor
    failures: dict[str, str]
    fatal: CurriculumZooError | None = None

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
            except Exception as error:  # also what a plugin's source raises: a process would die of it without a word
                return ReadResult(torch.empty(0), torch.empty(0), {}, fatal=_told(error, self._images, index))
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
            them where several train together, but no more than 16; and none in a process that may start no others.
        pin_memory: whether batches lie in page-locked memory, from which a GPU copies without the CPU's help.

    Raises:
        TrainingError: processes are asked for where none can be started.
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
        if workers and multiprocessing.current_process().daemon:
            raise TrainingError(
                f"This process is daemonic, as those of multiprocessing.Pool are, and may not start {workers} that "
                "read images. Use workers=0, which reads them here, or concurrent.futures.ProcessPoolExecutor."
            )
        self.workers = _default_workers() if workers is None else workers
        self._dataset = _RequestedImages(images, training, evaluation, channels)
        self._sampler = _RequestSampler()
        self._pin_memory = pin_memory
        self._task = 0
        self._loader = self._new_loader()
        self._processes: tuple[multiprocessing.process.BaseProcess, ...] = ()

    def results(self, requests: Iterable[ReadRequest]) -> Iterator[ReadResult]:
        """Yield the results of requests, in their order; a second call ends the first one, whose results stop.

        Args:
            requests: what to read; workers run a few of them ahead.

        Raises:
            TrainingError: processes cannot be started, one of them died, or another call ended this one.
        """
        self._task += 1
        task = self._task
        self._sampler.requests = requests
        results = self._start()
        while True:
            try:
                result = next(results, None)
            except (RuntimeError, EOFError, OSError) as error:
                if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                    raise
                raise TrainingError(f"A process that reads images died: {self._cause_of_death(error)}") from error
            if result is None:
                return
            yield result
            if self._task != task:
                raise TrainingError("These images are no longer being read: their workers were given another task.")

    def close(self) -> None:
        """Stop the processes; a later request starts new ones."""
        self._loader, self._processes = self._new_loader(), ()

    def _start(self) -> Iterator[ReadResult]:
        """The results of the requests, from processes that are started where there are none."""
        there = set(multiprocessing.active_children())
        handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        try:
            results = iter(self._loader)
        except (OSError, TypeError, AttributeError, pickle.PicklingError) as error:
            raise TrainingError(
                f"No processes that read images can be started: {type(error).__name__}: {_in_a_line(error)}. Use fewer "
                "workers, or none (workers=0)."
            ) from error
        self._processes = self._processes or tuple(set(multiprocessing.active_children()) - there)
        if handler is not None and threading.current_thread() is threading.main_thread():
            # By a handler of its own torch raises a process's death wherever the main thread is, as in an update of the
            # network; the iterator finds it out as well.
            signal.signal(signal.SIGCHLD, handler)
        return results

    def _cause_of_death(self, error: Exception) -> str:
        """How a process ended, and what to do about it."""
        ended = multiprocessing.connection.wait([process.sentinel for process in self._processes], timeout=1)
        for process in self._processes:
            if process.sentinel in ended:
                process.join(1)  # for its exit code, which the system knows a moment later
            if process.exitcode:
                return _told_by_exit_code(process.exitcode)
        return f"{_in_a_line(error) or type(error).__name__}. Use fewer workers, or none (workers=0)."

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
    if multiprocessing.current_process().daemon:
        return 0
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun and by Accelerate
    return max(1, min(16, available_processors() // max(1, together)))


def _told(error: Exception, images: ImageSource, index: int) -> CurriculumZooError:
    """What happened at an image, as an error of ours that can be sent to another process."""
    if isinstance(error, CurriculumZooError):
        return type(error)(str(error))
    name = images.name(index)
    told = TrainingError(
        f"{name}: memory ran out while it was read. Use fewer workers, or none (workers=0)."
        if isinstance(error, MemoryError)
        else f"{name} cannot be read: {type(error).__name__}: {_in_a_line(error)}. Mend what reads it."
    )
    told.__cause__ = error  # for whoever reads in this process; it stays behind in another
    return told


def _told_by_exit_code(code: int) -> str:
    """How a process ended, and what to do about it."""
    if code > 0:
        return (
            f"exit code {code}. Its own error stands above, or is shown by workers=0. A script that trains needs its "
            "calls below if __name__ == '__main__', where processes import it anew."
        )
    name = signal.Signals(-code).name
    ran_out = {"SIGKILL": "memory may have run out", "SIGBUS": "shared memory of a container is full"}
    if name in ran_out:
        return f"{name}, so {ran_out[name]}. Use fewer workers, or none (workers=0)."
    return f"{name}. A library that it uses has crashed; workers=0 shows where."


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unchanged(result: Any) -> Any:
    return result


def _start_worker(worker: int) -> None:
    single_threaded()
    # Ctrl-C reaches all processes of a terminal; what to do about it is the training's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Between this and the size that is refused, an image is merely large.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
