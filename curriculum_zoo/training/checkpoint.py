"""Checkpoints that survive a kill at any instant: written aside, flushed, renamed; the one before is kept."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

__all__ = ["load_checkpoint", "replace_file", "save_checkpoint"]

CURRENT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that at every instant a whole one lies in the folder.

    Args:
        folder: the run's folder.
        state: tensors and plain Python values only, so that reading it back runs no code.
    """
    temporary = folder / f"{CURRENT}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    current = folder / CURRENT
    if current.exists():
        os.replace(current, folder / PREVIOUS)
    os.replace(temporary, current)
    _flush_folder(folder)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run; None where the run has not written one yet.

    Args:
        folder: the run's folder.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be read.
    """
    failures = []
    for path in (folder / CURRENT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            failures.append(f"{path.name} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
        else:
            return state
    if failures:
        raise CheckpointError(
            f"No checkpoint in {folder} can be read: {', '.join(failures)}. Start the run again in another folder."
        )
    return None


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that a reader finds the old content or the new, never a part.

    Args:
        path: the file.
        text: its new content.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _flush_folder(folder: Path) -> None:
    """Make renames durable; folders cannot be opened on Windows, where renames are durable by themselves."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
