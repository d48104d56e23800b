"""From a grid to its arms: a label, a recipe for each seed, and which other arm it is measured against."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..configuration import Configuration
from ..errors import ComparisonError, UnknownNameError
from ..recipes import Recipe
from ..registry import CURRICULA, DATASETS, MODELS, closest
from .grid import Grid, flattened

__all__ = ["Arm", "Cell", "ablated", "cells_of", "fingerprint", "stated_arms"]

Kind = Literal["stated", "ablation", "matched"]

DIGITS = 12
"""Hexadecimal digits of a fingerprint: a million recipes share one with a probability below 1 in 500."""


@dataclass(frozen=True)
class Arm:
    """One treatment of a comparison.

    Attributes:
        label: what tables and figures call it.
        recipes: what it trains, by seed.
        kind: ``stated`` by the grid, an ``ablation`` that its curriculum declares, or plain training ``matched`` in
            FLOPs.
        baseline: label of the arm that it is measured against; None where it is that itself.
        matched: label of the baseline trained for this arm's FLOPs; None where there is none.
    """

    label: str
    recipes: Mapping[int, Recipe]
    kind: Kind = "stated"
    baseline: str | None = None
    matched: str | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe of its first seed."""
        return next(iter(self.recipes.values()))


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        arm: label of its arm; of the first one, where several arms have the same run.
        seed: its training seed.
        recipe: what it trains.
    """

    arm: str
    seed: int
    recipe: Recipe

    @property
    def folder_name(self) -> str:
        """``<arm>-<seed>-<fingerprint>``."""
        slug = re.sub(r"[^a-z0-9]+", "_", self.arm.lower()).strip("_")[:40].strip("_")
        return f"{slug or 'arm'}-{self.seed}-{fingerprint(self.recipe)}"


def fingerprint(recipe: Recipe) -> str:
    """What tells a recipe from all others: SHA-256 of its canonical JSON, in short.

    Notes do not count, and fields at their defaults are left out, so that a recipe keeps its fingerprint where a later
    version of the package adds a field.
    """
    stated = _beyond_defaults(recipe)
    stated.pop("notes", None)
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def cells_of(arms: list[Arm]) -> list[Cell]:
    """All runs, each once, seed by seed, so that an unfinished comparison compares like with like."""
    seeds = dict.fromkeys(seed for arm in arms for seed in arm.recipes)
    cells: dict[str, Cell] = {}
    for seed in seeds:
        for arm in arms:
            if seed in arm.recipes:
                recipe = arm.recipes[seed]
                cells.setdefault(fingerprint(recipe), Cell(arm.label, seed, recipe))
    return list(cells.values())


def stated_arms(grid: Grid) -> list[Arm]:
    """The arms that a grid states, checked as far as that is cheap: names are known, and curricula can be planned.

    Arms are measured within their model and data set. Where there is a single curriculum or arm of each, it is the
    models that are compared, within their data set.

    Raises:
        CurriculumZooError: the recipe, a name or a setting makes no sense, two arms are the same, or no arm has the
            baseline's label.
    """
    base = grid.base()
    variations = _variations(grid, base)
    models, data = grid.models or (base.model,), grid.data or (base.data,)
    titles = _titles(data)
    arms: list[Arm] = []
    for which in data:
        blocks = [(model,) for model in models] if len(variations) > 1 else [models]
        for block in blocks:
            members = {}
            for model, (variation, settings) in itertools.product(block, variations.items()):
                axes = ((model, len(models)), (titles[which], len(data)), (variation, len(variations)))
                label = ", ".join(name for name, count in axes if count > 1) or variation
                recipe = _changed(base, label, {"model": model, "data": which, **flattened(settings, base)})
                own = variation if len(variations) > 1 else model
                members[own] = Arm(label, {seed: recipe.changed({"seed": seed}) for seed in grid.seeds})
            first = members[_baseline_of(grid, members)].label
            arms += [replace(arm, baseline=None if arm.label == first else first) for arm in members.values()]
    for arm in arms:
        _check_names(arm)
    _refuse_doubles(arms)
    return arms


def ablated(arms: list[Arm]) -> list[Arm]:
    """The arms that the curricula of these declare for their own ablation, but for those that are there already.

    A curriculum's class declares them as ``ablations``: label to parameters, which change those of the arm, or to an
    expression, which stands in its curriculum's place.

    Raises:
        CurriculumZooError: a declared arm cannot be planned.
    """
    added: list[Arm] = []
    for arm in arms:
        for name, expression in _declared(arm.recipe.curriculum):
            recipes = {seed: recipe.changed({"curriculum": expression}) for seed, recipe in arm.recipes.items()}
            new = Arm(f"{arm.label}: {name}", recipes, kind="ablation", baseline=arm.baseline or arm.label)
            _check_names(new)
            if not any(_same_training(new.recipe, other.recipe) for other in (*arms, *added)):
                added.append(new)
    return added


def expression_of(name: str, parameters: Mapping[str, Any]) -> str:
    """A curriculum and its parameters as `create_curriculum` reads them."""
    if not parameters:
        return name
    return f"{name}({', '.join(f'{key}={_literal(value)}' for key, value in parameters.items())})"


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if "'" not in value else f'"{value}"'
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_literal, value))})"
    return repr(value)


def _declared(curriculum: str) -> Iterator[tuple[str, str]]:
    """Label and expression of each arm that a curriculum declares; none of compositions."""
    from ..curricula.expression import parse

    parsed = parse(curriculum)
    name, parameters = getattr(parsed, "name", None), getattr(parsed, "parameters", {})
    if name is None:
        return
    for label, change in getattr(CURRICULA.entry(name).load(), "ablations", {}).items():
        yield label, change if isinstance(change, str) else expression_of(name, {**parameters, **change})


def _variations(grid: Grid, base: Recipe) -> dict[str, dict[str, Any]]:
    """Every curriculum with every arm: label to settings."""
    variations = {}
    for curriculum, arm in itertools.product(grid.curricula or (None,), grid.arms or (None,)):
        settings = {} if curriculum is None else {"curriculum": curriculum}
        shown = [] if curriculum is None or (len(grid.curricula) == 1 and arm) else [curriculum]
        label = ", ".join([*shown, *([arm] if arm else [])]) or base.curriculum
        variations[label] = {**settings, **(grid.arms[arm] if arm else {})}
    return variations


def _baseline_of(grid: Grid, members: Mapping[str, Arm]) -> str:
    """The name of the arm that a block's others are measured against."""
    if grid.baseline is None:
        return "baseline" if "baseline" in members else next(iter(members))
    labels = {arm.label: name for name, arm in members.items()}
    if grid.baseline in members:
        return grid.baseline
    if grid.baseline in labels:
        return labels[grid.baseline]
    raise ComparisonError(f"No arm is called '{grid.baseline}', as the baseline is. {closest(grid.baseline, members)}")


