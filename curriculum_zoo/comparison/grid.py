"""The grid: what is compared with what, under which seeds, and what shall count as a difference; TOML or JSON.

A grid is stated before its runs are seen, and a paper's appendix can print it whole::

    recipe = "resnet20_cifar-cifar10"
    curricula = ["baseline", "trd", "progressive_resizing"]
    seeds = "0..4"
    margin = 0.3
    matched = true

    [arms."without augmentation"]
    augmentation.flip = false

    [[evaluate]]
    name = "half resolution"
    resolution = 0.5

    [[evaluate]]
    name = "noise"
    corruption = "gaussian_noise"
    severity = 5
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from ..configuration import Configuration, setting
from ..documents import read_json, read_toml
from ..errors import ComparisonError, CurriculumZooError, DocumentError
from ..recipes import Recipe, load_recipe, read_setting

__all__ = ["Condition", "Grid", "read_arm", "read_seeds"]

_MOST_SEEDS = 10_000


@dataclass(frozen=True, kw_only=True)
class Condition(Configuration):
    """What becomes of the test images before a finished cell is evaluated on them: corruption, blur, size, in order.

    Attributes:
        name: what tables and figures call it.
        corruption: a name that `curriculum_zoo.views.corruptions` knows; None for none.
        severity: of the corruption, 1 to 5 as in ImageNet-C.
        blur: standard deviation of a Gaussian blur, in pixels; 0 for none.
        resolution: side that the images are resized to: in pixels where an integer, as a share of the full side where
            a float; the full side where None.
        enlarge: whether they are brought back to the full side after that, with the detail gone and all things in them
            as large as before.
    """

    _error = ComparisonError

    name: str
    corruption: str | None = None
    severity: int = setting(3, low=1, high=5)
    blur: float = setting(0.0, low=0)
    resolution: int | float | None = setting(None, above=0)
    enlarge: bool = False

    def check(self) -> None:
        """A name must not be empty, a share of the side is 1 at most, and only what was made smaller is enlarged."""
        if not self.name.strip():
            self.fail("name", "must not be empty")
        if isinstance(self.resolution, float) and self.resolution > 1:
            self.fail("resolution", f"as a share of the side must be at most 1, got {self.resolution:g}")
        if self.enlarge and self.resolution is None:
            self.fail("enlarge", "brings images back from a resolution, which must be given")


@dataclass(frozen=True, kw_only=True)
class Grid(Configuration):
    """A comparison as it is stated: every model on every data set under every curriculum and arm, for every seed.

    Attributes:
        recipe: what all cells share: the name or file of a recipe, or fields of one.
        settings: changes to that recipe for all cells, by dotted field.
        models: names that `create_model` knows; the recipe's own where empty.
        data: names that `open_dataset` knows; the recipe's own where empty.
        curricula: names or expressions that `create_curriculum` knows; the recipe's own where empty.
        arms: label of an arm to its changes, by dotted field; each goes with every model, data set and curriculum.
        seeds: training seeds; a file may write ``"0..4"`` or ``"0,3,7"``.
        baseline: label that the others are measured against: ``baseline`` where None and there is one, else the first.
        margin: least difference that matters, in points (hundredths of accuracy).
        confidence: of all intervals, 0 to 1.
        figure: whose test accuracy verdicts are about: the ``last`` epoch's or the ``best`` one's on validation images.
        matched: whether the baseline is also trained for the FLOPs of each arm that costs less.
        ablate: whether the arms are added that curricula declare for their own ablation.
        target: validation accuracy, 0 to 1, whose cost is asked for; None for none.
        evaluate: conditions under which finished cells are evaluated.
        notes: for the reader.
    """

    _error = ComparisonError

    recipe: str | dict[str, Any] = setting(factory=dict)
    settings: dict[str, Any] = setting(factory=dict)
    models: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    curricula: tuple[str, ...] = ()
    arms: dict[str, dict[str, Any]] = setting(factory=dict)
    seeds: tuple[int, ...] = setting((0, 1, 2), low=0)
    baseline: str | None = None
    margin: float = setting(0.3, above=0)
    confidence: float = setting(0.95, above=0, below=1)
    figure: Literal["last", "best"] = "last"
    matched: bool = False
    ablate: bool = False
    target: float | None = setting(None, above=0, below=1)
    evaluate: tuple[Condition, ...] = ()
    notes: str = ""

    def check(self) -> None:
        """Nothing may be named twice, and seeds are the grid's alone."""
        if not self.seeds:
            self.fail("seeds", "must name at least one")
        names = {"evaluate": tuple(condition.name for condition in self.evaluate)}
        names |= {field: getattr(self, field) for field in ("models", "data", "curricula", "seeds")}
        for field, values in names.items():
            for twice in sorted({value for value in values if values.count(value) > 1}, key=str):
                self.fail(field, f"names {twice!r} twice")
        for label, settings in {
            "settings": self.settings,
            **{f"arms.{arm}": of for arm, of in self.arms.items()},
        }.items():
            if not label.removeprefix("arms.").strip():
                self.fail("arms", "has an arm without a label")
            if "seed" in settings:
                self.fail(f"{label}.seed", "is no arm's own: all arms have the same seeds, which `seeds` names")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The grid with these fields, seeds as a list or as text.

        Raises:
            ComparisonError: an unknown field, or a value of the wrong type or out of range.
        """
        if isinstance(values, Mapping) and isinstance(values.get("seeds"), str):
            values = {**values, "seeds": read_seeds(values["seeds"])}
        return super().from_dict(values)

    @classmethod
    def load(cls, path: str | Path) -> Grid:
        """Read a grid from a TOML or JSON file; the recipe's file may be named from where the grid lies.

        Raises:
            ComparisonError: the file cannot be read, is neither, or states no grid.
        """
        path = Path(path)
        try:
            values = read_json(path) if path.suffix == ".json" else read_toml(path)
        except DocumentError as error:
            raise ComparisonError(f"The grid {error}. Correct it; JSON files are named *.json.") from error
        try:
            grid = cls.from_dict(values)
        except CurriculumZooError as error:
            raise ComparisonError(f"{path}: {error}. Correct it there.") from None
        beside = path.parent / grid.recipe if isinstance(grid.recipe, str) else path
        return replace(grid, recipe=str(beside)) if beside != path and beside.is_file() else grid

    def save(self, path: str | Path) -> None:
        """Write the grid as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    def base(self) -> Recipe:
        """The recipe that all cells change.

        Raises:
            CurriculumZooError: there is none of that name, or its fields make no sense.
        """
        if isinstance(self.recipe, str):
            recipe = load_recipe(self.recipe)
        else:
            axes = {"model": self.models, "data": self.data}
            own = {field: values[0] for field, values in axes.items() if values and field not in self.recipe}
            recipe = Recipe.from_dict({**own, **self.recipe})
        return recipe.changed(flattened(self.settings, recipe))

    def resolved(self) -> Grid:
        """The same grid with every field of its recipe, whatever the recipe's name or file comes to hold later."""
        return replace(self, recipe=self.base().to_dict(), settings={})


