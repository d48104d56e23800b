"""Accelerate's hold on devices, processes and precision, as a recipe and a device's name ask for it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..compat import reset_accelerator_state
from ..devices import select_device
from ..errors import CurriculumZooError, TrainingError

__all__ = ["losses_explained", "make_accelerator", "on_main_process"]

_LOST = re.compile("Connection (closed|reset) by peer|Broken pipe|Connection refused|remote process exited|Timed out")
"""What Gloo and NCCL say on a process whose partner has gone."""


def make_accelerator(precision: str, device: str | None) -> tuple[Any, Any]:
    """Return Accelerate's accelerator, and its settings of DDP, which hold once it prepares a network.

    Several processes that name the kind of device alone, or none, get a device of that kind each, by their local rank.

    Args:
        precision: of forward and backward: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu``, ``cuda``, ``cuda:1``, …; the best there is where None.

    Raises:
        TrainingError: there is no such device, it cannot compute in that precision, or several processes name one.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1 and device != "cpu":
        _take_local_device()
    chosen = select_device(device)
    if precision == "fp16" and chosen.type == "cpu":
        raise TrainingError("fp16 needs a GPU: its loss scaling has no CPU form. Use bf16 or fp32.")
    if processes > 1 and chosen.index is not None:
        raise TrainingError(
            f"device '{device}' is one device for {processes} processes. Name its kind alone, '{chosen.type}', for "
            "each process to take one of its own."
        )
    # Accelerate keeps one state a process; a second run in it may want another precision or device.
    reset_accelerator_state()
    # This variable would give all processes the same device: Accelerate goes by it before it looks at the local rank.
    fixed = str(chosen) if device and chosen.type != "cpu" and processes == 1 else None
    with _environment("ACCELERATE_TORCH_DEVICE", fixed):
        distributed = DistributedDataParallelKwargs()
        accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            cpu=chosen.type == "cpu",
            kwargs_handlers=[distributed],
        )
    return accelerator, distributed


def on_main_process(accelerator: Any, action: Callable[[], None]) -> None:
    """Do something on the main process alone, and wait for it; what it refuses, all processes refuse.

    Args:
        accelerator: Accelerate's.
        action: what to do.

    Raises:
        CurriculumZooError: the action raised it, on the main process.
    """
    from accelerate.utils import broadcast_object_list

    refusal: CurriculumZooError | None = None
    if accelerator.is_main_process:
        try:
            action()
        except CurriculumZooError as error:
            refusal = error
    [shared] = broadcast_object_list([refusal and (type(refusal), str(refusal))])
    if shared is not None:
        kind, text = shared
        raise refusal or kind(text)


@contextlib.contextmanager
def losses_explained(accelerator: Any) -> Iterator[None]:
    """Explain, inside a ``with`` block, what a process gets to hear when another one of the training is lost.

    Args:
        accelerator: Accelerate's.

    Raises:
        TrainingError: another process was lost.
    """
    try:
        yield
    except RuntimeError as error:
        known = isinstance(error, torch.distributed.DistError) or _LOST.search(str(error))
        if accelerator.num_processes == 1 or isinstance(error, CurriculumZooError) or not known:
            raise
        raise TrainingError(
            f"Another process of this training was lost ({str(error).splitlines()[0]}). Start all of them again with "
            "--resume."
        ) from error


def _take_local_device() -> None:
    """Make the device of this process's local rank the current one, so that no process lays anything on another's."""
    if torch.accelerator.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        torch.accelerator.set_device_index(local_rank % torch.accelerator.device_count())


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Give an environment variable a value, and what it had before on leaving; None leaves it as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before
