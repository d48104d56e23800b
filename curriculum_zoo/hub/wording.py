"""How a card words things: shares, times, lists, paragraphs, and what a docstring says first."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["duration", "first_sentence", "listed", "lowered", "percent", "wrapped"]


def percent(share: float, decimals: int = 2) -> str:
    """A share in percent, as ``90.85 %``."""
    return f"{100 * share:.{decimals}f} %"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def wrapped(sentences: Iterable[str]) -> str:
    """A paragraph in lines that a person can read and a difference can tell apart."""
    whole = re.sub(r"(?<=\d) (?=[%×])", "\N{NO-BREAK SPACE}", " ".join(sentences))
    filled = textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def listed(items: Iterable[str]) -> str:
    """Words in a row, the last one after an "and"."""
    words: Sequence[str] = list(items)
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def lowered(sentence: str) -> str:
    """With a small letter at its beginning, unless that is an abbreviation."""
    return sentence[0].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def first_sentence(target: object) -> str:
    """The first line of a docstring, as Markdown; empty where there is none."""
    doc = inspect.getdoc(target) or ""
    return doc.partition("\n")[0].replace("``", "`")
