"""The images of an epoch, chosen: by what the run saw before, or by a forward pass made for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..curricula import Stage
from ..curricula.samples.run_scores import RunScores
from ..curricula.samples.score_file import read_scores
from ..data import Batch
from ..data.loading.loader import Loader
from ..errors import RecipeError
from .run_parts import RunParts

__all__ = ["check_samples", "chosen", "image_stages", "look", "score_files"]


def chosen(loader: Loader, stage: Stage, scores: RunScores) -> Loader:
    """Return the loader of an epoch's images: the same where the stage chooses none.

    Args:
        loader: of all training images.
        stage: the epoch's.
        scores: what the run saw before the epoch.

    Raises:
        DataError: the chosen images do not make one batch.
        CurriculumError: a file of scores cannot be read.
    """
    if stage.samples is None:
        return loader
    selection = stage.samples.select(loader.numbers, scores.scores)
    return loader.choosing(selection.kept, selection.weights)


def image_stages(loader: Loader, stage: Stage) -> list[tuple[Stage, int]]:
    """Return the stages that an epoch's batches have, each with the number of its images over all processes."""
    if stage.batch_sizes is None:
        return [(stage, sum(loader.sizes))]
    counts: dict[int | float | None, int] = {}
    stages = {}
    for step, size in enumerate(loader.sizes):
        here = stage.at_step(step)
        stages[here.image_size] = here
        counts[here.image_size] = counts.get(here.image_size, 0) + size
    return [(stages[side], count) for side, count in counts.items()]


def look(
    parts: RunParts, loader: Loader, stage: Stage, epoch: int, seen: Callable[[Batch], tuple[Tensor, Tensor]]
) -> RunScores:
    """Look at all images of an epoch as they would be trained on, in eval mode, and return what was seen of them.

    Args:
        parts: the run's.
        loader: of all training images.
        stage: the epoch's; its rule says what is measured.
        epoch: number of the epoch.
        seen: from a batch to normalised images and targets.

    Returns:
        Notes of this process's images, not merged.
    """
    assert stage.samples is not None
    notes = RunScores(loader.numbers, [stage.samples])
    was_training = parts.network.training
    parts.network.eval()
    try:
        with torch.no_grad(), parts.accelerator.autocast():
            for batch in loader.whole().batches(epoch):
                if len(batch.labels):
                    images, targets = seen(batch)
                    output = parts.objective(parts.network, images, targets, stage)
                    notes.note(stage.samples.looks, batch.numbers, output.logits, batch.labels, output.losses)
    finally:
        parts.network.train(was_training)
    return notes


def check_samples(stage: Stage, parts: RunParts) -> None:
    """Raise if a stage's choice does not fit the run: too few images for a batch, or scores of another data set.

    Raises:
        RecipeError: it does not fit.
        CurriculumError: a file of scores cannot be read.
    """
    rule = stage.samples
    if rule is None:
        return
    size, _ = parts.loaders.scaled_batch(stage)
    images = len(parts.train_indices)
    if rule.share is not None and round(rule.share * images) < size:
        raise RecipeError(
            f"recipe: stage '{stage.name}' sees {round(rule.share * images)} of {images} training images, fewer than a "
            f"batch of {size}. Lower batch_size, or choose a greater share."
        )
    for path in rule.files:
        stored = read_scores(path)
        stored.of(torch.from_numpy(parts.train_indices))
        if stored.data and stored.data != parts.data_set.fingerprint:
            raise RecipeError(
                f"recipe: the scores in {path} are of another data set than {parts.data_set.name}. Score this one: "
                "curriculum-zoo score RUN."
            )


def score_files(stages: Iterable[Stage]) -> dict[str, Any]:
    """Return the SHA-256 of every file of scores that stages choose by, keyed by its path as stated."""
    paths = dict.fromkeys(path for stage in stages if stage.samples is not None for path in stage.samples.files)
    return {path: hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest() for path in paths}
