"""Which device computes."""

from __future__ import annotations

import torch

from .errors import TrainingError

__all__ = ["select_device"]


def select_device(name: str | None) -> torch.device:
    """The device of that name, or the best there is.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, …; None chooses.

    Raises:
        TrainingError: there is no such device.
    """
    if name is None:
        best = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return best or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # some devices can be named and allocated on, but not computed with
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise TrainingError(
            f"There is no device '{name}' here: {reason}. Name another one, or none to take the best there is."
        ) from error
    return device
