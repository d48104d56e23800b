"""Text on consoles and in logs that cannot show every letter, as Windows' cp1252 and the C locale."""

from __future__ import annotations

import io
import sys
from typing import IO

__all__ = ["printable", "show_every_letter"]


def printable(text: str, stream: IO[str] | None) -> str:
    """Return a text with an escape in ASCII for each letter that a stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def show_every_letter() -> None:
    """Have standard output and error write escapes for letters that they lack, where they would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
