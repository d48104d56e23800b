"""The folder of a comparison: ``comparison.json`` says what was stated and when, beside a run folder for each cell."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..documents import read_json
from ..errors import ComparisonError
from ..files import replace_file
from .arms import Arm, Cell, fingerprint
from .grid import Grid

__all__ = ["ComparisonFolder", "PlannedArm", "PlannedCell", "Statement"]

FILE = "comparison.json"
FORMAT = 1

_SETTLED = ("recipe", "baseline", "margin", "confidence", "figure")
"""What stays as it was stated once a cell is finished."""
_GROWING = ("seeds", "models", "data", "curricula", "arms")
"""What may be added to then, but not taken from."""


@dataclass(frozen=True)
class PlannedCell:
    """One run of an arm, as a report needs it.

    Attributes:
        seed: its training seed.
        fingerprint: of its recipe.
        folder: name of its run folder within the comparison's.
        epochs: how long it trains.
        flops: what its whole training costs, where that was counted beforehand.
    """

    seed: int
    fingerprint: str
    folder: str
    epochs: int
    flops: int | None = None


@dataclass(frozen=True)
class PlannedArm:
    """One arm, as a report needs it; see `curriculum_zoo.comparison.arms.Arm`.

    Attributes:
        label: what tables and figures call it.
        kind: ``stated``, ``ablation`` or ``matched``.
        baseline: label of the arm that it is measured against; None where it is that itself.
        matched: label of the baseline trained for this arm's FLOPs; None where there is none.
        cells: its runs, by rising seed.
    """

    label: str
    kind: str
    baseline: str | None
    matched: str | None
    cells: tuple[PlannedCell, ...]


@dataclass(frozen=True)
class Statement:
    """What a comparison's folder states.

    Attributes:
        grid: what is compared, as it stands.
        stated: when it was first stated, in UTC.
        changes: what was added after the first cell was finished, each with its time.
        arms: all arms, planned.
    """

    grid: Grid
    stated: str
    changes: tuple[str, ...] = ()
    arms: tuple[PlannedArm, ...] = ()


@dataclass(frozen=True)
class ComparisonFolder:
    """Names, readers and writers of a comparison's files.

    Attributes:
        path: the folder.
    """

    path: Path

    def run_folder(self, cell: Cell) -> Path:
        """The folder of a cell's run: the one with its fingerprint, whatever its arm was called when it began."""
        known = sorted(self.path.glob(f"*-{cell.seed}-{fingerprint(cell.recipe)}"))
        return known[0] if known else self.path / cell.folder_name

    def read(self) -> Statement | None:
        """What the folder states; None where no comparison was begun in it.

        Raises:
            ComparisonError: its file is damaged.
        """
        path = self.path / FILE
        if not path.is_file():
            return None
        try:
            values = read_json(path)
            arms = tuple(_planned_arm(arm) for arm in values["arms"])
            changes = tuple(map(str, values["changes"]))
            return Statement(Grid.from_dict(values["grid"]), str(values["stated"]), changes, arms)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{error!r}" if isinstance(error, KeyError) else f"{error}"
            raise ComparisonError(f"{path} is damaged ({problem}). Put it back, or begin in another folder.") from error

    def state(self, grid: Grid) -> Statement:
        """State a grid before its cells run, or add to the one that stands.

        Raises:
            ComparisonError: a cell is finished, and the grid changes what was stated before it was.
        """
        before, grid = self.read(), grid.resolved()
        finished = any(self.path.glob("*/results.json"))
        if before is None or not finished:
            statement = Statement(grid, _now(), arms=before.arms if before else ())
        else:
            self._refuse_changes(before, grid)
            changes = [f"{_now()}: {change}" for change in _changes(before.grid, grid)]
            statement = replace(before, grid=grid, changes=(*before.changes, *changes))
        self._write(statement)
        return statement

    def plan(self, arms: Iterable[Arm], flops: Mapping[str, int]) -> Statement:
        """Write down which arms there are, and where the run of each cell lies.

        Args:
            arms: all of them.
            flops: of whole trainings, by fingerprint, as far as they were counted.
        """
        arms = list(arms)
        names: dict[str, str] = {}
        for arm in arms:
            for seed, recipe in arm.recipes.items():
                names.setdefault(fingerprint(recipe), self.run_folder(Cell(arm.label, seed, recipe)).name)
        planned = tuple(
            PlannedArm(
                arm.label,
                arm.kind,
                arm.baseline,
                arm.matched,
                tuple(
                    PlannedCell(seed, key, names[key], recipe.epochs, flops.get(key))
                    for seed, recipe in sorted(arm.recipes.items())
                    for key in [fingerprint(recipe)]
                ),
            )
            for arm in arms
        )
        before = self.read()
        assert before is not None, "a grid is stated before it is planned"
        statement = replace(before, arms=planned)
        self._write(statement)
        return statement

    def _write(self, statement: Statement) -> None:
        values = {
            "format": FORMAT,
            "stated": statement.stated,
            "changes": list(statement.changes),
            "grid": statement.grid.to_dict(),
            "arms": [_arm_to_dict(arm) for arm in statement.arms],
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / FILE, json.dumps(values, indent=2) + "\n")
        except OSError as error:
            raise ComparisonError(f"{self.path} cannot be written to: {error.strerror}. Choose another.") from error

    def _refuse_changes(self, before: Statement, grid: Grid) -> None:
        for field in _SETTLED:
            old, new = _settled(before.grid, field), _settled(grid, field)
            if old != new:
                what = _difference(old, new) if field == "recipe" else f"{field} {old} there, {new} here"
                raise ComparisonError(
                    f"{self.path} has finished runs, and their comparison was stated otherwise on {before.stated} "
                    f"({what}). What is chosen once results are there shows nothing: keep to it, or begin in another "
                    "folder."
                )
        for field in _GROWING:
            gone = [item for item in getattr(before.grid, field) if item not in getattr(grid, field)]
            altered = [
                label
                for label, settings in (before.grid.arms.items() if field == "arms" else ())
                if label in grid.arms and settings != grid.arms[label]
            ]
            if gone or altered:
                raise ComparisonError(
                    f"{self.path} has finished runs, and {field} {', '.join(map(str, gone or altered))} would be "
                    f"{'left out' if gone else 'changed'}. What was stated stays in the comparison: it may be added "
                    "to. Begin in another folder for another one."
                )


