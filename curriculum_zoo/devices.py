"""Which device computes."""

from __future__ import annotations

import torch

from .errors import TrainingError

__all__ = ["fast_precision", "select_device"]


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


def fast_precision(device: torch.device) -> str:
    """``bf16`` where the device computes that natively, else ``fp32``."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return "fp32"
