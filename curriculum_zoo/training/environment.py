"""What a run records of where it happened: versions, machine, and what its data are, by which a resume knows them."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .run_parts import RunParts
from .samples import score_files

__all__ = ["changes", "environment", "unchanging"]

_PACKAGES = ("curriculum-zoo", "torch", "timm", "torchvision", "accelerate", "numpy", "safetensors", "huggingface_hub")

_UNCHANGING = {
    "fingerprint": "the images",
    "split": "which of them are held out",
    "in_memory": "whether they are kept in memory",
    "pipelines": "the files of photos.train_pipeline and photos.eval_pipeline",
    "scores": "the files of scores that images are chosen by",
    "processes": "the number of processes",
}


def environment(parts: RunParts) -> dict[str, Any]:
    """Return versions, machine, and fingerprints of the data, of its split and of pipelines from files, as JSON."""
    data_set, device = parts.data_set, parts.device
    split = hashlib.sha256(parts.train_indices.tobytes() + b"|" + parts.validation_indices.tobytes()).hexdigest()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "processes": parts.accelerator.num_processes,
        "packages": _versions((*_PACKAGES, *parts.loaders.factory.packages)),
        "command": sys.argv,
        "data": {
            "name": data_set.name,
            "fingerprint": data_set.fingerprint,
            "data_seed": parts.recipe.data_seed,
            "split": split,
            "in_memory": data_set.in_memory,
            "pipelines": parts.loaders.factory.pipelines,
            "scores": score_files(parts.curriculum.stages()),
            "train_images": len(data_set.train_labels),
            "validation_images": data_set.validation_images,
            "test_images": len(data_set.test_labels),
            "classes": list(data_set.classes),
            "layout": list(data_set.layout),
            "repeats": list(data_set.repeats),
        },
    }


def unchanging(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same when a run is resumed: its images, how they are split and read, its processes.

    Args:
        environment: what `environment` returned, also by way of a file; empty where nothing was recorded yet.
    """
    facts = {**environment, **environment.get("data", {})}
    return {name: facts[name] for name in _UNCHANGING if name in facts}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two times of a run, each with its value then and now.

    Args:
        before: what `unchanging` returned when the run started; what it lacks is not compared.
        now: the same of the present.
    """
    return [
        f"{words} ({_short(before[name])} there, {_short(now[name])} here)"
        for name, words in _UNCHANGING.items()
        if name in before and before[name] != now[name]
    ]


def _short(value: Any) -> str:
    """A value as an error tells it; of a digest its first digits."""
    return f"{value[:8]}…" if isinstance(value, str) and len(value) == 64 else str(value)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that are installed, keyed by name."""
    versions = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _processor() -> str:
    """The processor's name; `platform.processor` is empty or bare on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
