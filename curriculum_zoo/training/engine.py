"""The training engine: a recipe in, a run folder out.

Everything random is drawn from the recipe's seed and the position (epoch, step) or the image's number alone, so a run
that was killed and resumed ends with the same weights, bit by bit, as one that was not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..compat import kept_accelerator_state
from ..data import DataSet
from ..errors import CheckpointError
from ..recipes import Recipe
from ..runs.checkpoint import load_checkpoint, set_aside_damaged
from ..runs.folder import RunFolder
from .accelerator import losses_explained, on_main_process
from .checkpoint_interval import CheckpointInterval
from .environment import changes, environment, unchanging
from .interruption import interruptible
from .plan import check_replanned
from .prepare import prepare
from .progress import Reporter, make_reporter
from .reproducible import reproducible
from .result import Result
from .run_parts import RunParts
from .tracking import Tracking, check_trackers
from .trainer import Trainer

__all__ = ["Result", "train"]


def train(
    recipe: Recipe,
    *,
    data: DataSet | None = None,
    output: str | Path | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    reporter: Reporter | None = None,
    checkpoint_minutes: float = 10.0,
    checkpoint_steps: int | None = None,
    workers: int | None = None,
    track: Sequence[Any] = (),
) -> Result:
    """Train as a recipe says, and leave everything worth keeping in a folder.

    Args:
        recipe: what to train on what, and how.
        data: the data set that the recipe names, open already, so that many runs open it once; as for `prepare`.
        output: the run's folder; ``runs/<model>-<data>-<curriculum>-<seed>`` where None.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        resume: go on from the folder's checkpoint, also to another number of epochs, where stages and learning rates of
            those that were begun would have been the same.
        allow_changes: resume although the images, their split, the way they are read or the number of processes are not
            those that the run started with; ``environment.json`` then lists what was changed.
        reporter: shows progress; a bar on a terminal, plain lines elsewhere, where None.
        checkpoint_minutes: a checkpoint is written after every epoch, or after several where they are short, and within
            one whenever this long has passed; 0 writes one after every step.
        checkpoint_steps: one is also written whenever so many steps were made since the last; None for any number.
        workers: processes that read image files which are not kept in memory; one per processor where None. They do not
            change what is seen.
        track: trackers that get the run's figures too: names that Accelerate knows, ``tensorboard``, ``wandb``,
            ``trackio`` and others, or trackers of its kind. ``metrics.jsonl`` is written in any case.

    Raises:
        CurriculumZooError: the recipe does not fit together, or the folder holds another run or is in use, before
            training; numbers became infinite or memory ran out, during it.
        TrainingInterrupted: Ctrl-C or SIGTERM came during training, the batch was finished, and a checkpoint written;
            a `KeyboardInterrupt`. A second Ctrl-C raises it at once. Signals are handled so for the length of training
            and in the main thread alone, and where the program has not its own way of handling them.
    """
    interval = CheckpointInterval(checkpoint_minutes * 60, checkpoint_steps)
    folder = RunFolder.of(recipe) if output is None else RunFolder(Path(output))
    # Before anything is opened. No process claims the folder until all have come to this: preparing waits for all.
    folder.check(recipe, resume=resume)
    check_trackers(track)
    with kept_accelerator_state(), reproducible() as not_deterministic, contextlib.ExitStack() as held:
        parts = prepare(recipe, data=data, data_root=data_root, download=download, device=device, workers=workers)
        main = parts.accelerator.is_main_process
        on_main_process(parts.accelerator, lambda: held.enter_context(folder.claimed(recipe, resume=resume)))
        if resume:
            on_main_process(parts.accelerator, lambda: set_aside_damaged(folder.path))
        state = load_checkpoint(folder.path) if resume else None
        record: dict[str, Any] = {}
        on_main_process(parts.accelerator, lambda: record.update(_recorded(parts, folder, state, allow_changes)))
        interruption = held.enter_context(interruptible())
        shown = reporter or make_reporter(main)
        shown = Tracking(shown, parts.accelerator, track) if track else shown
        trainer = Trainer(parts, folder, shown, interval, interruption)
        if state is not None:
            trainer.restore(state)
        with losses_explained(parts.accelerator):
            result = trainer.run()
        if main and not_deterministic:
            folder.write_environment({**record, "not_deterministic": sorted(not_deterministic)})
        return result


def _recorded(parts: RunParts, folder: RunFolder, state: dict[str, Any] | None, allow_changes: bool) -> dict[str, Any]:
    """Record where the run happens, and return the record; refuse to go on with other data or processes.

    Raises:
        CheckpointError: something differs that must not, and changes are not allowed.
    """
    check_replanned(folder.recipe(), parts.recipe, _epochs_begun(state))
    before, now = folder.environment(), environment(parts)
    differing = changes(state["unchanging"] if state else unchanging(before), unchanging(now))
    if differing and not allow_changes:
        raise CheckpointError(
            f"{folder.path} cannot be resumed: what its run started with is not what there is. It differs in "
            f"{', '.join(differing)}. Bring that back, or go on all the same with --allow-changes."
        )
    at = f"epoch {state['epoch']}, step {state['step']}" if state else "the start"
    changed = [*before.get("changes", []), *(f"from {at} on: {what}" for what in differing)]
    record = {**now, "changes": changed} if changed else now
    if folder.recipe() != parts.recipe:  # no sooner: a refused resume leaves the run as it is
        folder.write_recipe(parts.recipe)
    folder.write_environment(record)
    return record


def _epochs_begun(state: dict[str, Any] | None) -> int:
    return state["epoch"] + bool(state["step"]) if state else 0
