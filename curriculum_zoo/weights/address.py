"""Where trained weights are: `Address`, a value that is parsed once from text and resolved once to files.

    hiresnet18.tiny_imagenet      weights of a registered architecture; its default ones without a tag
    timm/resnet18.a1_in1k         timm's
    hf-hub:owner/repo@v1          a repository on the Hugging Face Hub, at a branch, tag or commit
    local-dir:runs/first/best     a folder of weights, or a run's folder
    runs/first                    the same, where there is such a folder and no model of that name
    plain.safetensors             a file of tensors, which says nothing of their network

A registered name means the same whatever lies in the working directory; ``./hiresnet18`` is the folder of that name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UnknownNameError, WeightsError
from ..registry import BUILT_IN, MODELS, Entry, closest
from .download import HUB, open_repository
from .folder import LOCAL, Which, open_file, open_place
from .released import find_weights, list_weights
from .stored import TIMM, StoredWeights
from .tensors import SUFFIXES

__all__ = ["Address", "Kind"]

Kind = Literal["name", "timm", "hub", "folder", "file"]

_TIMM = f"{TIMM}/"
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_PATH = re.compile(r"(\.{1,2}|~\w*)?[/\\]|[A-Za-z]:[/\\]|\.{1,2}$")
"""How a text begins that can be nothing but a path."""


@dataclass(frozen=True)
class Address:
    """Where trained weights are.

    Attributes:
        kind: ``name`` of a registered architecture, ``timm``, ``hub``, ``folder`` or ``file``.
        place: the name, without ``timm/``; the repository's ``owner/name``; or the path.
        revision: of a repository: a branch, a tag or a commit; the main branch where None.
    """

    kind: Kind
    place: str
    revision: str | None = None

    def __str__(self) -> str:
        scheme = {"timm": _TIMM, "hub": HUB, "folder": LOCAL}.get(self.kind, "")
        return f"{scheme}{self.place}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Address:
        """Read an address.

        Args:
            text: see this module's examples. A path object is a folder or a file, whatever its name.

        Raises:
            WeightsError: it says ``hf-hub:`` and names no repository.
        """
        if isinstance(text, os.PathLike):
            path = os.fspath(text)
            text = path if _PATH.match(path) else os.path.join(".", path)
        if text.startswith(HUB):
            return cls._on_the_hub(text.removeprefix(HUB))
        if text.startswith(LOCAL):
            return cls("folder", text.removeprefix(LOCAL))
        if text.startswith(_TIMM):
            return cls("timm", text.removeprefix(_TIMM))
        # os.path answers for any text; pathlib raises for names that no file system takes.
        if text.endswith(SUFFIXES) or _PATH.match(text):
            return cls("folder" if os.path.isdir(text) else "file", text)
        if not _registered(text):
            if os.path.isdir(text):
                return cls("folder", text)
            if os.path.isfile(text):
                return cls("file", text)
        return cls("name", text)

    @classmethod
    def _on_the_hub(cls, text: str) -> Address:
        name, at, revision = text.partition("@")
        # No branch or tag has two dots in its name (git check-ref-format); in the cache they would be a path.
        if not _REPOSITORY.fullmatch(name) or ".." in text or "@" in revision or (at and not revision):
            raise WeightsError(f"'{HUB}{text}' is no repository of the Hub's. Say {HUB}owner/name[@revision].")
        return cls("hub", name, revision or None)

    @property
    def local(self) -> bool:
        """Whether it names a place on this machine, which means nothing elsewhere."""
        return self.kind in ("folder", "file")

    def entry(self) -> tuple[Entry, str]:
        """Return the registered model that a name leads to, and the tag of its weights, empty where it has none.

        Raises:
            UnknownNameError: nothing is registered under the name.
            NameClashError: several distributions claim it.
        """
        try:
            return MODELS.entry(self.place), ""
        except UnknownNameError:
            architecture, tag = _untagged(self.place)
            if not tag:
                raise
            return MODELS.entry(architecture), tag

    def resolve(self, *, which: Which = "best", cache: str | Path | None = None) -> StoredWeights:
        """Return the weights there: their config, read and checked, and how to get at their tensors.

        A repository on the Hub is asked for its config once; the tensors come from that same commit.

        Args:
            which: of a run's weights.
            cache: folder of the Hub's cache; huggingface_hub's own where None.

        Raises:
            WeightsError: there are no such weights, or they cannot be had.
            UnknownNameError: nothing was released under that name; so for timm's and a plugin's, which know
                themselves where their weights are.
        """
        if self.kind == "hub":
            return open_repository(self.place, self.revision, cache=cache)
        if self.kind == "folder":
            return open_place(self.place, which)
        if self.kind == "file":
            return open_file(self.place)
        architecture, tag = _untagged(self.place.removeprefix(f"{BUILT_IN}/"))
        found = find_weights(architecture, tag) if self.kind == "name" else None
        if found is None:
            names = [weights.name for weights in list_weights()]
            raise UnknownNameError(f"No released weights '{self}'. {closest(self.place, names)}")
        return found.open()

    def find(self, *, which: Which = "best", cache: str | Path | None = None) -> StoredWeights | None:
        """Return the weights as `resolve` does; None where they are for timm or a plugin to find, or there are none.

        Raises:
            WeightsError: as `resolve`.
        """
        try:
            return self.resolve(which=which, cache=cache)
        except UnknownNameError:
            return None


def _registered(name: str) -> bool:
    return any(known in (entry.name, entry.qualified_name) for entry in MODELS.entries() for known in _readings(name))


def _readings(name: str) -> tuple[str, str]:
    """A name as it stands, and without the tag that it may have."""
    return name, _untagged(name)[0]


def _untagged(name: str) -> tuple[str, str]:
    """``[distribution/]architecture[.tag]`` without its tag, and the tag; a distribution's name may have dots too."""
    path, slash, last = name.rpartition("/")
    architecture, _, tag = last.partition(".")
    return f"{path}{slash}{architecture}", tag
