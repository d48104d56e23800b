"""Kernels that give the same bits every time, as far as there are such."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["reproducible"]

_NO_SUCH_KERNEL = re.compile(r"(\S+) does not have a deterministic implementation")


@contextlib.contextmanager
def reproducible() -> Iterator[set[str]]:
    """Ask torch for deterministic kernels, and put its settings back on leaving.

    Yields:
        Names of the kernels that ran although they are not deterministic, since there are no others; they are added as
        they run.
    """
    filling: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    fills = filling.fill_uninitialized_memory
    # cuBLAS goes by it from its first call on; without it torch calls its products not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    found: set[str] = set()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        filling.fill_uninitialized_memory = False  # which costs time, and changes no result
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        with _noting(found):
            yield found
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        filling.fill_uninitialized_memory = fills
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@contextlib.contextmanager
def _noting(found: set[str]) -> Iterator[None]:
    """Note the kernels that torch warns of, each of which it warns of once; other warnings are shown as before."""
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
        kernel = _NO_SUCH_KERNEL.match(str(message))
        if kernel:
            found.add(kernel[1])
        else:
            show(message, category, filename, lineno, *rest)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", message=_NO_SUCH_KERNEL.pattern)
        warnings.showwarning = note  # type: ignore[assignment]
        yield
