"""Curricula, and several of them as one: `Curriculum`, ``a + b`` at once, ``a.then(b)`` one after the other.

A curriculum is a pure function from an epoch to a stage. It keeps no counter, so every process, every resumed run and
every re-run agree on what epoch 17 is.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar, Self, cast

from ..citation import Paper
from ..configuration import Configuration, setting
from ..errors import CurriculumError
from ..registry import CURRICULA, Entry
from .overlay import overlaid
from .stage import Stage
from .timeline import Timeline

__all__ = ["COMPOSITES", "Curriculum", "FollowOn", "Overlay", "divide", "follow_on", "overlay"]


@dataclass(frozen=True, kw_only=True)
class Curriculum(Configuration, ABC):
    """A training curriculum: a pure function from an epoch to a `Stage`.

    Subclasses are frozen, keyword-only dataclasses that add their parameters as fields (with ranges by `setting`) and
    implement `_stage`. ``a + b`` overlays two curricula (`Overlay`), ``a.then(b)`` runs b after a (`FollowOn`).

    Attributes:
        ablations: the method with one thing taken away or exchanged, keyed by a label: the parameters that differ, or
            the expression of another curriculum. What a comparison runs beside the method itself.
        paper: what to cite for it; None where there is nothing to cite.
        epochs: length of the training that it plans.
        seed: seeds whatever it draws; equal seeds draw equally, on every process.
    """

    _error: ClassVar[type[CurriculumError]] = CurriculumError
    paper: ClassVar[Paper | None] = None
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {}

    epochs: int = setting(low=1)
    seed: int = 0

    @abstractmethod
    def _stage(self, epoch: int) -> Stage:
        """The stage of an epoch that lies within the plan."""

    def stage(self, epoch: int) -> Stage:
        """Return the stage of an epoch.

        Args:
            epoch: counted from 0.

        Raises:
            CurriculumError: the epoch is not one of the plan's.
        """
        if not 0 <= epoch < self.epochs:
            raise CurriculumError(
                f"{self.name} plans epochs 0 to {self.epochs - 1}, not {epoch}. Create it with epochs={epoch + 1} or "
                "more to train longer."
            )
        return self._stage(epoch)

    def stages(self) -> list[Stage]:
        """Return the stage of each epoch, in order."""
        return [self.stage(epoch) for epoch in range(self.epochs)]

    def relative_cost(self, image_size: int) -> float:
        """Return its training FLOPs as a share of a full-resolution run's of equal length, by pixels and images.

        A convolution's FLOPs follow the pixels it sees (TRD's appendix counts so too). What freezing saves depends
        on the network and is not in this figure; the training engine counts that from the network itself.

        Args:
            image_size: the full side of the images, in pixels.

        Raises:
            CurriculumError: a stage asks for larger images than there are.
        """
        self.check_image_size(image_size)
        return sum(stage.relative_cost(image_size) for stage in self.stages()) / self.epochs

    def check_image_size(self, image_size: int) -> None:
        """Raise if a stage asks for a larger side than the images have.

        Args:
            image_size: the full side of the images, in pixels.

        Raises:
            CurriculumError: one does; the text names both.
        """
        for stage in (variant for planned in self.stages() for variant, _ in planned.variants()):
            if stage.pixels(image_size) > image_size:
                raise CurriculumError(
                    f"{self.name}: stage '{stage.name}' asks for {stage.pixels(image_size)} px, and the images have "
                    f"{image_size} px. State fewer pixels, or a share of the full side, 0.5 say."
                )

    def timeline(self, image_size: int | None = None) -> Timeline:
        """Return the plan as a table, a row for each run of epochs with equal stages; ``print`` it.

        Args:
            image_size: the full side of the images in pixels, for which sizes and costs are then stated. Without it
                sizes stand as the stages have them.
        """
        return Timeline.of(self.stages(), image_size, self.warnings(image_size))

    def warnings(self, image_size: int | None = None) -> tuple[str, ...]:
        """Return what to know before training by this plan, a sentence or two each; empty for most plans.

        Args:
            image_size: the full side of the images in pixels, without which a side stated in pixels is taken for full.
        """
        last = self.stage(self.epochs - 1)
        side = last.image_size if image_size is None else last.pixels(image_size) / image_size
        if side is None or isinstance(side, int) or side == 1:
            return ()
        return (
            f"{self.name} ends on reduced images: the last epoch is '{last.name}', and tests are on full ones, which "
            "BatchNorm's statistics then do not fit. Let full images come last: trd has final=1, and 'baseline' may "
            "follow on any curriculum.",
        )

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Return this curriculum adapted to a step schedule of the learning rate; itself where that does not matter.

        The training engine calls this with the drops of the recipe's schedule. Drops that the user stated stay.

        Args:
            drops: the first epochs with a lower rate.
        """
        return self

    def require_epochs(self, needed: int, reason: str) -> None:
        """Raise if the plan is shorter than the curriculum needs.

        Raises:
            CurriculumError: it is; the text names how many epochs are needed, and the reason.
        """
        if self.epochs < needed:
            self.fail("epochs", f"must be at least {needed}: {reason}; got {self.epochs}")

    def then(self, other: Curriculum, share: float | None = None) -> Curriculum:
        """Return the curriculum that runs this one and then another one.

        Args:
            other: the one that follows.
            share: the share of the epochs that this one gets; both are then planned again within this one's number of
                epochs, which must be the other's too. Without it the two run their own epochs, which add up.
        """
        return follow_on((self, other), None if share is None else (share, 1 - share))

    def __add__(self, other: Curriculum) -> Curriculum:
        """Return the curriculum that is both at once: see `Overlay`."""
        return overlay(self, other) if isinstance(other, Curriculum) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """Return the registered name and the fields as plain JSON values, from which `from_dict` makes an equal one."""
        return {"name": _registered_name(type(self)), **super().to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the curriculum with these fields; those left out take their defaults.

        On `Curriculum` itself, the class is the one registered under ``values["name"]``. On a subclass the name may be
        left out.

        Raises:
            CurriculumError: an unknown or missing field, a value of the wrong type or out of range, another class.
            UnknownNameError: no curriculum has that name.
        """
        named = _class_of_dict(values, cls)
        fields = {name: value for name, value in values.items() if name != "name"}
        return cast("Self", super(Curriculum, named).from_dict(fields))

    @property
    def name(self) -> str:
        """The class's name in snake case, which is the registered one of built-in curricula."""
        return self._title()

    @classmethod
    def _title(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


@dataclass(frozen=True, kw_only=True)
class Overlay(Curriculum):
    """Several curricula at once: ``a + b``, in strings ``"a + b"``; see `curriculum_zoo.curricula.overlay`.

    Attributes:
        parts: the curricula, all of the same number of epochs.
    """

    parts: tuple[Curriculum, ...] = setting()

    def check(self) -> None:
        """Check that the parts can be overlaid in every epoch."""
        if len(self.parts) < 2:
            self.fail("parts", f"must be two curricula or more, got {len(self.parts)}")
        for part in self.parts:
            if part.epochs != self.epochs:
                self.fail("parts", f"must plan equal epochs: {part.name} plans {part.epochs}, not {self.epochs}")
        for epoch in range(self.epochs):
            self._stage(epoch)

    @property
    def name(self) -> str:
        """The names of the parts."""
        return "+".join(f"({part.name})" if isinstance(part, FollowOn) else part.name for part in self.parts)

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Adapt each part."""
        return replace(self, parts=tuple(part.with_learning_rate_drops(drops) for part in self.parts))

    def _stage(self, epoch: int) -> Stage:
        stages = [part.stage(epoch) for part in self.parts]
        return functools.reduce(functools.partial(overlaid, self.name), stages)


@dataclass(frozen=True, kw_only=True)
class FollowOn(Curriculum):
    """Several curricula one after the other, each as a training of its own: ``a.then(b)``, in strings ``"a > b"``.

    Attributes:
        parts: the curricula, whose epochs add up to this one's.
    """

    parts: tuple[Curriculum, ...] = setting()

    def check(self) -> None:
        """Check that the epochs add up."""
        if len(self.parts) < 2:
            self.fail("parts", f"must be two curricula or more, got {len(self.parts)}")
        total = sum(part.epochs for part in self.parts)
        if total != self.epochs:
            self.fail("parts", f"must plan {self.epochs} epochs together, got {total}")

    @property
    def name(self) -> str:
        """The names of the parts."""
        return ">".join(part.name for part in self.parts)

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """Adapt each part, for which epochs are counted from its own first one."""
        parts = tuple(
            part.with_learning_rate_drops(tuple(drop - start for drop in drops))
            for part, start in zip(self.parts, self._starts(), strict=True)
        )
        return replace(self, parts=parts)

    def _starts(self) -> list[int]:
        return [0, *accumulate(part.epochs for part in self.parts[:-1])]

    def _stage(self, epoch: int) -> Stage:
        number = sum(epoch >= start for start in self._starts()) - 1
        return self.parts[number].stage(epoch - self._starts()[number])


COMPOSITES: dict[str, type[Curriculum]] = {"+": Overlay, ">": FollowOn}
"""Composite curricula, keyed by what `Curriculum.to_dict` has under ``"name"``."""


def overlay(*curricula: Curriculum) -> Curriculum:
    """Return the curriculum that is all of these at once, with views in this order.

    Raises:
        CurriculumError: they cannot be combined; the text says why.
    """
    parts = tuple(p for c in curricula for p in (c.parts if isinstance(c, Overlay) else (c,)))
    return Overlay(epochs=parts[0].epochs, seed=parts[0].seed, parts=parts)


def follow_on(curricula: tuple[Curriculum, ...], shares: tuple[float, ...] | None = None) -> Curriculum:
    """Return the curriculum that runs these one after the other.

    Args:
        curricula: the curricula.
        shares: the share of the epochs that each gets; they must then all plan the same number, which stays the
            total. Without shares each keeps its own epochs.

    Raises:
        CurriculumError: a share leaves a curriculum fewer epochs than it needs, or the epochs differ.
    """
    if shares is not None:
        epochs = curricula[0].epochs
        if any(curriculum.epochs != epochs for curriculum in curricula):
            raise CurriculumError("Shares divide one number of epochs: create both curricula with the same epochs")
        planned = zip(curricula, divide(epochs, shares), strict=True)
        curricula = tuple(replace(curriculum, epochs=part) for curriculum, part in planned)
    parts = tuple(p for c in curricula for p in (c.parts if isinstance(c, FollowOn) else (c,)))
    return FollowOn(epochs=sum(part.epochs for part in parts), seed=parts[0].seed, parts=parts)


def divide(epochs: int, shares: tuple[float, ...]) -> list[int]:
    """Divide epochs by shares, each boundary at the nearest epoch.

    Returns:
        Whole epochs for each share, which add up to `epochs`.

    Raises:
        CurriculumError: shares that do not add up to 1, or one that comes to no epoch.
    """
    if any(not 0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise CurriculumError(f"Shares must each lie between 0 and 1 and add up to 1; got {_listed(shares)}")
    ends = [round(epochs * end) for end in accumulate(shares)]
    parts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if min(parts) < 1:
        raise CurriculumError(f"{epochs} epochs are too few for shares of {_listed(shares)}: each needs one or more")
    return parts


def _listed(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{share:g}" for share in shares)


# Names in the registry ------------------------------------------------------------------------------------------------


_MADE_BY: dict[type[Curriculum], Entry] = {}
"""The entries of functions, keyed by the class of what they returned, where that class itself is not registered."""


def note_maker(cls: type[Curriculum], entry: Entry) -> None:
    """Note that curricula of a class come from a registered function, or from a class imported from elsewhere."""
    if cls not in COMPOSITES.values() and not _own_entries(cls):
        _MADE_BY[cls] = entry


def _own_entries(cls: type[Curriculum]) -> list[Entry]:
    where = f"{cls.__module__}:{cls.__qualname__}"
    return [entry for entry in CURRICULA.entries() if entry.target == where]


def _registered_name(cls: type[Curriculum]) -> str:
    """Return the name under which a curriculum's class, or what makes it, is registered; else its own title."""
    for symbol, composite in COMPOSITES.items():
        if cls is composite:
            return symbol
    claims = _own_entries(cls) or [entry for entry in (_MADE_BY.get(cls),) if entry]
    if not claims:
        return cls._title()
    entry = claims[0]
    return entry.name if entry.built_in or entry.name in CURRICULA.names() else entry.qualified_name


def _class_of_dict(values: Mapping[str, Any], cls: type[Curriculum]) -> type[Curriculum]:
    """Return the class named by ``values["name"]``; `cls` itself where there is no name and it is not abstract."""
    if not isinstance(values, Mapping):
        raise CurriculumError(f"A curriculum is described by an object of fields, got {values!r}")
    name = values.get("name")
    if name is None and not inspect.isabstract(cls):
        return cls
    if not isinstance(name, str):
        raise CurriculumError(f"A curriculum's description needs its registered name under 'name', got {name!r}")
    named: type | None
    if name in COMPOSITES or name == _registered_name(cls):
        named = COMPOSITES.get(name, cls)
    else:
        entry = CURRICULA.entry(name)
        loaded = entry.load()
        named = loaded if isinstance(loaded, type) else _class_made_by(loaded, values)
        if named is not None and issubclass(named, Curriculum):
            note_maker(named, entry)
    if not (isinstance(named, type) and issubclass(named, Curriculum) and dataclasses.is_dataclass(named)):
        raise CurriculumError(f"The curriculum '{name}' is made by a function and cannot be read back from its fields")
    if not issubclass(named, cls):
        raise CurriculumError(f"The description is of '{name}', not of '{_registered_name(cls)}'")
    return named


def _class_made_by(function: Any, values: Mapping[str, Any]) -> type[Curriculum] | None:
    """The class of what a registered function returns, called with those fields that it takes; None where it fails."""
    try:
        taken = inspect.signature(function).parameters
        built = function(**{name: value for name, value in values.items() if name in taken})
    except Exception:  # it takes what is no field of what it makes
        return None
    return type(built) if isinstance(built, Curriculum) else None
