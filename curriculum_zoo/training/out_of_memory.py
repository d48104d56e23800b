"""Exhausted memory: how it is recognised, and what would fit."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

__all__ = ["advice", "is_out_of_memory", "most_that_fit"]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch's says that memory is exhausted, on a device or on the host."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def most_that_fit(attempt: Callable[[int], object], images: int) -> int | None:
    """Return how many images can be computed at a time, found by halving; None where not even one can.

    Args:
        attempt: computes that many; where memory does not do, it raises what `is_out_of_memory` recognises.
        images: a number that did not fit.
    """
    while images > 1:
        images //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(images)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return images
    return None


def advice(batch_size: int, accumulation: int, batch: int, fits: int | None) -> str:
    """Return what to change in a recipe so that a step fits, as sentences.

    Args:
        batch_size: the recipe's.
        accumulation: the recipe's.
        batch: images of the step that did not fit, which a stage may have made more.
        fits: how many were found to fit at a time; None where that was not found out, or not even one does.
    """
    if fits is None:
        return f"Lower batch_size, or raise accumulation above {accumulation}."
    parts = next((n for n in range(1, batch_size + 1) if batch_size % n == 0 and -(-batch // n) <= fits), None)
    smaller = max(1, batch_size * fits * accumulation // batch)
    often = f"Set accumulation={parts}, or" if parts else "Set"
    return f"{fits} images at a time would fit. {often} batch_size={smaller}."
