"""A folder of weights: ``model.safetensors`` beside a ``config.json`` in timm's format, written and read with checks.

Every folder of weights has this one layout: the best epoch of a run, a released weight in ``model_cards/``, a
repository on the Hub. Nothing in it is code: the config names a registered architecture, the tensors are safetensors.
This module knows files alone; networks are built by ``curriculum_zoo.models.create_model``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..registry import BUILT_IN, MODELS
from .config import CONFIG, class_names, read_config

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CONFIG",
    "LOCAL",
    "TIMM",
    "WEIGHTS",
    "StoredWeights",
    "model_config",
    "open_folder",
    "save_folder",
    "sha256_of",
]

LOCAL = "local-dir:"
TIMM = "timm"
WEIGHTS = "model.safetensors"

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredWeights:
    """A network's weights somewhere, and the config that tells what network that is.

    Attributes:
        name: what `create_model` takes to load exactly these: the Hub's name one commit.
        config: the content of ``config.json``, checked, in timm's present layout.
        locate: gives the path of the safetensors file, fetching it where it is not there yet; a fresh copy of it
            where asked for one and one can be had.
        sha256: what the file's SHA-256 must be, where that is known from elsewhere than the config.
    """

    name: str
    config: Mapping[str, Any]
    locate: Callable[[bool], Path] = field(repr=False)
    sha256: str | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the config says beyond timm's format: recipe, accuracy, cost, the architecture's distribution."""
        facts: Mapping[str, Any] = self.config.get("curriculum_zoo", {})
        return facts

    @property
    def distribution(self) -> str:
        """Who registers the architecture; timm's own format does not tell."""
        told = self.facts.get("distribution")
        return str(told) if told is not None else BUILT_IN if self.config["architecture"] in MODELS.names() else TIMM

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by index; empty where the config has none."""
        return class_names(self.config)

    def tensors(self) -> dict[str, Tensor]:
        """Read the tensors, after the file's SHA-256 has been checked where it is known.

        Raises:
            WeightsError: the file is missing, cannot be had, is another one than stated, or is damaged.
        """
        return self.reading()()

    def reading(self) -> Callable[[], dict[str, Tensor]]:
        """Get hold of the file, and begin to check its SHA-256 in the background; what comes back gives the tensors.

        Raises:
            WeightsError: the file is missing or cannot be had; what comes back raises the others that `tensors` does.
        """
        path = self.locate(False)
        stated = self._stated(path)
        digest = _in_background(sha256_of, path) if stated else None

        def tensors() -> dict[str, Tensor]:
            if digest is None or stated == {digest.result()}:
                return _read_tensors(path)
            fresh = self.locate(True)
            if self._stated(fresh) != {sha256_of(fresh)}:
                raise WeightsError(
                    f"{fresh} is not the file that {CONFIG} was written for: its SHA-256 differs. Get both again; "
                    "what is damaged in the Hub's cache may be deleted."
                )
            return _read_tensors(fresh)

        return tensors

    def _stated(self, path: Path) -> set[str]:
        """All SHA-256 that the file must have; usually one."""
        # The Hub's cache keeps a large file under its SHA-256 and links to it.
        kept_as = path.resolve().name
        stated = (self.sha256, self.facts.get("sha256"), kept_as if _SHA256.fullmatch(kept_as) else None)
        return {sha256 for sha256 in stated if sha256}


def open_folder(folder: str | Path) -> StoredWeights:
    """The weights that lie in a folder; the tensors are not read yet.

    Args:
        folder: one that holds ``config.json`` and ``model.safetensors``.

    Raises:
        WeightsError: its config is missing, or is none.
    """
    folder = Path(folder)

    def locate(_: bool) -> Path:
        path = folder / WEIGHTS
        if not path.is_file():
            raise WeightsError(f"{path} is missing. A folder of weights holds {WEIGHTS} beside {CONFIG}.")
        return path

    return StoredWeights(f"{LOCAL}{folder}", read_config(folder), locate)


def model_config(
    model: nn.Module,
    *,
    architecture: str,
    options: Mapping[str, Any],
    input_size: tuple[int, int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: tuple[str, ...],
    facts: Mapping[str, Any],
    interpolation: str = "bilinear",
    crop_pct: float = 1.0,
) -> dict[str, Any]:
    """The content of a ``config.json``: timm's format, with our own facts under ``curriculum_zoo``.

    Args:
        model: the network.
        architecture: its registered name.
        options: keywords that build it, beyond number of classes and channels.
        input_size: channels, height, width of its images.
        mean: what is subtracted from images in [0, 1], by channel.
        std: what they are then divided by, by channel.
        classes: class names, by index.
        facts: what training knows: recipe, accuracy, cost. The number of parameters is added.
        interpolation: how images are resized for evaluation.
        crop_pct: the part of their short side that is then cut out of the centre.
    """
    own: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    kept = ("pool_size", "first_conv", "classifier", "fixed_input_size")
    return {
        "architecture": architecture,
        "num_classes": len(classes),
        "num_features": getattr(model, "num_features", None),
        "model_args": dict(options),
        "pretrained_cfg": {
            **{key: own[key] for key in kept if key in own},
            "tag": None,
            "custom_load": False,
            "input_size": list(input_size),
            "num_classes": len(classes),
            "mean": list(mean),
            "std": list(std),
            "interpolation": interpolation,
            "crop_pct": crop_pct,
            "crop_mode": "center",
        },
        "label_names": list(classes),
        "curriculum_zoo": {**facts, "parameters": sum(parameter.numel() for parameter in model.parameters())},
    }


def save_folder(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and config into a folder, each file replaced whole; the config gets the weights' SHA-256 and size.

    Args:
        folder: made where it is missing.
        tensors: the network's state.
        config: see `model_config`.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    temporary = folder / f"{WEIGHTS}.tmp"
    save_file(plain, temporary, metadata={"format": "pt"})
    written = {"sha256": sha256_of(temporary), "size": temporary.stat().st_size}
    os.replace(temporary, folder / WEIGHTS)
    temporary = folder / f"{CONFIG}.tmp"
    content = {**config, "curriculum_zoo": {**config.get("curriculum_zoo", {}), **written}}
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / CONFIG)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}. Get it again.") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        WeightsError: it cannot be read.
    """
    digest = hashlib.sha256()
    # In large pieces: between two of them another thread may hold Python's lock for a while.
    piece = memoryview(bytearray(2**22))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(piece):
                digest.update(piece[:count])
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}. Check whether you may read it.") from error
    return digest.hexdigest()


def _in_background(function: Callable[[Path], str], path: Path) -> Future[str]:
    """Call a function in a thread that does not keep the process from ending."""
    future: Future[str] = Future()

    def work() -> None:
        try:
            future.set_result(function(path))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future
