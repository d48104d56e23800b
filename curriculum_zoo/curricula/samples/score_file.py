"""Files of scores by image: how hard each training image of a data set is, as a trained network has it."""

from __future__ import annotations

import functools
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import CurriculumError

__all__ = ["ScoreFile", "read_scores"]


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """How hard each training image of a data set is.

    Attributes:
        scores: float32 [N] by the images' numbers in the training set; higher is harder, NaN where not known.
        by: the measure, as `curriculum_zoo.curricula.samples.measures` has it, or a word of one's own.
        data: fingerprint of the data set; empty where it does not matter.
    """

    scores: Tensor
    by: str = ""
    data: str = ""

    def save(self, path: str | Path) -> None:
        """Write it as an ``.npz`` file with the arrays ``scores``, ``by`` and ``data``."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.tmp")
        with partial.open("wb") as file:
            np.savez(file, scores=self.scores.numpy(), by=np.array(self.by), data=np.array(self.data))
        os.replace(partial, path)

    def of(self, numbers: Tensor) -> Tensor:
        """Return the scores of images, float32 [n], by their numbers in the training set, int64 [n].

        Raises:
            CurriculumError: there are fewer scores than images.
        """
        if len(numbers) and int(numbers.max()) >= len(self.scores):
            raise CurriculumError(
                f"There are scores of {len(self.scores)} images, and the data set has image {int(numbers.max())}. "
                "Score the same data set: curriculum-zoo score RUN."
            )
        return self.scores[numbers]


def read_scores(path: str | Path) -> ScoreFile:
    """Read scores by image: what ``curriculum-zoo score`` wrote, or any ``.npz`` file with an array ``scores`` [N].

    Raises:
        CurriculumError: the file is missing or damaged, or holds no such array of numbers.
    """
    path = Path(path).expanduser()
    try:
        stamp = path.stat()
    except OSError as error:
        raise CurriculumError(
            f"The scores {path} cannot be read: {error.strerror}. Write them by curriculum-zoo score RUN."
        ) from error
    return _read(path, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> ScoreFile:
    """The file's content, read once for every state of the file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            scores = arrays["scores"]
            by, data = (str(arrays[name]) if name in arrays else "" for name in ("by", "data"))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CurriculumError(
            f"{path} holds no scores ({type(error).__name__}: {error}). It must be an .npz file with an array 'scores'."
        ) from error
    if scores.ndim != 1 or scores.dtype.kind not in "fiu" or not np.isfinite(scores).any():
        raise CurriculumError(
            f"{path}: scores must be numbers [N], one for each training image; got {scores.dtype} {list(scores.shape)}."
        )
    return ScoreFile(torch.from_numpy(scores.astype(np.float32)), by, data)
