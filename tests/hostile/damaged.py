"""What a damaged file is, and what all makers of them share."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CANARY = "canary"
MODULE = "hostile_module"

POSIX = os.name == "posix"


@dataclass(frozen=True)
class Damaged:
    """A file that is to be refused.

    Attributes:
        kind: what it pretends to be; `open_all.OPENERS` opens it as that.
        what: what is wrong with it.
        error: name of the error that refuses it.
        says: pattern of the reason in that error's message.
        make: fills a folder and returns what is to be opened.
        posix: whether only POSIX systems have such a thing.
    """

    kind: str
    what: str
    error: str
    says: str
    make: Callable[[Path], Path]
    posix: bool = False

    @property
    def title(self) -> str:
        return f"{self.kind}: {self.what}"


FILES: list[Damaged] = []


def add(kind: str, what: str, error: str, says: str, make: Callable[[Path], Path], posix: bool = False) -> None:
    FILES.append(Damaged(kind, what, error, says, make, posix))


class Payload:
    """What a pickle runs when it is read with code enabled."""

    def __init__(self, folder: Path) -> None:
        self.code = f"open({str(folder / CANARY)!r}, 'w').close()"

    def __reduce__(self) -> Any:
        return builtins.exec, (self.code,)


def written(name: str, content: bytes | str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def sparse(path: Path, size: int, start: bytes = b"") -> Path:
    """A file of a size that takes no room on the disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def flipped(content: bytes, at: int, bit: int = 0) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return bytes(changed)
