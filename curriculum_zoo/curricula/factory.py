"""Curricula from names, expressions and descriptions: `create_curriculum`, `curriculum_from_dict`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import CurriculumError, CurriculumZooError
from ..registry import CURRICULA, Entry, closest
from .curriculum import Curriculum, divide, follow_on, note_maker, overlay
from .expression import Several, Single, parse

__all__ = ["create_curriculum", "curriculum_from_dict"]


def create_curriculum(name: str, *, epochs: int, seed: int = 0, **parameters: Any) -> Curriculum:
    """Create a curriculum by its name, or several by an expression.

    Args:
        name: a registered name, with parameters in parentheses if wanted: ``"trd"``,
            ``"trd(resolution=16,participation=0.5)"``; or several of them, ``"trd+progressive_sharpening"`` at once and
            ``"hrt:0.4>trd"`` one after the other, as `curriculum_zoo.curricula.expression` has it.
        epochs: length of the training that it plans.
        seed: seeds whatever it draws.
        **parameters: the curriculum's own, where `name` is that of a single one.

    Raises:
        CurriculumError: an expression that cannot be read (the text points at the character), an unknown parameter, a
            value of the wrong type or out of range, or fewer epochs than the curriculum needs.
        UnknownNameError: nothing has that name.
        NameClashError: several distributions claim it.
        PluginError: a plugin fails, or returns something that is no curriculum.
    """
    if not isinstance(name, str):
        raise CurriculumError(f"create_curriculum takes a name, 'trd' say; got {name!r}")
    return _plan(parse(name), epochs, seed, parameters)


def curriculum_from_dict(values: Mapping[str, Any]) -> Curriculum:
    """Create the curriculum that `Curriculum.to_dict` described, of the class registered under ``values["name"]``.

    Raises:
        CurriculumError: an unknown or missing field, or a value of the wrong type or out of range.
        UnknownNameError: no curriculum has that name.
    """
    return Curriculum.from_dict(values)


def _plan(parsed: Single | Several, epochs: int, seed: int, more: Mapping[str, Any]) -> Curriculum:
    """Create the curriculum of a parsed expression; `more` are parameters given beside it."""
    if isinstance(parsed, Single):
        twice = [name for name in more if name in parsed.parameters]
        if twice:
            raise CurriculumError(f"{parsed.name}: {' and '.join(twice)} is given in the string and as a keyword")
        parameters = {"seed": seed, **parsed.parameters, **more}
        return _build(parsed.name, epochs, parameters.pop("seed"), parameters)
    if more:
        raise CurriculumError(
            f"{' and '.join(more)} could be any of several curricula's: give each its parameters in parentheses, "
            "'trd(resolution=16)+progressive_sharpening' say"
        )
    if not parsed.shares:
        return overlay(*(_plan(part, epochs, seed, {}) for part in parsed.parts))
    lengths = divide(epochs, parsed.shares)
    return follow_on(tuple(_plan(part, n, seed, {}) for part, n in zip(parsed.parts, lengths, strict=True)))


def _build(name: str, epochs: int, seed: int, parameters: Mapping[str, Any]) -> Curriculum:
    """Create one registered curriculum; see `create_curriculum`."""
    entry = CURRICULA.entry(name)
    _check_parameters(entry, parameters)
    try:
        built: Curriculum = entry.build(Curriculum, epochs=epochs, seed=seed, **parameters)
    except CurriculumZooError:
        raise
    except Exception as error:
        raise entry.error(f"fails: {type(error).__name__}: {error}") from error
    note_maker(type(built), entry)
    return built


def _check_parameters(entry: Entry, parameters: Mapping[str, Any]) -> None:
    """Raise if the registered curriculum does not take these parameters, or wants others too."""
    target = entry.load()
    if isinstance(target, type) and not issubclass(target, Curriculum):
        raise entry.error("is a class that is no curriculum_zoo.curricula.Curriculum")
    try:
        taken = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return
    names = [parameter.name for parameter in taken if parameter.name not in ("epochs", "seed")]
    for name in parameters:
        if name not in names:
            raise CurriculumError(f"{entry.name} has no parameter '{name}'. {closest(name, names)}")
    missing = [p.name for p in taken if p.default is p.empty and p.name in names and p.name not in parameters]
    if missing:
        raise CurriculumError(f"{entry.name} needs {' and '.join(missing)}, which has no default.")
