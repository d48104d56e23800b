"""The training engine: a recipe in, a run folder out.

Everything random is drawn from the recipe's seed and the position (epoch, step) alone, so a run that was killed and
resumed ends with the same weights, bit by bit, as one that was not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from .progress import Reporter, make_reporter
from .recipe import Recipe
from .run_folder import RunFolder
from .setup import prepare
from .trainer import Result, Trainer

__all__ = ["Result", "train"]


def train(
    recipe: Recipe,
    *,
    output: str | Path | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    checkpoint_minutes: float = 10.0,
    workers: int | None = None,
) -> Result:
    """Train as a recipe says, and leave everything worth keeping in a folder.

    Args:
        recipe: what to train on what, and how.
        output: the run's folder; ``runs/<model>-<data>-<curriculum>-<seed>`` where None.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        resume: go on from the folder's checkpoint.
        reporter: shows progress; a bar on a terminal, plain lines elsewhere, where None.
        checkpoint_minutes: a checkpoint is written after every epoch, and within one whenever this long has passed.
        workers: processes that read image files which are not kept in memory; one a processor where None. They do not
            change what is seen.

    Raises:
        CurriculumZooError: the recipe does not fit together, before training; numbers became infinite or memory ran
            out, during it.
    """
    folder = RunFolder.of(recipe) if output is None else RunFolder(Path(output))
    setup = prepare(recipe, data_root=data_root, download=download, device=device, workers=workers)
    if setup.accelerator.is_main_process:
        folder.claim(recipe, resume=resume)
        folder.write_environment(setup)
    setup.accelerator.wait_for_everyone()
    trainer = Trainer(setup, folder, reporter or make_reporter(setup.accelerator.is_main_process), checkpoint_minutes)
    if resume:
        trainer.restore()
    with _reproducible():
        return trainer.run()


@contextlib.contextmanager
def _reproducible() -> Iterator[None]:
    """Make cuDNN choose the same algorithms every time, and put its settings back afterwards."""
    settings = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = settings
