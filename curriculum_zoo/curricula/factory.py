"""From a curriculum's name, or an expression of several, to the curriculum: `create_curriculum`, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import CurriculumError, CurriculumZooError
from ..registry import CURRICULA, Entry, closest
from .stage import Curriculum

__all__ = ["class_of_dict", "create_curriculum", "curriculum_from_dict", "registered_name"]


def create_curriculum(name: str, *, epochs: int, seed: int = 0, **parameters: Any) -> Curriculum:
    """The curriculum of that name.

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
        PluginError: a plugin fails, or gives something that is no curriculum.
    """
    from .expression import parse

    if not isinstance(name, str):
        raise CurriculumError(f"create_curriculum takes a name, 'trd' say; got {name!r}")
    return parse(name).plan(epochs, seed, parameters)


def curriculum_from_dict(values: Mapping[str, Any]) -> Curriculum:
    """The curriculum that `Curriculum.to_dict` described, whichever it is, by the name under ``"name"``.

    Raises:
        CurriculumError: an unknown or missing field, or a value of the wrong type or out of range.
        UnknownNameError: no curriculum has that name.
    """
    return Curriculum.from_dict(values)


def build(name: str, epochs: int, seed: int, parameters: Mapping[str, Any]) -> Curriculum:
    """One registered curriculum; see `create_curriculum`."""
    entry = CURRICULA.entry(name)
    check_parameters(entry, parameters)
    try:
        built: Curriculum = entry.build(Curriculum, epochs=epochs, seed=seed, **parameters)
    except CurriculumZooError:
        raise
    except Exception as error:
        raise entry.error(f"fails: {type(error).__name__}: {error}") from error
    return built


def check_parameters(entry: Entry, parameters: Mapping[str, Any]) -> None:
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


def registered_name(cls: type[Curriculum]) -> str:
    """The name under which a curriculum's class is registered; its own title where it is not."""
    from .compose import COMPOSITES

    for symbol, composite in COMPOSITES.items():
        if cls is composite:
            return symbol
    where = f"{cls.__module__}:{cls.__qualname__}"
    claims = [entry for entry in CURRICULA.entries() if entry.target == where]
    if not claims:
        return cls._title()
    entry = claims[0]
    return entry.name if entry.built_in or entry.name in CURRICULA.names() else entry.qualified_name


def class_of_dict(values: Mapping[str, Any], cls: type[Curriculum]) -> type[Curriculum]:
    """The class that ``values["name"]`` names; `cls` itself where there is no name and it is no abstract class."""
    from .compose import COMPOSITES

    if not isinstance(values, Mapping):
        raise CurriculumError(f"A curriculum is described by an object of fields, got {values!r}")
    name = values.get("name")
    if name is None and not inspect.isabstract(cls):
        return cls
    if not isinstance(name, str):
        raise CurriculumError(f"A curriculum's description needs its registered name under 'name', got {name!r}")
    named = COMPOSITES.get(name) or (cls if name == registered_name(cls) else CURRICULA.load(name))
    if not (isinstance(named, type) and issubclass(named, Curriculum) and dataclasses.is_dataclass(named)):
        raise CurriculumError(f"The curriculum '{name}' is made by a function and cannot be read back from its fields")
    if not issubclass(named, cls):
        raise CurriculumError(f"The description is of '{name}', not of '{registered_name(cls)}'")
    return named
