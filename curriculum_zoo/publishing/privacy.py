"""Where files lie on somebody's machine is nobody else's business: recipes without such places."""

from __future__ import annotations

import re
from typing import Any

from ..recipes import Recipe
from ..weights.folder import LOCAL

__all__ = ["FILES", "public_recipe", "public_text"]

# An absolute path, or one from the home folder or the folder above, where a word or a value may begin.
_PATH = re.compile(r"(?:(?<=^)|(?<=[\s:=,;(\[\"'`]))(?:~|\.\.?|[A-Za-z]:)?[/\\](?!/)[^\s,;)\]\"'`]*")
FILES = ("npz", "folder", LOCAL.removesuffix(":"))
"""What takes nothing but a path as its argument, which may be a relative one and have spaces in it."""


def public_text(text: str) -> str:
    """Return a text in which every path that begins at the root, at home or above keeps its last part alone."""
    return _PATH.sub(lambda match: _last(match[0]), text)


def public_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with files and folders by their names alone, ``npz:a.npz`` for ``npz:/me/a.npz``."""
    return Recipe.from_dict({key: _public(value) for key, value in recipe.to_dict().items()})


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    if not isinstance(value, str):
        return value
    scheme, colon, path = value.partition(":")
    return f"{scheme}:{_last(path)}" if colon and scheme in FILES else public_text(value)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
