"""The most memory that a run had in use: the tensors' on a GPU, the whole process's elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

__all__ = ["peak_memory", "reset_peak_memory"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` begin at what is in use, where the system can: on GPUs, and on Linux.

    Args:
        device: where a run computes.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # another system, or a container that does not allow it
            CLEAR.write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that were in use since `reset_peak_memory`, or since the process started without it.

    Args:
        device: where a run computes: of a GPU the tensors' memory counts, of all others the process's.

    Returns:
        The number of bytes; None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _from_linux() or _from_windows() or _from_usage()


def _from_linux() -> int | None:
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _from_windows() -> int | None:
    import psutil

    return getattr(psutil.Process().memory_info(), "peak_wset", None)


def _from_usage() -> int | None:
    try:
        import resource
        import sys
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
