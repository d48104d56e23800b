"""What several commands share: flags, the values that they take, and tables."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

__all__ = [
    "add_chance",
    "add_data_flags",
    "add_seed",
    "add_target",
    "corruptions",
    "indices",
    "integers",
    "interval",
    "names",
    "positive",
    "print_table",
    "severities",
    "whole",
]


def add_data_flags(command: argparse.ArgumentParser) -> None:
    """Where data sets lie, and the device."""
    command.add_argument("--data-root", default="data", metavar="DIR", help="folder of named data sets (%(default)s)")
    command.add_argument("--download", action="store_true", help="download a missing data set into it")
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps; the best there is by default")


def add_chance(command: argparse.ArgumentParser) -> None:
    """Options of networks that choose, at random by default, where to look."""
    ways = ("sample", "threshold", "top_k")
    command.add_argument("--attend", choices=ways, help="how a glimpse pyramid chooses; its own way by default")
    add_seed(command)


def add_seed(command: argparse.ArgumentParser) -> None:
    """What decides of all that is drawn."""
    command.add_argument("--seed", type=whole, default=0, help="decides what is drawn at random (%(default)s)")


def add_target(command: argparse.ArgumentParser) -> None:
    """Which trained network."""
    command.add_argument("target", metavar="RUN|MODEL", help="a run's folder, a folder of weights, or a trained model")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of a run's weights")


def integers(text: str) -> tuple[int, ...]:
    """Numbers from 1 on, with commas between them."""
    return tuple(positive(item) for item in text.split(","))


def indices(text: str) -> tuple[int, ...]:
    """Numbers from 0 on, with commas between them."""
    return tuple(whole(item) for item in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def corruptions(text: str) -> tuple[str, ...]:
    """Names with commas between them; ``all`` means every family of the published corruptions."""
    listed = names(text)
    return ("noise", "blur", "weather", "digital") if listed == ("all",) else listed


def severities(text: str) -> tuple[int, ...]:
    """Severities as ``1..5`` or ``1,3``."""
    first, dots, last = text.partition("..")
    return tuple(range(positive(first), positive(last) + 1)) if dots else integers(text)


def positive(text: str) -> int:
    """A number from 1 on."""
    return whole(text, least=1)


def whole(text: str, least: int = 0) -> int:
    """A number from `least` on."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
    return number


def interval(text: str) -> dict[str, float]:
    """How often checkpoints are written, as ``500`` steps or as ``10min``, as keywords of `training.train`."""
    form = re.fullmatch(r"(\d+|\d*\.\d+)\s*(s|min|h|)", text.strip())
    number, unit = form.groups() if form else ("0", "")
    if not float(number) or (not unit and "." in number):
        raise argparse.ArgumentTypeError(f"expected a number of steps, as 500, or a time, as 10min, got {text!r}")
    if not unit:
        return {"checkpoint_steps": int(number)}
    return {"checkpoint_minutes": float(number) * {"s": 1 / 60, "min": 1, "h": 60}[unit]}


def print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
