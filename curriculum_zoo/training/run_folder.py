"""The folder of a run: what lies in it, and under which names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..data import ImageSet
from ..errors import CheckpointError
from ..hub.folder import LOCAL
from .checkpoint import replace_file
from .recipe import Recipe

if TYPE_CHECKING:
    from .setup import Setup

__all__ = ["RunFolder"]

_PACKAGES = ("curriculum-zoo", "torch", "timm", "torchvision", "accelerate", "numpy", "safetensors", "huggingface_hub")


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
        parts = (_short(recipe.model), data, recipe.curriculum, str(recipe.seed))
        return cls(Path("runs") / "-".join(re.sub(r"[^\w.]+", "_", part).strip("_") for part in parts))

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
        return self.path / "curves.png"

    def claim(self, recipe: Recipe, *, resume: bool) -> None:
        """Make the folder this run's.

        Raises:
            CheckpointError: it holds a run already and `resume` is off, holds none or the run of another recipe and
                `resume` is on, or cannot be written to.
        """
        written = self.path / "recipe.json"
        if resume:
            differing = _differences(self.recipe().to_dict(), recipe.to_dict())
            if differing:
                raise CheckpointError(
                    f"{self.path} holds the run of another recipe; it differs in {', '.join(differing)}. Leave those "
                    "as they were, or choose another --output."
                )
        elif written.exists():
            raise CheckpointError(
                f"{self.path} holds a run already. Go on with it by --resume, or choose another --output."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(written, json.dumps(recipe.to_dict(), indent=2) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be made a run's folder: {error.strerror}. Choose another --output."
            ) from error

    def recipe(self) -> Recipe:
        """The run's recipe.

        Raises:
            CheckpointError: the folder holds no run.
        """
        path = self.path / "recipe.json"
        if not path.is_file():
            raise CheckpointError(
                f"{self.path} holds no run: there is no recipe.json in it. Correct the folder's name, or start a run "
                "without --resume."
            )
        return Recipe.load(path)

    def write_environment(self, setup: Setup) -> None:
        """Record versions, machine, and fingerprints of the data, of its split and of pipelines from files."""
        image_set, device = setup.image_set, setup.device
        split = hashlib.sha256(setup.train_indices.tobytes() + b"|" + setup.validation_indices.tobytes()).hexdigest()
        facts = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": _processor(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "threads": torch.get_num_threads(),
            "processes": setup.accelerator.num_processes,
            "packages": _versions((*_PACKAGES, *setup.supply.packages)),
            "command": sys.argv,
            "data": {
                "name": image_set.name,
                "fingerprint": image_set.fingerprint,
                "split": split,
                "in_memory": isinstance(image_set, ImageSet),
                "pipelines": setup.supply.pipelines,
                "train_images": len(image_set.train_labels),
                "test_images": len(image_set.test_labels),
                "classes": list(image_set.classes),
            },
        }
        replace_file(self.path / "environment.json", json.dumps(facts, indent=2) + "\n")

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Write all epochs' lines, so that a resumed run leaves no line twice."""
        replace_file(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the epochs done so far."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def write_skipped(self, skipped: dict[str, str]) -> None:
        """List images that were left out because they cannot be read, those of an interrupted part of the run too."""
        path = self.path / "skipped_images.json"
        before = json.loads(path.read_text(encoding="utf-8"))["images"] if path.exists() else {}
        images = dict(sorted({**before, **skipped}.items()))
        replace_file(path, json.dumps({"count": len(images), "images": images}, indent=2) + "\n")

    def write_results(self, results: dict[str, Any]) -> None:
        """Write what the finished run came to."""
        replace_file(self.path / "results.json", json.dumps(results, indent=2) + "\n")


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{key} ({before.get(key)!r} there, {now[key]!r} here)"
        for key in now
        if key != "notes" and before.get(key) != now[key]
    ]


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are installed."""
    versions = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _short(model: str) -> str:
    """A model's name; of weights in a folder, the folder's, or that of the run whose best or last ones they are."""
    if not model.startswith(LOCAL):
        return model
    path = Path(model.removeprefix(LOCAL))
    return path.parent.name if path.name in ("best", "last") and path.parent.name else path.name


def _processor() -> str:
    """The processor's name; `platform.processor` is empty or bare on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
