"""Frozen dataclasses that check themselves and travel through JSON strictly: recipes and curricula are made of them.

Types are those of the annotations, `Any` being any JSON value; nothing is coerced but an integer given for a float, and
a list given for a tuple. Every failure is one error that names the field (a nested one by its path, as in
``optimizer.lr``), what it expected and what it got.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from .documents import INTEGERS
from .errors import CurriculumZooError, RecipeError

__all__ = ["Configuration", "setting"]


def setting(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    factory: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field with a range, which holds for every number in it.

    Args:
        default: its default; required where neither this nor `factory` is given.
        low: smallest value allowed.
        high: largest value allowed.
        above: values must be greater than this.
        below: values must be less than this.
        factory: makes the default, where that is mutable.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    metadata = {name: bound for name, bound in bounds.items() if bound is not None}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """Base of frozen, keyword-only dataclasses whose fields are checked when an instance is made.

    Subclasses check what concerns several fields in `check`, and set `_error` to the error they raise.
    """

    _error: ClassVar[type[CurriculumZooError]] = RecipeError

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = self._convert(field.name, getattr(self, field.name), hints[field.name])
            self._check_range(field, value)
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Check what concerns several fields; raise with `fail`."""

    @classmethod
    def fail(cls, field: str, problem: str) -> typing.NoReturn:
        """Raise this class's error about one field."""
        raise cls._error(f"{cls._title()}: {field} {problem}")

    @classmethod
    def _title(cls) -> str:
        return cls.__name__

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, nested ones as nested objects; `from_dict` gives the same instance back."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The instance with these fields; those left out take their defaults.

        Raises:
            CurriculumZooError: an unknown or missing field, a value of the wrong type or out of range. Of the class's
                own kind: `RecipeError` for recipes, `CurriculumError` for curricula.
        """
        if not isinstance(values, Mapping):
            raise cls._error(f"{cls._title()}: expected an object of fields, got {_short(values)}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                near = difflib.get_close_matches(str(name)[:80], fields, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"its fields are {', '.join(fields)}"
                cls.fail(str(name)[:80], f"is no field of it; {hint}")
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                cls.fail(name, "is missing; it has no default")
        return cls(**values)

    def _convert(self, name: str, value: Any, hint: Any) -> Any:
        try:
            converted = _convert(value, hint)
        except _NestedError as nested:
            raise self._error(f"{self._title()}: {name}.{nested}") from None
        if converted is _MISFIT:
            self.fail(name, f"expects {_describe(hint)}, got {_short(value)}")
        return converted

    def _check_range(self, field: dataclasses.Field[Any], value: Any) -> None:
        for number in _numbers(value):
            if isinstance(number, float) and not math.isfinite(number):
                self.fail(field.name, f"must be finite, got {number}")
            for bound, allowed, words in _BOUNDS:
                if bound in field.metadata and not allowed(number, field.metadata[bound]):
                    self.fail(field.name, f"must be {words} {field.metadata[bound]}, got {number}")
            if isinstance(number, int) and number not in INTEGERS:
                self.fail(field.name, f"must fit 64 bits, got {_short(number)}")


_BOUNDS = (
    ("low", lambda number, bound: number >= bound, "at least"),
    ("high", lambda number, bound: number <= bound, "at most"),
    ("above", lambda number, bound: number > bound, "above"),
    ("below", lambda number, bound: number < bound, "below"),
)
_MISFIT = object()
_LONGEST = 500  # characters of a value in a message


class _NestedError(Exception):
    """An error in a nested configuration, whose text begins with the field's name within it."""


def _convert(value: Any, hint: Any) -> Any:
    """The value as the annotation has it, or `_MISFIT`."""
    if hint is Any:
        return _convert_any(value)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        exact_first = sorted(get_args(hint), key=lambda option: option is not type(value))
        options = (_convert(value, option) for option in exact_first)
        return next((option for option in options if option is not _MISFIT), _MISFIT)
    if origin is Literal:
        matches = [choice for choice in get_args(hint) if type(choice) is type(value) and choice == value]
        return matches[0] if matches else _MISFIT
    if origin is tuple:
        return _convert_tuple(value, get_args(hint))
    if origin is dict or hint is dict:
        return _convert_dict(value, get_args(hint))
    if not isinstance(hint, type):
        raise TypeError(f"a Configuration cannot check the annotation {hint}")
    if issubclass(hint, Configuration) and isinstance(value, Mapping):
        return _convert_nested(value, hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) <= sys.float_info.max else _MISFIT
    if isinstance(value, bool) and hint is not bool:
        return _MISFIT
    return value if isinstance(value, hint) else _MISFIT


def _convert_tuple(value: Any, items: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _MISFIT
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return _MISFIT
    converted = tuple(_convert(item, hint) for item, hint in zip(value, items, strict=True))
    return _MISFIT if any(item is _MISFIT for item in converted) else converted


def _convert_dict(value: Any, items: tuple[Any, ...]) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return _MISFIT
    hint = items[1] if items else Any
    converted = {key: _convert(item, hint) for key, item in value.items()}
    return _MISFIT if any(item is _MISFIT for item in converted.values()) else converted


def _convert_any(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _convert_dict(value, ())
    if isinstance(value, list | tuple):
        converted = [_convert_any(item) for item in value]
        return _MISFIT if any(item is _MISFIT for item in converted) else converted
    return value if value is None or isinstance(value, bool | int | float | str) else _MISFIT


def _convert_nested(value: Mapping[str, Any], hint: type[Configuration]) -> Configuration:
    try:
        return hint.from_dict(value)
    except CurriculumZooError as error:
        raise _NestedError(str(error).removeprefix(f"{hint._title()}: ")) from error


def _numbers(value: Any) -> Iterator[int | float]:
    """Every number in a field's value, however deep."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping):
        yield from _numbers(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def _plain(value: Any) -> Any:
    if isinstance(value, Configuration):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _short(value: Any) -> str:
    """A value as Python writes it, in a message's length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or what holds itself
        return f"a {type(value).__name__} beyond all bounds"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _describe(hint: Any) -> str:
    """An annotation in words that a person who writes JSON knows."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if origin is Literal:
        choices = ", ".join(repr(choice) for choice in get_args(hint))
        return f"one of {choices}" if len(get_args(hint)) > 1 else choices
    if origin is tuple:
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return f"a list, each item {_describe(items[0])}"
        return f"a list of {len(items)}: " + ", ".join(_describe(item) for item in items)
    words = {
        Any: "a JSON value",
        int: "an integer",
        float: "a number",
        str: "a string",
        bool: "true or false",
        type(None): "null",
    }
    if hint in words:
        return words[hint]
    return "an object" if origin is dict or hint is dict or issubclass(hint, Configuration) else hint.__name__