def _changes(before: Grid, after: Grid) -> list[str]:
    """What was added or changed, in words."""
    changes = []
    for field in _GROWING:
        added = [str(item) for item in getattr(after, field) if item not in getattr(before, field)]
        if added:
            changes.append(f"added {field} {', '.join(added)}")
    for field in ("matched", "ablate", "target", "evaluate"):
        if getattr(before, field) != getattr(after, field):
            changes.append(f"changed {field}")
    return changes


def _settled(grid: Grid, field: str) -> Any:
    """A field's value; of a recipe all that decides a run, fields that it was written without at their defaults."""
    if field != "recipe":
        return getattr(grid, field)
    return {**grid.resolved().to_dict()["recipe"], "notes": ""}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return "; ".join(f"{key} {before.get(key)!r} there, {after.get(key)!r} here" for key in differing)


def _planned_arm(values: Mapping[str, Any]) -> PlannedArm:
    """An arm as the file has it; anybody may have written that.

    Raises:
        TypeError: something else than an arm.
        ValueError: a folder that lies elsewhere than in the comparison's.
    """
    cells = tuple(PlannedCell(**cell) for cell in values["cells"])
    for cell in cells:
        if not re.fullmatch(r"[^/\\:.][^/\\:]*", cell.folder):
            raise ValueError(f"'{cell.folder}' is no name of a folder in it")
        if not all(type(number) is int for number in (cell.seed, cell.epochs)) or type(cell.fingerprint) is not str:
            raise TypeError(f"the cell in {cell.folder} has no numbers for seed and epochs, or no fingerprint")
    arm = PlannedArm(**{**values, "cells": cells})
    if not all(isinstance(text, str) for text in (arm.label, arm.kind, arm.baseline or "", arm.matched or "")):
        raise TypeError(f"the arm {str(arm.label)[:80]!r} has no text for label, kind, baseline or matched")
    return arm


def _arm_to_dict(arm: PlannedArm) -> dict[str, Any]:
    return {**vars(arm), "cells": [vars(cell) for cell in arm.cells]}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
