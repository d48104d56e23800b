"""Whether there is memory for what is about to be loaded, asked before anything is."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError

__all__ = ["available_memory", "gigabytes", "require_memory"]

CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return how many bytes of main memory this process may still take; None where that cannot be known.

    On Linux what the kernel calls available, or what the control group has left where that is less, as in containers
    and batch jobs. Elsewhere the physical memory.
    """
    known = [size for size in (_machine(), _control_group()) if size is not None]
    return min(known, default=None)


def require_memory(needed: int, what: str, remedy: str = "Take smaller or fewer images.") -> None:
    """Refuse what does not fit.

    Args:
        needed: bytes.
        what: what takes them, as the subject of a sentence.
        remedy: what to do about it.

    Raises:
        DataError: less than `needed` is available.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise DataError(f"{what} take {gigabytes(needed)} of memory; {gigabytes(available)} are available. {remedy}")


def gigabytes(size: int) -> str:
    """A size in bytes as people read it."""
    return f"{size / 1e9:.2f} GB"


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _control_group() -> int | None:
    """What the memory limit of a control group leaves, version 2 or 1.

    Usage counts the page cache, which fills up with every file that is read and which the kernel takes back where
    memory is wanted. What of it was not used lately is free, as Kubernetes and Docker reckon it too.
    """
    for folder, limit, used, cache in (
        (CONTROL_GROUP, "memory.max", "memory.current", "inactive_file"),
        (CONTROL_GROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
        return max(0, left + _statistic(folder / "memory.stat", cache))
    return None


def _statistic(path: Path, name: str) -> int:
    """A number in a control group's statistics; 0 where it is not there."""
    try:
        fields = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
        return int(fields.get(name, 0))
    except (OSError, ValueError):
        return 0