def _titles(data: tuple[str, ...]) -> dict[str, str]:
    """Data sets by short names: of a file or folder its own name, where that is enough to tell them apart."""
    short = {spec: Path(spec.partition(":")[2]).stem or spec for spec in data}
    return short if len(set(short.values())) == len(short) else {spec: spec for spec in data}


def _changed(recipe: Recipe, label: str, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with an arm's settings; an error names the arm."""
    try:
        return recipe.changed(settings)
    except ValueError as error:
        raise ComparisonError(f"Arm '{label}': {error}") from None


def _refuse_doubles(arms: list[Arm]) -> None:
    for arm, other in itertools.combinations(arms, 2):
        if _same_training(arm.recipe, other.recipe):
            raise ComparisonError(f"The arms '{arm.label}' and '{other.label}' are the same training. Take one away.")


def _same_training(first: Recipe, second: Recipe) -> bool:
    """Whether two recipes train the same, however their curricula are spelled."""
    from ..curricula import create_curriculum

    spelled = {"curriculum": "", "notes": ""}
    if first.changed(spelled) != second.changed(spelled):
        return False
    plans = [create_curriculum(recipe.curriculum, epochs=recipe.epochs, seed=recipe.seed) for recipe in (first, second)]
    return plans[0] == plans[1]


def _check_names(arm: Arm) -> None:
    """Raise now what would otherwise fail in every cell of the arm."""
    from ..curricula import create_curriculum

    recipe = arm.recipe
    try:
        create_curriculum(recipe.curriculum, epochs=recipe.epochs, seed=recipe.seed)
        DATASETS.entry(recipe.data.partition(":")[0].strip())
        if not re.search(r"[/:.]", recipe.model):  # a tag of weights, timm's, the Hub's: found when they are wanted
            MODELS.entry(recipe.model)
    except UnknownNameError as error:
        raise UnknownNameError(f"Arm '{arm.label}': {error}") from None
    except ValueError as error:
        raise ComparisonError(f"Arm '{arm.label}': {error}") from None


def _beyond_defaults(configuration: Configuration) -> dict[str, Any]:
    """Fields that differ from their defaults, nested ones likewise."""
    stated: dict[str, Any] = {}
    for field in dataclasses.fields(configuration):
        value = getattr(configuration, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if value == default and type(value) is type(default):
            continue
        stated[field.name] = _beyond_defaults(value) if isinstance(value, Configuration) else value
    return stated
