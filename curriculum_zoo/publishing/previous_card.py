"""A card that people have edited: what of it is generated is brought up to date, all else stays as it is to the byte.

Metadata are changed key by key in the text itself, since a YAML library would lose comments and turn ``language: no``
into ``false``. Sections stand between marks, each on a line of its own and outside of code blocks. Line ends are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import PublishError

__all__ = ["dumped", "metadata_of", "read_card", "with_metadata", "with_sections", "without_metadata"]

_METADATA = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r" {0,3}<!-- (/?)generated: (\w+) -->[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def read_card(path: Path) -> str:
    """Return the text of a card with its own line ends.

    Raises:
        PublishError: it is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise PublishError(f"{path} is no UTF-8 text (byte {error.start}). Save it as UTF-8.") from error


def metadata_of(card: str) -> dict[str, Any]:
    """Return the metadata at the top of a card; empty where it has none.

    Raises:
        PublishError: they are no YAML, or no mapping.
    """
    found = _METADATA.match(card)
    try:
        values = yaml.safe_load(found[2]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that there is not
        raise _unreadable(str(error)) from error
    if values is not None and not isinstance(values, dict):
        raise _unreadable("they are no mapping of keys to values")
    return values or {}


def without_metadata(card: str) -> str:
    """Return what stands below the metadata of a card."""
    found = _METADATA.match(card)
    return card[found.end() :] if found else card


def dumped(values: Mapping[str, Any]) -> str:
    """Return metadata as YAML."""
    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120))


def with_metadata(card: str, now: Mapping[str, Any]) -> str:
    """Return a card's metadata, marks at both ends included, with some keys at other values.

    Args:
        card: the whole card.
        now: the values that keys have now; those that stand there already are not touched.

    Raises:
        PublishError: the metadata cannot be read, or not be changed line by line.
    """
    found, values = _METADATA.match(card), metadata_of(card)
    if found is None:
        return f"---\n{dumped(now)}---\n"
    newline = "\r\n" if found[1].endswith("\r\n") else "\n"
    lines = found[2].splitlines(keepends=True)
    places = _places(found[2], lines)
    for key in reversed(places):  # from the end, so that the places of those before stay right
        if key in now and now[key] != values[key]:
            first, last = places[key]
            lines[first:last] = _in_lines({key: now[key]}, newline)
    added = {key: value for key, value in now.items() if key not in places}
    return "".join((found[1], *lines, *(_in_lines(added, newline) if added else ()), found[3]))


def with_sections(text: str, sections: str) -> str:
    """Return a card's text with its generated sections at what they are now.

    Args:
        text: what stands below the metadata.
        sections: the text of a new card.

    Raises:
        PublishError: a mark has no counterpart, or stands in a code block that does not end.
    """
    now = {name: sections[start:end] for name, start, end in _sections(sections)}
    pieces, done = [], 0
    for name, start, end in _sections(text):
        newline = "\r\n" if text[start:end].partition("\n")[0].endswith("\r") else "\n"
        pieces += [text[done:start], now[name].replace("\n", newline) if name in now else text[start:end]]
        done = end
    return "".join((*pieces, text[done:]))


def _places(text: str, lines: list[str]) -> dict[str, tuple[int, int]]:
    """The first line of each key, and the one after its value, comments and empty lines below that left out."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return {}
    starts = [(str(key.value), key.start_mark.line) for key, _ in node.value]
    if node.flow_style or len({line for _, line in starts}) < len(starts):
        raise _unreadable("they stand in braces; write each key on a line of its own")
    if len(dict(starts)) < len(starts):
        raise _unreadable("a key stands twice in them")
    places = {}
    for (key, first), (_, last) in zip(starts, [*starts[1:], ("", len(lines))], strict=True):
        while last > first + 1 and re.match(r"\s*(#|\Z)", lines[last - 1]):
            last -= 1
        places[key] = (first, last)
    return places


def _in_lines(values: Mapping[str, Any], newline: str) -> list[str]:
    return dumped(values).replace("\n", newline).splitlines(keepends=True)


def _sections(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, beginning and end of each generated section."""
    opened: tuple[str, int] | None = None
    for closing, name, start, end in _marks(text):
        if closing != (opened is not None) or (opened is not None and opened[0] != name):
            raise _damaged()
        if opened is not None:
            yield name, opened[1], end
        opened = None if closing else (name, start)
    if opened is not None:
        raise _damaged()


def _marks(text: str) -> Iterator[tuple[bool, str, int, int]]:
    """Whether a mark ends a section, its name, its beginning and end; those in code blocks are none."""
    fence, hidden, position = "", False, 0
    for line in text.splitlines(keepends=True):
        content = line.rstrip("\r\n")
        mark, fenced = _MARK.fullmatch(content), _FENCE.fullmatch(content)
        if fence:
            hidden = hidden or mark is not None
            if fenced and fenced[1].startswith(fence) and not fenced[2].strip():
                fence, hidden = "", False
        elif fenced and not (fenced[1][0] == "`" and "`" in fenced[2]):
            fence = fenced[1]
        elif mark:
            yield mark[1] == "/", mark[2], position, position + len(content)
        position += len(line)
    if fence and hidden:
        raise PublishError(f"A code block of README.md, begun with {fence}, does not end. End it with {fence}.")


def _damaged() -> PublishError:
    return PublishError(
        "The marks of a generated section in README.md are damaged: each begins with a line '<!-- generated: NAME -->' "
        "and ends with a line '<!-- /generated: NAME -->'. Mend them, or delete the section with both."
    )


def _unreadable(problem: str) -> PublishError:
    return PublishError(f"The metadata at the top of README.md cannot be read: {problem}. Correct or delete them.")
