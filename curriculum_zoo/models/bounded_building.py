"""Networks that a stranger's config asks for: none is built that is far larger than the weights that come with it."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from ..errors import WeightsError
from .builders import PLACEMENT

__all__ = ["build_within"]

SPARE = 2**24
"""Numbers that any network may have beyond those of its weights, for what is not stored: tables, masks."""

SPARE_OF_A_CLASS = 2**13
"""Numbers that each class may add, where another number of classes is asked for than the weights have."""

MOST_TENSORS = 2**14
"""Tensors that a network may have; timm's largest have a few thousands."""


class _TooLargeError(BaseException):
    """The network has more numbers or tensors than were allowed; nothing that builders do about errors may hold it."""


def build_within(
    function: Callable[..., nn.Module], size: int, name: str, stated_classes: int | None, /, **options: Any
) -> nn.Module:
    """Build a network that is not far larger than its weights.

    It is built on no device at first, where tensors take no memory, and for good only where that one was small enough.
    A builder that needs the values of its tensors is stopped while it builds for good, at the first tensor too many.

    Args:
        function: builds it from options.
        size: of the file of weights, in bytes; it holds at most as many numbers.
        name: of the weights, for messages.
        stated_classes: the number of classes that the config states.
        **options: the function's.

    Raises:
        WeightsError: the network would be too large.
    """
    classes = options.get("num_classes")
    added = classes * SPARE_OF_A_CLASS if classes is not None and classes != stated_classes else 0
    most = size + SPARE + added
    outline = {option: value for option, value in options.items() if option not in PLACEMENT}
    try:
        # What a builder cannot do without a device, or rightly refuses, is for the second time: only size matters here.
        with (
            _counted(most),
            torch.random.fork_rng(devices=[]),
            torch.device("meta"),
            contextlib.suppress(Exception),
            warnings.catch_warnings(action="ignore"),
        ):
            function(**outline)
        with _counted(most):
            return function(**options)
    except _TooLargeError:
        raise WeightsError(
            f"{name}: its config asks for a network of more than {most:,} numbers, and its file of weights has "
            f"{size:,} bytes. The two do not belong together: get both again."
        ) from None


@contextlib.contextmanager
def _counted(most: int) -> Iterator[None]:
    """Let this thread register parameters and buffers of so many numbers at most.

    Raises:
        _TooLargeError: it registers more.
    """
    thread, numbers, tensors = threading.get_ident(), 0, 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal numbers, tensors
        if threading.get_ident() != thread or tensor is None or nn.parameter.is_lazy(tensor):
            return
        numbers, tensors = numbers + tensor.numel(), tensors + 1
        if numbers > most or tensors > MOST_TENSORS:
            raise _TooLargeError

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
