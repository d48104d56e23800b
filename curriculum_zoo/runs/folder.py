"""The folder of a run: what lies in it, and under which names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files import replace_file, to_json
from ..recipes import Recipe
from ..weights.address import Address
from .lock import held
from .record import CURVES, ENVIRONMENT, METRICS, RECIPE, RESULTS

__all__ = ["RunFolder", "may_be_moved"]

_LONGEST_NAME = 120
"""Bytes of a folder's name: file systems take 255, or as many for a whole path, with the run's files in it."""


@dataclass(frozen=True)
class RunFolder:
    """Names and plain readers and writers for the files of one run.

    ``recipe.json``, ``environment.json``, ``metrics.jsonl`` (a line an epoch), ``results.json`` (once finished),
    ``curves.png``, ``checkpoint.pt``, ``skipped_images.json`` (where images may be left out), ``last/`` and ``best/``
    with weights and config each.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, recipe: Recipe) -> RunFolder:
        """The folder of a run that was given none: ``runs/<model>-<data>-<curriculum>-<seed>``."""
        argument = Path(recipe.data.partition(":")[2])
        is_path = argument.suffix or len(argument.parts) > 1  # whose name alone tells enough
        data = argument.stem if is_path else recipe.data
        if argument.name in ("", os.pardir) and ":" in recipe.data:  # names no folder by itself
            data = argument.resolve().name
        parts = (_short(recipe.model), data, recipe.curriculum, str(recipe.seed))
        return cls(Path("runs") / _limited("-".join(re.sub(r"[^\w.]+", "_", part).strip("_") for part in parts)))

    @property
    def last(self) -> Path:
        """Weights after the last epoch."""
        return self.path / "last"

    @property
    def best(self) -> Path:
        """Weights of the best epoch on validation images."""
        return self.path / "best"

    @property
    def curves(self) -> Path:
        """The figure of the run's curves."""
        return self.path / CURVES

    def check(self, recipe: Recipe, *, resume: bool) -> None:
        """Check that a run may start in the folder, or go on.

        A run goes on with data of the same kind in another place: their fingerprint tells whether they are the same.

        Args:
            recipe: the run's.
            resume: whether it is to go on.

        Raises:
            CheckpointError: the folder holds a run already, or lies within the data, and `resume` is off; it holds
                none, or that of another recipe, and `resume` is on. Whether it may have another number of epochs is
                for the training to say.
        """
        if resume:
            differing = _differences(self.recipe().to_dict(), recipe.to_dict())
            if differing:
                raise CheckpointError(
                    f"{self.path} holds the run of another recipe; it differs in {', '.join(differing)}. Leave those "
                    "as they were, or choose another --output."
                )
        elif (self.path / RECIPE).exists():
            raise CheckpointError(
                f"{self.path} holds a run already. Go on with it by --resume, or choose another --output."
            )
        else:
            self._check_apart(recipe)

    def _check_apart(self, recipe: Recipe) -> None:
        """Insist on a place outside of the folder that the data lie in, of which the run would become a part."""
        argument = recipe.data.partition(":")[2]
        place = Path(argument).expanduser()
        if argument and place.is_dir() and self.path.resolve().is_relative_to(place.resolve()):
            raise CheckpointError(
                f"{self.path} lies within the data, {place.resolve()}, and the run's pictures would become images of "
                "it. Choose an --output elsewhere."
            )

    @contextlib.contextmanager
    def claimed(self, recipe: Recipe, *, resume: bool) -> Iterator[None]:
        """Hold the folder for a run; no other process can while the context lasts. A new run's recipe is written.

        Args:
            recipe: the run's.
            resume: whether it goes on.

        Raises:
            CheckpointError: as for `check`; another process holds the folder; or it cannot be written to.
        """
        self.check(recipe, resume=resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error
        with held(self.path):
            self.check(recipe, resume=resume)  # another process may have claimed it in between
            if not resume:
                try:
                    replace_file(self.path / RECIPE, to_json(recipe.to_dict(), indent=2))
                except OSError as error:
                    raise self._not_writable(error) from error
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Explain errors of the system inside a ``with`` block that writes the run's files.

        Raises:
            CheckpointError: a file could not be written: the disk is full, or the folder may no more be written to.
        """
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be written to: {error.strerror or error}. What was written before is whole: make "
                "room, or mend what is wrong, and go on by --resume."
            ) from error

    def _replace(self, name: str, text: str) -> None:
        with self.writing():
            replace_file(self.path / name, text)

    def _not_writable(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self.path} cannot be made a run's folder: {error.strerror}. Choose another --output.")

    def recipe(self) -> Recipe:
        """The run's recipe.

        Raises:
            CheckpointError: the folder holds no run.
        """
        path = self.path / RECIPE
        if not path.is_file():
            raise CheckpointError(
                f"{self.path} holds no run: there is no {RECIPE} in it. Correct the folder's name, or start a run "
                "without --resume."
            )
        return Recipe.load(path)

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe of a run that goes on: its notes, its number of epochs or the place of its data may differ.

        Results of another number of epochs are removed.

        Args:
            recipe: the run's.
        """
        if recipe.epochs != self.recipe().epochs:
            (self.path / RESULTS).unlink(missing_ok=True)
        self._replace(RECIPE, to_json(recipe.to_dict(), indent=2))

    def environment(self) -> dict[str, Any]:
        """Return what `write_environment` recorded; nothing where that was not done yet.

        Raises:
            CheckpointError: the record is damaged.
        """
        path = self.path / ENVIRONMENT
        try:
            recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is damaged: {error}. Without it nobody knows what the run was trained on: start again in "
                "another folder."
            ) from error
        return recorded

    def write_environment(self, facts: dict[str, Any]) -> None:
        """Record versions, machine and data, as `curriculum_zoo.training.environment` finds them."""
        self._replace(ENVIRONMENT, to_json(facts, indent=2))

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Write all epochs' lines, so that a resumed run leaves no line twice."""
        self._replace(METRICS, "".join(map(to_json, lines)))

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the epochs done so far."""
        path = self.path / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def write_skipped(self, skipped: dict[str, str]) -> None:
        """List images that were left out because they cannot be read, those of an interrupted part of the run too."""
        path = self.path / "skipped_images.json"
        before = json.loads(path.read_text(encoding="utf-8"))["images"] if path.exists() else {}
        images = dict(sorted({**before, **skipped}.items()))
        self._replace(path.name, to_json({"count": len(images), "images": images}, indent=2))

    def write_results(self, results: dict[str, Any]) -> None:
        """Write what the finished run came to."""
        self._replace(RESULTS, to_json(results, indent=2))


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{key} ({before.get(key)!r} there, {now[key]!r} here)"
        for key in now
        if key not in ("notes", "epochs")
        and before.get(key) != now[key]
        and not (key == "data" and may_be_moved(str(before.get(key)), now[key]))
    ]


def may_be_moved(before: str, now: str) -> bool:
    """Return whether two data sets may be the same files in two places: ``npz:a.npz`` and ``npz:b/a.npz``."""
    (first, _, place), (second, _, other) = before.partition(":"), now.partition(":")
    return first == second and bool(place) and bool(other)


def _limited(name: str) -> str:
    """A folder's name that every file system takes: what is too long ends in a digest in place of its middle."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    end = name.rpartition("-")[2]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name.encode()[: _LONGEST_NAME - len(end) - len(digest) - 2].decode(errors="ignore")
    return f"{kept}-{digest}-{end}"


def _short(model: str) -> str:
    """A model's name; of weights in a folder, the folder's, or that of the run whose best or last ones they are."""
    address = Address.parse(model)
    if not address.local:
        return model
    path = Path(address.place)
    return path.parent.name if path.name in ("best", "last") and path.parent.name else path.name
