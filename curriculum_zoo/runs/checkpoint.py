"""Checkpoints that survive a kill at any instant: written aside, flushed, renamed; the one before is kept."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..files import flush, written_aside
from ..weights.tensors import read_pickled

__all__ = ["load_checkpoint", "save_checkpoint", "set_aside_damaged"]

CURRENT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
DAMAGED = "checkpoint.damaged.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that at every instant a whole one lies in the folder.

    Args:
        folder: the run's folder.
        state: tensors and plain Python values only, so that reading it back runs no code.

    Raises:
        OSError: it cannot be written, as on a full disk; those in the folder stay as they are.
    """
    current = folder / CURRENT
    with written_aside(current) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            # torch raises its own error in place of the system's.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        flush(temporary)
        if current.exists():
            os.replace(current, folder / PREVIOUS)
    flush(folder)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a run; None where the run has not written one yet.

    Args:
        folder: the run's folder.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be read.
    """
    failures = []
    for path in (folder / CURRENT, folder / PREVIOUS):
        if path.exists():
            try:
                return _read(path)
            except ValueError as error:
                failures.append(f"{path.name} ({error})")
    if failures:
        raise CheckpointError(
            f"No checkpoint in {folder} can be read: {', '.join(failures)}. Start the run again in another folder."
        )
    return None


def set_aside_damaged(folder: Path) -> None:
    """Rename a newest checkpoint that is damaged, with a warning, where the one before it is whole.

    The next one that is written would take its place, and it the place of the whole one.

    Args:
        folder: the run's folder.
    """
    current, previous = folder / CURRENT, folder / PREVIOUS
    if not current.exists():
        return
    try:
        _read(current)
    except ValueError as damage:
        try:
            state = _read(previous)
        except (OSError, ValueError):  # then nothing is lost by leaving it
            return
        os.replace(current, folder / DAMAGED)
        warnings.warn(
            f"{current} is damaged ({damage}): the run goes on from the checkpoint before it, of epoch "
            f"{state['epoch']}, step {state['step']}. The damaged file is kept as {DAMAGED}.",
            stacklevel=2,
        )


def _read(path: Path) -> dict[str, Any]:
    """The state in a file, whose every record matches its checksum: torch itself does not compare them.

    Raises:
        ValueError: it is damaged; the text says how.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # damage in an archive shows as any of several exceptions
        raise ValueError(str(error)) from error
    if damaged is not None:
        raise ValueError(f"{damaged} does not match its checksum")
    state: dict[str, Any] = read_pickled(path)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}")
    return state
