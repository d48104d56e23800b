"""What tests call in other processes, where it is imported from here."""

import os
import signal
import time
from pathlib import Path


def about_the_process():
    """Its id, its cores, its threads, and how it takes Ctrl-C."""
    import torch

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return os.getpid(), cores, torch.get_num_threads(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def meet(folder, name, others):
    """Wait until the others are there too, each in a process of its own."""
    (Path(folder) / name).touch()
    until = time.monotonic() + 60
    while not all((Path(folder) / other).exists() for other in others):
        if time.monotonic() > until:
            raise TimeoutError(name)
        time.sleep(0.01)
    return about_the_process()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail(message):
    raise ValueError(message)


def sleep(folder, seconds):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()
