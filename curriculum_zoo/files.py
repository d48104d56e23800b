"""Files that are replaced whole: a reader, and whoever comes after a kill, finds the old content or the new."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["flush", "replace_file", "to_json", "written_aside"]


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Have a file written under another name, and replace it on leaving; after an error nothing is left of the new one.

    Args:
        path: the file.

    Yields:
        Where its new content is to be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        flush(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)


def replace_file(path: Path, text: str) -> None:
    """Write a text file whole.

    Args:
        path: the file.
        text: its new content.
    """
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON with a newline at its end; numbers that are not finite, which JSON has not, become null.

    Args:
        value: of dictionaries, lists, strings and numbers.
        indent: spaces for each depth; None for one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flush(path: Path) -> None:
    """Have the system write a file, or on POSIX a folder's renames, to disk: those of Windows are durable already."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
