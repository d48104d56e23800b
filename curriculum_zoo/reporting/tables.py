"""Tables of a report, and numbers as its readers see them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Table", "duration", "memory", "percent", "points", "quantity"]


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its head.

    Attributes:
        heads: of the columns; none where empty.
        rows: cells, as they are shown.
        title: what it is about.
        caption: what is said above it.
        note: what is said below it.
        words: whether its cells are words, set flush left, or numbers.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    caption: str = ""
    note: str = ""
    words: bool = False


def percent(share: float | None) -> str:
    """Return a share, 0 to 1, in hundredths; a dash where there is none."""
    return "–" if share is None else f"{share:.2%}"


def points(mean: float, spread: float | None) -> str:
    """Return a mean share in points, with its standard deviation where there is one."""
    return f"{100 * mean:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")


def quantity(count: float) -> str:
    """Return a large number with a prefix: 2.5 T."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G")):
        if count >= size:
            return f"{count / size:.3g} {prefix}"
    return f"{count / 1e6:.3g} M"


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds; below a minute in seconds alone."""
    return f"{seconds:.1f} s" if seconds < 60 else str(datetime.timedelta(seconds=round(seconds)))


def memory(count: float | None) -> str:
    """Return bytes in MiB or GiB; a dash where there are none."""
    if count is None:
        return "–"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
