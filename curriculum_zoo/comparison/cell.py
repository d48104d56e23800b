"""One cell of a comparison: a function of plain values, so that any process on any machine can run it."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..errors import CurriculumZooError
from ..files import replace_file
from ..recipes import Recipe
from ..runs.record import RECIPE, RESULTS

if TYPE_CHECKING:
    from ..data import ImageSet, PhotoSet

__all__ = ["FAILURE", "open_once", "run_cell"]

FAILURE = "failure.json"
LOCK = "cell.lock"

HELD_SETS = 8
"""Data sets that a process keeps open."""


def run_cell(
    folder: str,
    recipe: Mapping[str, Any],
    *,
    which: str = "last",
    conditions: Sequence[Mapping[str, Any]] = (),
    data_root: str = "data",
    download: bool = False,
    device: str | None = None,
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    threads: int | None = None,
    directory: str | None = None,
    shown: bool = False,
) -> bool:
    """Bring a cell to its end: train it, or go on with it, and evaluate it under conditions.

    What is there already is left as it is, so that a cell whose process was lost is simply run again. A process that
    was only thought to be lost may still be at work on it: its end is awaited. A failure is written to
    ``failure.json`` in the run's folder, and does not raise.

    Args:
        folder: the run's folder.
        recipe: what to train, as `Recipe.to_dict` has it.
        which: whose weights are evaluated, the ``last`` epoch's or the ``best`` one's.
        conditions: as `curriculum_zoo.comparison.grid.Condition.to_dict` has them.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read image files which are not kept in memory.
        checkpoint_minutes: longest time without a checkpoint.
        threads: that compute on the processor; as many as the process has where None.
        directory: what relative paths start from; the process's own where None.
        shown: whether progress is shown.

    Returns:
        Whether it is finished; where not, it failed.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with FileLock(path / LOCK):
        try:
            with contextlib.chdir(directory) if directory and directory != os.getcwd() else contextlib.nullcontext():
                wanted = Recipe.from_dict(recipe)
                _use_threads(threads)
                where = {"data_root": data_root, "download": download}
                if not (path / RESULTS).is_file():
                    _train(wanted, path, device, workers, checkpoint_minutes, shown, where)
                if conditions:
                    _evaluate(wanted, path, which, conditions, device, workers, where)
        except Exception as error:  # whatever it is, the other cells go on
            replace_file(path / FAILURE, json.dumps(_failure(error), indent=2) + "\n")
            return False
        (path / FAILURE).unlink(missing_ok=True)
    return True


def _use_threads(count: int | None) -> None:
    import torch

    if count is not None and count != torch.get_num_threads():
        torch.set_num_threads(count)


def _train(
    recipe: Recipe,
    path: Path,
    device: str | None,
    workers: int | None,
    minutes: float,
    shown: bool,
    where: Mapping[str, Any],
) -> None:
    from ..training import train
    from ..training.progress import make_reporter

    train(
        recipe,
        data=open_once(recipe, **where),
        output=path,
        device=device,
        resume=(path / RECIPE).is_file(),
        reporter=make_reporter(shown),
        checkpoint_minutes=minutes,
        workers=workers,
        **where,
    )


def _evaluate(
    recipe: Recipe,
    path: Path,
    which: str,
    conditions: Sequence[Mapping[str, Any]],
    device: str | None,
    workers: int | None,
    where: Mapping[str, Any],
) -> None:
    from .conditions import evaluate_missing

    evaluate_missing(path, conditions, data=open_once(recipe, **where), which=which, device=device, workers=workers)


def open_once(recipe: Recipe, *, data_root: str | Path = "data", download: bool = False) -> ImageSet | PhotoSet:
    """The data set of a recipe; opened once in a process, however many of its cells are run there."""
    photos = recipe.photos
    settings = (recipe.image_size, recipe.data_seed, photos.resident, photos.on_bad_image)
    return _opened(recipe.data, str(data_root), download, *settings)


@functools.lru_cache(HELD_SETS)
def _opened(
    spec: str,
    root: str,
    download: bool,
    image_size: int | None,
    seed: int,
    resident: bool | None,
    on_bad_image: Any,
) -> ImageSet | PhotoSet:
    from ..data import open_dataset

    return open_dataset(
        spec,
        root=root,
        download=download,
        image_size=image_size,
        seed=seed,
        resident=resident,
        on_bad_image=on_bad_image,
    )


def forget_data() -> None:
    """Let go of all data sets that this process holds open."""
    _opened.cache_clear()


def _failure(error: Exception) -> dict[str, str]:
    """What went wrong, as JSON; where it was not foreseen, with the place in the code."""
    foreseen = isinstance(error, CurriculumZooError)
    return {
        "error": type(error).__name__,
        "message": str(error),
        "traceback": "" if foreseen else "".join(traceback.format_exception(error)),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
