"""Weights that are stored somewhere: a file of tensors, and the config beside it that says what network they are of.

Nothing of it is code: the config names a registered architecture, the tensors are safetensors or a state dict that is
read without running any. Networks are built by ``curriculum_zoo.models.create_model``; nothing here loads torch before
tensors are read, or a file of ``torch.save`` is asked for what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..compat import sha256_in_hub_cache
from ..errors import WeightsError
from ..registry import BUILT_IN, MODELS
from .config import CONFIG, class_names
from .tensors import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TIMM", "WEIGHTS", "Reading", "StoredWeights", "sha256_of"]

TIMM = "timm"
"""The distribution whose architectures need no entry in our registry."""

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Reading:
    """A file of tensors that is at hand.

    Attributes:
        size: of the file, in bytes.
        tensors: reads them, keyed by name, once its SHA-256 is checked.
    """

    size: int
    tensors: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class StoredWeights:
    """Trained weights, and the config that says what network they are of.

    Attributes:
        name: the text of the address under which exactly these are found again: of a Hub repository, at one commit.
        config: the content of ``config.json``, checked, in timm's present layout; empty for a file of tensors alone.
        locate: returns the path of the file of tensors, downloaded where it is not there yet; called with True, a
            fresh copy of it where one can be had.
        sha256: what the file's SHA-256 must be, where that is known from elsewhere than the config.
    """

    name: str
    config: Mapping[str, Any]
    locate: Callable[[bool], Path] = field(repr=False)
    sha256: str | None = None

    @property
    def architecture(self) -> str:
        """The registered name of the network.

        Raises:
            WeightsError: there is no config that names one.
        """
        if not self.config:
            raise WeightsError(
                f"{self.name} holds tensors and no {CONFIG}, so it does not say what network they are of. Name the "
                "network, and these as its warm_start."
            )
        return str(self.config["architecture"])

    @property
    def cfg(self) -> Mapping[str, Any]:
        """The ``pretrained_cfg`` of the config: how images are prepared, layers by role, licence."""
        cfg: Mapping[str, Any] = self.config.get("pretrained_cfg", {})
        return cfg

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the config says beyond timm's format: recipe, accuracy, cost, the architecture's distribution."""
        facts: Mapping[str, Any] = self.config.get("curriculum_zoo", {})
        return facts

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe of the training, as JSON has it; empty where it is not known.

        Raises:
            WeightsError: what stands in its place is no recipe.
        """
        recipe = self.facts.get("recipe") or {}
        numbers = ("seed", "data_seed", "validation")
        if not isinstance(recipe, dict) or not all(type(recipe.get(key, 0)) in (int, float) for key in numbers):
            raise WeightsError(f"{self.name}: its recipe makes no sense. Get it again from where it came from.")
        return recipe

    @property
    def distribution(self) -> str:
        """The distribution that registers the architecture; timm's own format does not name it."""
        stated = self.facts.get("distribution")
        return str(stated) if stated is not None else BUILT_IN if self.architecture in MODELS.names() else TIMM

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by index; empty where the config has none."""
        return class_names(self.config)

    @property
    def stated_sha256(self) -> str | None:
        """The SHA-256 that the file of tensors must have, where it is known without reading the file."""
        stated: str | None = self.sha256 or self.facts.get("sha256")
        return stated

    def digest(self) -> str:
        """Return the SHA-256 of the file of tensors: the stated one, or else that of the file as it lies there.

        Raises:
            WeightsError: it is not stated, and the file cannot be had or read.
        """
        return self.stated_sha256 or sha256_of(self.locate(False))

    def tensors(self) -> dict[str, Tensor]:
        """Read the tensors, keyed by name, after the file's SHA-256 has been checked where it is known.

        Raises:
            WeightsError: the file is missing, cannot be had, is another one than stated, or is damaged.
        """
        return self.reading().tensors()

    def reading(self) -> Reading:
        """Get hold of the file, and start to check its SHA-256 in the background.

        Raises:
            WeightsError: the file is missing or cannot be had; reading its tensors raises the others of `tensors`.
        """
        path = self.locate(False)
        stated = self._all_stated(path)
        digest = _in_background(sha256_of, path) if stated else None

        def tensors() -> dict[str, Tensor]:
            if digest is None or stated == {digest.result()}:
                return read_tensors(path)
            fresh = self.locate(True)
            if self._all_stated(fresh) != {sha256_of(fresh)}:
                raise WeightsError(
                    f"{fresh} is not the file that {CONFIG} was written for: its SHA-256 differs. Get both again; "
                    "what is damaged in the Hub's cache may be deleted."
                )
            return read_tensors(fresh)

        return Reading(path.stat().st_size, tensors)

    def _all_stated(self, path: Path) -> set[str]:
        """Every SHA-256 that the file must have; usually one."""
        stated = (self.sha256, self.facts.get("sha256"), sha256_in_hub_cache(path))
        return {sha256 for sha256 in stated if sha256}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

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
