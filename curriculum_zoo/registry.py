"""From a name to the thing it names: one registry for models, curricula and data sets, ours and everyone's.

Entries are Python entry points, read from the metadata of installed distributions; the built-in ones stand in this
project's own ``pyproject.toml`` under the same groups. Listing names imports nothing; loading one imports that one
alone, so a broken or slow plugin costs nobody but those who ask for it.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeVar

from .errors import NameClashError, PluginError, PluginWarning, UnknownNameError

__all__ = [
    "CURRICULA",
    "DATASETS",
    "MODELS",
    "REGISTRIES",
    "Entry",
    "Registry",
    "closest",
    "register_curriculum",
    "register_dataset",
    "register_model",
]

BUILT_IN = "curriculum-zoo"
THIS_SESSION = "this session"
DISABLE_PLUGINS = "CURRICULUM_ZOO_DISABLE_PLUGINS"

# What an entry point may say after its target: the optional requirements that it needs.
_EXTRAS = re.compile(r"\s*\[.*\]\s*$")

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One registered name and where it leads.

    Attributes:
        kind: ``"model"``, ``"curriculum"`` or ``"dataset"``.
        name: the name it claims.
        distribution: the installed distribution that claims it; ``"this session"`` for a decorator's.
        version: that distribution's version; empty for a decorator's.
        target: ``"module:object"``.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    loader: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def built_in(self) -> bool:
        """Whether curriculum_zoo itself brings it."""
        return self.distribution == BUILT_IN

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, which selects this entry whatever else claims the name."""
        return f"{self.distribution}/{self.name}"

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".rstrip()

    def load(self) -> Any:
        """Import the target.

        Raises:
            PluginError: the import fails, or the target cannot be called.
        """
        try:
            target = self.loader()
        except (Exception, SystemExit) as error:  # a module may call sys.exit as it is imported; Ctrl-C still counts
            raise self.error(f"cannot be loaded: {type(error).__name__}: {error}") from error
        if not callable(target):
            raise self.error(f"points at {_a(target)}, which cannot be called")
        return target

    def build(self, expected: type | tuple[type, ...], *args: Any, **kwargs: Any) -> Any:
        """Call the target and insist on what it returns.

        Args:
            expected: the type that the result must have, or several to choose from.
            *args: passed on.
            **kwargs: passed on.

        Raises:
            PluginError: the result is of another type.
        """
        built = self.load()(*args, **kwargs)
        if not isinstance(built, expected):
            kinds = expected if isinstance(expected, tuple) else (expected,)
            due = " or ".join(f"a {kind.__module__}.{kind.__qualname__}" for kind in kinds)
            raise self.error(f"returned {_a(built)}, where {due} is due")
        return built

    def error(self, what: str) -> PluginError:
        """A `PluginError` that names this entry, its distribution and version, and then says `what`."""
        remedies = {BUILT_IN: "Reinstall curriculum-zoo.", THIS_SESSION: "Correct it and register it again."}
        plugin = f"Upgrade or uninstall {self.distribution}, or set {DISABLE_PLUGINS}=1 to go on without plugins."
        remedy = remedies.get(self.distribution, plugin)
        return PluginError(f"The {self.kind} '{self.name}' ({self.target}, from {self.origin}) {what}. {remedy}")


