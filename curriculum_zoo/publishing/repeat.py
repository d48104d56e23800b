"""The one command that trains by a recipe again, as short as the package's own recipes let it be."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from ..configuration import Configuration
from ..recipes import Recipe, list_recipes, load_recipe

__all__ = ["differences", "root_flag", "training_command"]

CANVASES = ("fashion_mnist_canvas", "mnist_canvas")

# Fields that the command line has a flag for; all others go through --set.
_FLAGS = {
    "model": "--model",
    "data": "--data",
    "curriculum": "--curriculum",
    "epochs": "--epochs",
    "seed": "--seed",
    "precision": "--precision",
}
_WIDTH = 100


def training_command(recipe: Recipe) -> str:
    """Return the command, in lines for a shell.

    It starts from the recipe of the package that differs least, or from the defaults where none is nearer. A folder
    of data sets stands in it as ``DIR``.
    """
    starts = {("--recipe", name): load_recipe(name) for name in list_recipes()}
    plain = Recipe(model=recipe.model, data=recipe.data)
    commands = [[*start, *_settings(differences(base, recipe))] for start, base in starts.items()]
    commands.append(["--model", recipe.model, "--data", recipe.data, *_settings(differences(plain, recipe))])
    shortest = min(commands, key=lambda words: (len(words), len(shlex.join(words))))
    return _wrapped(["curriculum-zoo", "train", *shortest, *root_flag(recipe.data)])


def root_flag(data: str) -> list[str]:
    """Return the flag that says where data sets lie, with its value; empty for sets that do not lie there.

    A file or folder of one's own is given after a colon, and the demo's images come with the package.
    After a canvas's colon stands what is drawn on it.
    """
    name, colon, _ = data.partition(":")
    return [] if name == "demo" or (colon and name not in CANVASES) else ["--data-root", "DIR"]


def differences(before: Recipe, after: Recipe) -> dict[str, Any]:
    """Return what to change in one recipe to have another, keyed by dotted field; notes are left out."""
    return {field: value for field, value in _changes(before, after, after.to_dict()) if field != "notes"}


def _changes(before: Configuration, after: Configuration, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, Configuration) and isinstance(new, Configuration):
            yield from ((f"{name}.{field}", inner) for field, inner in _changes(old, new, value))
        elif old != new and isinstance(new, Configuration):
            # Where there was none at all, what is not said has its default.
            yield name, dict(_changes(type(new)(), new, value))
        elif old != new:
            yield name, value


def _settings(changes: dict[str, Any]) -> list[str]:
    words = []
    for field, value in changes.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += [_FLAGS[field], text] if field in _FLAGS else ["--set", f"{field}={text}"]
    return words


def _wrapped(words: list[str]) -> str:
    """The words of a command, flags with their values kept together, in lines of a readable width."""
    lines = [shlex.join(words[:2])]
    for flag, value in zip(words[2::2], words[3::2], strict=True):
        part = shlex.join((flag, value))
        if len(lines[-1]) + len(part) < _WIDTH:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}")
    return " \\\n".join(lines)
