"""How hard each training image is for a trained network, for curricula that choose images by it: `score_images`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ..curricula.samples.measures import Measure, difficulty
from ..curricula.samples.score_file import ScoreFile
from ..data import ImageSet, PhotoSet
from ..data.loading.label_noise import noisy_labels
from ..errors import DataError
from ..runs.checkpoint import load_checkpoint
from .metrics import collect
from .setup import loader_factory, open_images
from .trained_network import TrainedNetwork, load_trained_network

__all__ = ["score_images"]


def score_images(
    target: str | Path,
    data: str | None = None,
    *,
    by: Measure = "loss",
    which: Literal["best", "last"] = "last",
    data_root: str | Path = "data",
    download: bool = False,
    batch_size: int = 256,
    device: str | None = None,
    workers: int | None = None,
) -> ScoreFile:
    """Score every training image of a data set by a trained network, without augmentation.

    Held-out images are scored too, which no training with the same ``data_seed`` then looks at. Labels are those that
    the network was trained with, wrong ones of ``label_noise`` included.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        data: a name that `open_dataset` knows; the data set of the network's recipe where None.
        by: the measure. ``forgetting`` counts over a whole training, so it must be a run's that noted it
            (``--curriculum "watch(by=[forgetting])"``), and only images that it trained on have such a score.
        which: which of a run's weights.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        batch_size: images at a time.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read photographs; one a processor where None.

    Raises:
        DataError: the data set is not stated, or does not go with the network; or nothing was noted.
    """
    trained = load_trained_network(target, which=which, device=device)
    data = data or trained.recipe.get("data")
    if data is None:
        raise DataError(f"{target} does not say what it was trained on. Name the data set: --data NAME.")
    images = open_images(trained, data, data_root, download)
    if by == "forgetting":
        return _noted(Path(target), by, len(images.train_labels), images.fingerprint)
    labels = _labels(trained, images)
    numbers = np.arange(len(labels))
    with contextlib.closing(loader_factory(trained, images, False, workers)) as factory:
        loader = factory.loader(numbers, training=False, batch_size=min(batch_size, len(numbers)))
        batches = ((trained.normalize(batch.images), batch.numbers) for batch in loader.batches(0))
        logits, seen = collect(trained.model, batches, device=trained.device)
    scores = torch.full((len(labels),), torch.nan)
    scores[seen] = difficulty(by, logits, torch.from_numpy(labels)[seen])
    return ScoreFile(scores, by, images.fingerprint)


def _labels(trained: TrainedNetwork, images: ImageSet | PhotoSet) -> npt.NDArray[np.int64]:
    """The training labels that the network learned from."""
    share = float(trained.recipe.get("label_noise", 0))
    if not share:
        return images.train_labels
    training, _ = images.split(trained.validation, seed=trained.data_seed)
    return noisy_labels(images.train_labels, training, share, images.num_classes, trained.data_seed)


def _noted(run: Path, by: Measure, count: int, fingerprint: str) -> ScoreFile:
    """What a run noted of the images while it trained."""
    state = (load_checkpoint(run) if run.is_dir() else None) or {}
    noted = state.get("samples") or {"scores": {}}
    if by not in noted["scores"]:
        raise DataError(
            f"{run} noted no '{by}' of its images, which is counted while a network trains. Train it with "
            f'--curriculum "watch(by=[{by}])", and score that run.'
        )
    scores = torch.full((count,), torch.nan)
    scores[noted["numbers"]] = noted["scores"][by]
    return ScoreFile(scores, by, fingerprint)
