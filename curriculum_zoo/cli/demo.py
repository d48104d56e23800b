"""``curriculum-zoo demo``: a first look."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_demo"]


def add_demo(commands: Any) -> None:
    """Add ``curriculum-zoo demo``."""
    command = commands.add_parser("demo", help="train on the shipped images with and without a curriculum (3 minutes)")
    command.add_argument("--output", default="runs/demo", metavar="DIR", help="where results go (%(default)s)")
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from ..training.demo import run_demo

    run_demo(options.output, device=options.device)
