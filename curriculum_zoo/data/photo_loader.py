"""`PhotoLoader`: batches from images that worker processes read as they are needed, at the size that is wanted.

The size travels with every request, so that the workers, once started, serve all stages of a curriculum, training and
evaluation alike, and none is ever restarted.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import DataError, RecipeError, TrainingError
from ..seeding import derive_seed
from .geometry import convert_channels
from .image_file import ImageReader
from .loader import Batching, Loader
from .photos import Images, Labels, PhotoSet, processors
from .transforms import Transform, single_threaded

__all__ = ["Crew", "PhotoLoader"]

_DRAWS = 1  # which of an epoch's random streams
_AHEAD = 2  # batches that each worker may be ahead

Role = Literal["train", "eval"]


@dataclass(frozen=True)
class _Request:
    """One process's share of one batch."""

    indices: Labels
    role: Role
    pixels: int
    seed: int
    epoch: int


@dataclass(frozen=True)
class _Answer:
    """What became of a request: the images that could be read, and what was wrong with the others."""

    pixels: Tensor
    read: Tensor
    failures: dict[str, str]
    fatal: str | None = None

    def pin_memory(self) -> _Answer:
        """The same with images in memory that a GPU copies from by itself; torch's loader calls this."""
        return _Answer(self.pixels.pin_memory(), self.read, self.failures, self.fatal)


class _Darkroom(Dataset[Any]):
    """What a worker process knows: the images, and what is done to them."""

    def __init__(self, images: Images, transforms: Mapping[Role, Transform], channels: int) -> None:
        self._images = images
        self._transforms = transforms
        self._channels = channels

    def __getitem__(self, request: _Request) -> _Answer:
        pixels = np.empty((len(request.indices), request.pixels, request.pixels, self._channels), dtype=np.uint8)
        failures: dict[str, str] = {}
        read: list[int] = []
        for place, index in enumerate(request.indices.tolist()):
            try:
                pixels[len(read)] = self._develop(index, request)
                read.append(place)
            except DataError as error:
                failures[self._images.name(index)] = str(error)
            except RecipeError as error:
                return _Answer(torch.empty(0), torch.empty(0), {}, fatal=str(error))
        return _Answer(torch.from_numpy(pixels[: len(read)]), torch.tensor(read, dtype=torch.int64), failures)

    def _develop(self, index: int, request: _Request) -> npt.NDArray[np.uint8]:
        image = ImageReader(self._images.content(index), self._images.name(index))
        # The seed belongs to the image and the epoch, not to the batch or the worker.
        seed = derive_seed(request.seed, request.epoch, _DRAWS, index)
        pixels = self._transforms[request.role](image, request.pixels, seed)
        return convert_channels(pixels[None], self._channels)[0]


class _Desk:
    """Hands requests to torch's loader, which takes them from an object given once and for all."""

    def __init__(self) -> None:
        self.requests: Iterable[_Request] = ()

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.requests)


class Crew:
    """Processes that read images; they start with the first request, and go on until `close`, or the crew is dropped.

    Args:
        images: the images.
        train: what is done to training images.
        evaluation: what is done to validation and test images.
        channels: 3 for RGB, 1 for gray.
        workers: how many processes; 0 reads in this one. None takes one for each processor, or this process's share of
            them where several train together, but no more than 16.
        pin_memory: whether batches are laid into memory that a GPU copies from by itself.
    """

    def __init__(
        self,
        images: Images,
        *,
        train: Transform,
        evaluation: Transform,
        channels: int = 3,
        workers: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.workers = _usual_workers() if workers is None else workers
        self._desk = _Desk()
        self._task = 0
        self._darkroom = _Darkroom(images, {"train": train, "eval": evaluation}, channels)
        self._pin_memory = pin_memory
        self._loader = self._new_loader()

    def answers(self, requests: Iterable[_Request]) -> Iterator[_Answer]:
        """Carry out requests, in their order; a crew has one task at a time, and a new one ends the one before.

        Raises:
            TrainingError: a worker process died, or the task was ended by a new one.
        """
        self._task += 1
        task = self._task
        self._desk.requests = requests
        try:
            for answer in self._loader:
                yield answer
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
        """Stop the processes; another request starts new ones."""
        self._loader = self._new_loader()

    def _new_loader(self) -> DataLoader[Any]:
        return DataLoader(
            self._darkroom,
            sampler=self._desk,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.workers > 0,
            prefetch_factor=_AHEAD if self.workers else None,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # else it would draw from the generator that networks draw from
        )


class PhotoLoader(Loader):
    """Batches of images that are read as they are needed, at any size and by any number of workers and processes.

    Crops and changes of an image are the same at every size. Loaders that share a crew are walked one after the other.

    Args:
        photos: the set.
        indices: which of its images.
        crew: who reads them.
        role: ``train`` or ``eval``: what is done to each image.
        pixels: side of the squares; that of the set where None.
        on_bad_image: ``raise``, or ``skip`` to leave out images that cannot be read, which makes their batch smaller.
        **batching: as for `Loader`: `batch_size`, `seed`, `shuffle`, `drop_last`, `device`, `rank`, `world_size`,
            `channels_last`.

    Attributes:
        skipped: names of the images left out so far, with the reason.

    Raises:
        DataError: not a single batch, or a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        photos: PhotoSet,
        indices: Labels,
        crew: Crew,
        *,
        role: Role,
        pixels: int | None = None,
        on_bad_image: Literal["raise", "skip"] = "raise",
        **batching: Unpack[Batching],
    ) -> None:
        self._indices = np.ascontiguousarray(indices, dtype=np.int64)
        super().__init__(photos.labels[self._indices], **batching)
        self.crew = crew
        self.role = role
        self.pixels = pixels or photos.image_size[0]
        self.on_bad_image = on_bad_image
        self.skipped: dict[str, str] = {}

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """As for `Loader`; a batch has fewer images where such are left out that cannot be read.

        Raises:
            DataError: an image cannot be read; or none of a batch, where such are left out.
            RecipeError: the recipe's own pipeline fails on an image.
            TrainingError: a worker process died.
        """
        order = self._order(epoch).numpy()
        shares = [order[self._share(step)] for step in range(start, self.steps)]
        requests = (_Request(self._indices[share], self.role, self.pixels, self.seed, epoch) for share in shares)
        for share, answer in zip(shares, self.crew.answers(requests), strict=True):
            self._look_at(answer)
            chosen = torch.from_numpy(share)[answer.read].to(self.device, non_blocking=True)
            yield self._to_float(answer.pixels), self._labels[chosen]

    def with_pixels(self, pixels: int) -> PhotoLoader:
        """A loader like this one for squares of another side, by the same workers."""
        other = copy.copy(self)
        other.pixels = pixels
        return other

    def _look_at(self, answer: _Answer) -> None:
        if answer.fatal is not None:
            raise RecipeError(answer.fatal)
        if answer.failures and self.on_bad_image == "raise":
            raise DataError(
                f"{next(iter(answer.failures.values()))} To leave out what cannot be read: photos.on_bad_image=skip."
            )
        self.skipped.update(answer.failures)
        if not len(answer.read):
            raise DataError(
                f"None of the {len(answer.failures)} images of a batch can be read. The first: "
                f"{next(iter(answer.failures.values()))}"
            )


def _usual_workers() -> int:
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # as torchrun and Accelerate tell it
    return max(1, min(16, processors() // max(1, together)))


def _as_it_is(answer: Any) -> Any:
    return answer


def _start_worker(worker: int) -> None:
    single_threaded()
    # Between this and the size that is refused, an image is merely large.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