class Registry:
    """The names of one kind, by entry-point group.

    Args:
        kind: what the entries are, for messages.
        group: the entry-point group.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._session: dict[str, Entry] = {}
        self._installed: tuple[Entry, ...] | None = None

    def entries(self) -> tuple[Entry, ...]:
        """Every claim to a name, built-in ones first, then by distribution; imports none of them."""
        if self._installed is None:
            self._installed = tuple(sorted(self._scan(), key=lambda e: (not e.built_in, e.distribution, e.name)))
        installed: Iterable[Entry] = self._installed
        if os.environ.get(DISABLE_PLUGINS, "").lower() not in ("", "0", "false", "no"):
            installed = (entry for entry in installed if entry.built_in)
        return (*installed, *self._session.values())

    def names(self, pattern: str = "*") -> list[str]:
        """The names that match a shell pattern, sorted.

        A name that two distributions claim is listed in its qualified forms, ``distribution/name``; so is one that has
        a slash in it and could be taken for such a form.
        """
        listed = {
            entry.name if self._owner(claims) is entry and "/" not in entry.name else entry.qualified_name
            for claims in self._claims().values()
            for entry in claims
        }
        return sorted(name for name in listed if fnmatch.fnmatchcase(name, pattern))

    def entry(self, name: str) -> Entry:
        """The entry behind ``name`` or ``distribution/name``.

        Raises:
            UnknownNameError: nothing has that name.
            NameClashError: several distributions claim it, none of them this package.
        """
        qualified = self._qualified(name)  # first: no plugin gets at 'curriculum-zoo/trd' by taking that for its name
        if qualified is not None:
            return qualified
        claims = self._claims().get(name)
        if claims is None:
            raise UnknownNameError(self._unknown(name))
        owner = self._owner(claims)
        if owner is None:
            choices = " or ".join(f"'{entry.qualified_name}'" for entry in claims)
            owners = " and ".join(entry.origin for entry in claims)
            raise NameClashError(f"The {self.kind} name '{name}' is claimed by {owners}. Say {choices}.")
        for other in claims:
            if other is not owner:
                warnings.warn(
                    f"{other.origin} also claims the {self.kind} name '{name}', which is built "
                    f"in and stays so; its own is '{other.qualified_name}'.",
                    PluginWarning,
                    stacklevel=3,
                )
        return owner

    def load(self, name: str) -> Any:
        """Import what ``name`` or ``distribution/name`` names, and only that.

        Raises:
            UnknownNameError: nothing has that name.
            NameClashError: several distributions claim it.
            PluginError: it cannot be imported or called.
        """
        return self.entry(name).load()

    def register(self, target: T | None = None, *, name: str | None = None) -> Any:
        """Decorator: make a function or class of this session known by its name, for notebooks and scripts.

        Registering the same name again replaces the former, as re-running a notebook cell should.

        Raises:
            NameClashError: the name is built in.
            PluginError: no expression or address could hold the name.
        """

        def decorate(decorated: T) -> T:
            known_as = name or decorated.__name__
            if problem := self._problem(known_as):
                raise PluginError(f"The {self.kind} name {known_as!r} is refused: {problem}")
            if any(entry.built_in for entry in self._claims().get(known_as, ())):
                raise NameClashError(f"The {self.kind} name '{known_as}' is built in. Choose another one.")
            where = f"{decorated.__module__}:{decorated.__qualname__}"
            self._session[known_as] = Entry(self.kind, known_as, THIS_SESSION, "", where, lambda: decorated)
            return decorated

        return decorate if target is None else decorate(target)

    def refresh(self) -> None:
        """Forget the scan of installed distributions, after one was installed in a running session."""
        importlib.invalidate_caches()
        self._installed = None

    def _scan(self) -> Iterator[Entry]:
        """The group's entries, of each distribution the copy that comes first on the path.

        Goes from distribution to distribution, since `metadata.entry_points` fails for all of them where the files of
        a single one are damaged.
        """
        seen: set[str] = set()
        for distribution in metadata.distributions():
            try:
                if not self._stated_in(distribution):
                    continue
                name, version = _canonical(distribution.name), distribution.version
                points = tuple(distribution.entry_points.select(group=self.group))
            except Exception as error:
                warnings.warn(
                    f"A distribution in {distribution.locate_file('')} is passed over, as its metadata cannot be read "
                    f"({type(error).__name__}: {error}). Reinstall it, or remove its .dist-info folder.",
                    PluginWarning,
                    stacklevel=2,
                )
                continue
            if name not in seen and not self._hidden(name):
                seen.add(name)
                yield from (
                    self._entry_of(point, name, version) for point in points if self._can_be_written(point, name)
                )

    def _stated_in(self, distribution: metadata.Distribution) -> bool:
        return self.group in (distribution.read_text("entry_points.txt") or "")

    def _hidden(self, name: str) -> bool:
        """Whether another copy of a distribution comes first on the path, one that has no entries of this group."""
        first = next(iter(metadata.distributions(name=name)), None)
        return first is not None and not self._stated_in(first)

    def _entry_of(self, point: metadata.EntryPoint, distribution: str, version: str) -> Entry:
        target = re.sub(r"\s*:\s*", ":", _EXTRAS.sub("", point.value)).strip()
        return Entry(self.kind, point.name, distribution, version, target, point.load)

    def _can_be_written(self, point: metadata.EntryPoint, distribution: str) -> bool:
        """Whether a name could be asked for; a warning where not."""
        problem = self._problem(point.name)
        if problem:
            text = f"The {self.kind} {point.name!r} of {distribution} is passed over: {problem}"
            warnings.warn(text, PluginWarning, stacklevel=4)
        return not problem

    def _problem(self, name: str) -> str:
        """Why a name cannot be written in an expression or address; empty where it can."""
        first = "a letter" if self.kind == "curriculum" else "a letter or digit"
        if re.fullmatch(r"[^\W\d][\w./-]*" if self.kind == "curriculum" else r"\w[\w./-]*", name):
            return ""
        return f"it could not be written where it is asked for. Begin it with {first}; letters, digits, _ . / - follow."

    def _qualified(self, name: str) -> Entry | None:
        distribution, _, bare = name.partition("/")
        for entry in self.entries():
            if entry.name == bare and _canonical(entry.distribution) == _canonical(distribution):
                return entry
        return None

    def _claims(self) -> dict[str, list[Entry]]:
        claims: dict[str, list[Entry]] = {}
        for entry in self.entries():
            claims.setdefault(entry.name, []).append(entry)
        return claims

    @staticmethod
    def _owner(claims: list[Entry]) -> Entry | None:
        """Who has a name: the only claimant, or the built-in one."""
        built_in = [entry for entry in claims if entry.built_in]
        return (built_in or claims)[0] if built_in or len(claims) == 1 else None

    def _unknown(self, name: str) -> str:
        if not any(entry.built_in for entry in self.entries()):
            return (
                f"No {self.kind} named '{name}': curriculum-zoo is imported but not installed, so its own entries are "
                "missing. Run 'pip install .' (or 'pip install -e .') in its folder."
            )
        return f"No {self.kind} named '{name}'. {closest(name, self.names())}"


def closest(name: str, names: Iterable[str], listing: str | None = None) -> str:
    """A sentence that offers the names most like `name`.

    Args:
        name: what was asked for.
        names: what there is.
        listing: where the whole list is to be had, if not spelled out here.
    """
    known = sorted(names)
    folded = {candidate.lower(): candidate for candidate in known}
    matches = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=4, cutoff=0.6)]
    if matches:
        return f"Did you mean {' or '.join(repr(match) for match in matches)}?"
    if listing or len(known) > 30:
        return f"See {listing or 'the full list'}."
    return f"There are: {', '.join(known) or 'none'}."


def _canonical(distribution: str) -> str:
    """A distribution's name as package indexes compare them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _a(thing: object) -> str:
    kind = type(thing)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


MODELS = Registry("model", "curriculum_zoo.models")
CURRICULA = Registry("curriculum", "curriculum_zoo.curricula")
DATASETS = Registry("dataset", "curriculum_zoo.datasets")
REGISTRIES = {"models": MODELS, "curricula": CURRICULA, "datasets": DATASETS}

register_model = MODELS.register
register_curriculum = CURRICULA.register
register_dataset = DATASETS.register
