"""A run's folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import CheckpointError

__all__ = ["HOLDER", "LOCK", "held"]

LOCK = "run.lock"
HOLDER = "run.lock.json"  # who holds the lock, for the error that others get


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, so that no other process trains into it at the same time.

    The system lets go of it when the process ends, also when it is killed; the empty file of the lock stays.

    Args:
        folder: the folder, which exists.

    Raises:
        CheckpointError: another process holds it; the text names it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CheckpointError(
            f"{folder} is in use by {_holder(folder)}. Wait for it to end, or choose another --output."
        ) from error
    try:
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        who = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        with contextlib.suppress(OSError):  # a disk that is full; the lock itself holds
            (folder / HOLDER).write_text(json.dumps(who) + "\n", encoding="utf-8")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    """Who holds a lock, as far as that can be read: it may be writing it down at this moment."""
    try:
        who = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
