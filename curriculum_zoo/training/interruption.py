"""Ctrl-C and SIGTERM during a training: noted when they come, acted on when a batch is done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..errors import TrainingInterrupted

__all__ = ["Interruption", "interruptible"]

_NOTICE = b"\ncurriculum-zoo: the batch is finished and a checkpoint written; Ctrl-C again leaves at once\n"


class Interruption:
    """Whether a training was asked to end, and by which signal.

    Attributes:
        signal: the first signal that came; None while none has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; this is a handler for `signal.signal`.

        Raises:
            TrainingInterrupted: it is Ctrl-C, and not the first signal.
        """
        if self.signal is None:
            self.signal = number
            if number == signal.SIGINT:
                # Neither print nor logging may be entered a second time from within a handler.
                with contextlib.suppress(OSError):
                    os.write(2, _NOTICE)
        elif number == signal.SIGINT:
            raise TrainingInterrupted("Training was interrupted at once; its last checkpoint counts.", number)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note Ctrl-C, and SIGTERM where the system has it, inside a ``with`` block instead of ending by them.

    Signals that the program handles or ignores already are left to it, and outside the main thread, where Python takes
    no handlers, all of them are. What stood before is put back on leaving.

    Yields:
        What is noted.
    """
    interruption = Interruption()
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    if os.name == "posix":
        usual[signal.SIGTERM] = signal.SIG_DFL
    in_main_thread = threading.current_thread() is threading.main_thread()
    taken = [number for number, handler in usual.items() if in_main_thread and signal.getsignal(number) is handler]
    try:
        for number in taken:
            signal.signal(number, interruption.note)
        yield interruption
    finally:
        for number in taken:
            signal.signal(number, usual[number])
