"""Words for a card: shares, times, lists, paragraphs, and the first line of a docstring."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from types import FunctionType

__all__ = ["cells", "code", "duration", "first_sentence", "listed", "lowered", "percent", "plain", "short", "wrapped"]

_MARKUP = re.compile(r"[\\`*<>\[\]|~$&]|(?<!\w)[_#]|_(?!\w)")
"""What Markdown or HTML may take for more than a letter; underscores within words are none."""


def percent(share: float, decimals: int = 2) -> str:
    """Return a share in percent, as ``90.85 %``."""
    return f"{100 * share:.{decimals}f} %"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, as it suits its length."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def wrapped(sentences: Iterable[str]) -> str:
    """Return sentences as a paragraph in lines of at most 120 characters, numbers kept with their units."""
    whole = re.sub(r"(?<=\d) (?=[%×])", "\N{NO-BREAK SPACE}", " ".join(sentences))
    filled = textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def plain(text: str) -> str:
    """Return a text, such as a class's name, so that Markdown shows its letters and nothing else, on one line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as Markdown's inline code, on one line, whatever backticks it has."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def cells(rows: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the rows of a table whose cells do not end where they have a bar, in code neither."""
    return [tuple(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row) for row in rows]


def short(names: Sequence[str]) -> tuple[str, ...]:
    """Return names up to their first comma, as of ImageNet's lists of synonyms; whole where others begin alike."""
    first = [name.partition(",")[0].strip() for name in names]
    counts = Counter(first)
    return tuple(begin if begin and counts[begin] == 1 else name for begin, name in zip(first, names, strict=True))


def listed(items: Iterable[str]) -> str:
    """Return words joined by commas, the last one by "and"."""
    words: Sequence[str] = list(items)
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def lowered(sentence: str) -> str:
    """Return a sentence with a small letter at its beginning, unless that is an abbreviation's."""
    return sentence[0].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def first_sentence(target: object) -> str:
    """Return the first line of a docstring, as Markdown; empty where there is none."""
    return _docstring(target).partition("\n")[0].replace("``", "`")


def _docstring(target: object) -> str:
    """A docstring, whether or not Python runs without them (-OO); not the signature that dataclasses have for one."""
    doc = inspect.getdoc(target) or ""
    if sys.flags.optimize > 1 and isinstance(target, type | FunctionType):
        try:
            definition = ast.parse(textwrap.dedent(inspect.getsource(target))).body[0]
        except (OSError, SyntaxError):  # no source
            return ""
        assert isinstance(definition, ast.ClassDef | ast.FunctionDef)
        doc = ast.get_docstring(definition) or ""
    return "" if doc.startswith(f"{getattr(target, '__name__', None)}(") else doc