def flattened(settings: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Settings by dotted field, those in nested tables too: ``{"optimizer": {"lr": 1}}`` changes that number alone."""

    def walk(values: Mapping[str, Any], fields: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            inner = getattr(fields, name, None)
            if isinstance(value, Mapping) and isinstance(inner, Configuration):
                yield from walk(value, inner, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(walk(settings, recipe, ""))


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds as written: ``0..4`` for a range with both ends, ``0,3,7`` for single ones, or both.

    Raises:
        ComparisonError: anything else, or more than `_MOST_SEEDS`.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:\.\.\s*(\d{1,18})\s*)?", part, re.ASCII)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ComparisonError(f"Seeds are written as 0..4 or 0,3,7, rising; got {text[:80]!r}.")
        more = range(int(match[1]), int(match[2] or match[1]) + 1)
        if len(seeds) + len(more) > _MOST_SEEDS:
            raise ComparisonError(f"Seeds {text[:80]!r} are more than {_MOST_SEEDS:,}. Name fewer.")
        seeds += more
    return tuple(seeds)


def read_arm(text: str) -> tuple[str | None, dict[str, Any]]:
    """``label: field=value; field=value`` as label and settings; without a label, settings for all arms.

    Raises:
        ComparisonError: a setting without an equals sign.
    """
    label, colon, rest = text.partition(":")
    labelled = bool(colon) and "=" not in label
    parts = [part for part in (rest if labelled else text).split(";") if part.strip()]
    if not labelled and not parts:
        raise ComparisonError(f"--set {text!r}: expected 'LABEL: FIELD=VALUE; …' or FIELD=VALUE.")
    try:
        return (label.strip() if labelled else None), dict(map(read_setting, parts))
    except CurriculumZooError:
        raise ComparisonError(
            f"--set {text!r}: expected 'LABEL: FIELD=VALUE; …', as in 'HRT: curriculum=hrt; epochs=12', or FIELD=VALUE."
        ) from None
