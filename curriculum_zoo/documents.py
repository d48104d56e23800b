"""Text, JSON and TOML files that anyone may have written, read within bounds.

A plain file of limited size, UTF-8, no name twice in one object, no integer beyond 64 bits and no nesting without end:
what is read so cannot wait for ever, fill the memory or mean two things. Every failure is one `DocumentError`, whose
text begins with the file and says the reason; the caller adds what to do, and makes it an error of its own kind.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DocumentError

__all__ = ["INTEGERS", "parse_json", "read_json", "read_text", "read_toml"]

INTEGERS = range(-(2**63), 2**64)
"""Integers that a document may hold: those that fit 64 bits, with or without a sign."""

_LARGEST = 2**25  # bytes
_DEEPEST = 64  # levels of objects and lists within each other
_DIGITS = 20  # of the largest integer


def read_text(path: str | Path, *, largest: int = _LARGEST) -> str:
    """Return the text of a plain UTF-8 file, with or without a byte order mark.

    Args:
        path: the file.
        largest: most bytes that it may have.

    Raises:
        DocumentError: it does not exist, may not be read, is no plain file, is larger, or is no UTF-8.
    """
    try:
        if os.path.isdir(path):
            raise DocumentError(f"{path} is a folder, not a file")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DocumentError(f"{path} is no plain file")  # a device or a pipe could be read for ever
        with open(path, "rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        if isinstance(error, DocumentError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DocumentError(f"{path} cannot be read: {reason}") from error
    if len(content) > largest:
        raise DocumentError(f"{path} is larger than {largest:,} bytes, far more than such a file has")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is no UTF-8 text (byte {error.start})") from error


def read_json(path: str | Path, *, largest: int = _LARGEST) -> Any:
    """Return the content of a JSON file.

    Raises:
        DocumentError: as for `read_text` and `parse_json`.
    """
    text = read_text(path, largest=largest)
    try:
        return parse_json(text)
    except DocumentError as error:
        raise DocumentError(f"{path} is no JSON: {error}") from error


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        DocumentError: it is no JSON, has a key twice in one object, an integer beyond 64 bits, or is nested too deep.
    """
    try:
        values = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise DocumentError(_reason(error)) from error
    _check(values)
    return values


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        DocumentError: as for `read_text`; or it is no TOML, has an integer beyond 64 bits, or is nested too deep.
    """
    text = read_text(path)
    try:
        values = tomllib.loads(text)
        _check(values)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{path} is no TOML: {_reason(error)}") from error
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DocumentError(f"{twice[:80]!r} stands twice in one object")
    return values


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise DocumentError(f"it holds an integer of {len(digits)} digits")
    return int(digits)


def _check(values: Any) -> None:
    """Insist on bounded depth and integers; goes level by level, for a recursion could fail by itself."""
    level = [values]
    for _ in range(_DEEPEST + 1):
        for value in level:
            if isinstance(value, int) and value not in INTEGERS:
                raise DocumentError("it holds an integer that does not fit 64 bits")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise DocumentError(f"it is nested more than {_DEEPEST} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def _reason(error: Exception) -> str:
    return f"it is nested more than {_DEEPEST} levels deep" if isinstance(error, RecursionError) else str(error)
