"""Released weights: which there are, what is known of them, and where their files are found.

Each is a folder ``<architecture>.<tag>`` of ``model_cards/``, laid out as its repository on the Hub. Beside those
folders lies ``index.json``, with what none of them can say of itself: an architecture's default tag, and where on the
Hub the weights are, from their publication on. Nothing here loads torch.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .config import CONFIG
from .folder import open_folder
from .stored import WEIGHTS, StoredWeights

__all__ = ["INDEX", "ReleasedWeights", "cards_folder", "find_weights", "list_weights"]

INDEX = "index.json"


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights that come with the package, or that it knows a place on the Hub for.

    Attributes:
        architecture: the model that they fit.
        tag: their name among the weights of that architecture.
        data: name of the data set that they were trained on.
        curriculum: how they were trained.
        accuracy: share of test images that they classify right; None where it was not measured.
        flops: FLOPs of one image's forward pass, at the size that they were trained at.
        parameters: how many numbers the network learnt.
        size: of the file, in bytes.
        license: what they may be used for, as the Hub abbreviates it.
        sha256: of the file.
        hub_id: ``owner/name`` of their repository on the Hub; None before their publication.
        revision: the commit there.
        default: whether the architecture's name alone means them.
        folder: their card, config and, unless they are left to be downloaded, tensors.
        facts: all that training recorded of them.
    """

    architecture: str
    tag: str
    data: str | None
    curriculum: str | None
    accuracy: float | None
    flops: int | None
    parameters: int | None
    size: int | None
    license: str | None
    sha256: str | None
    hub_id: str | None
    revision: str | None
    default: bool
    folder: Path
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """``architecture.tag``, as `create_model` takes it."""
        return f"{self.architecture}.{self.tag}"

    def open(self) -> StoredWeights:
        """Return the weights: those in the folder, else those on the Hub at the pinned revision.

        Raises:
            WeightsError: the config cannot be read.
        """
        stored = open_folder(self.folder)
        return StoredWeights(self.name, stored.config, self._locate, self.sha256)

    def _locate(self, fresh: bool) -> Path:
        inside = self.folder / WEIGHTS
        if inside.is_file():
            return inside
        if self.hub_id is None:
            raise WeightsError(f"{inside} is missing, and {self.name} is not on the Hub. Reinstall curriculum-zoo.")
        from .download import Repository

        return Repository(self.hub_id, self.revision).weights(fresh)


def cards_folder() -> Path | None:
    """Return the folder ``model_cards``, inside an installed package or beside it in a checkout; None without one."""
    package = Path(__file__).parents[1]
    roots = (package / "model_cards", package.parent / "model_cards")
    return next((folder for folder in roots if folder.is_dir()), None)


def list_weights(pattern: str = "*") -> list[ReleasedWeights]:
    """Return the released weights whose ``architecture.tag`` matches a shell pattern, sorted by it.

    Args:
        pattern: shell-style wildcard.

    Raises:
        WeightsError: the index or a config is damaged.
    """
    root = cards_folder()
    if root is None:
        return []
    index = _index(root)
    folders = [folder for folder in sorted(root.iterdir()) if (folder / CONFIG).is_file() and "." in folder.name]
    return [_record(folder, index) for folder in folders if fnmatch.fnmatchcase(folder.name, pattern)]


def find_weights(architecture: str, tag: str = "") -> ReleasedWeights | None:
    """Return the released weights of an architecture; None where it has none at all.

    Args:
        architecture: its registered name.
        tag: which of its weights; those declared its default where empty.

    Raises:
        WeightsError: it has weights, but none of that tag, or no default among them; the text names those it has.
    """
    there_are = list_weights(f"{architecture}.*")
    wanted = [weights for weights in there_are if (weights.tag == tag if tag else weights.default)]
    if wanted or not there_are:
        return wanted[0] if wanted else None
    problem = f"No released weights for '{architecture}.{tag}'" if tag else f"None of {architecture}'s is its default"
    names = ", ".join(f"'{weights.name}'" for weights in there_are)
    raise WeightsError(f"{problem}. Of {architecture} there are: {names}. Name one of them.")


def _index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {"defaults": dict(index.get("defaults", {})), "published": dict(index.get("published", {}))}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Reinstall curriculum-zoo.") from error


def _record(folder: Path, index: Mapping[str, Any]) -> ReleasedWeights:
    architecture, _, tag = folder.name.partition(".")
    config = open_folder(folder).config
    facts = config.get("curriculum_zoo", {})
    recipe, published = facts.get("recipe", {}), index["published"].get(folder.name, {})
    tensors = folder / WEIGHTS
    return ReleasedWeights(
        architecture=architecture,
        tag=tag,
        data=recipe.get("data"),
        curriculum=recipe.get("curriculum"),
        accuracy=facts.get("test", {}).get("top1"),
        flops=facts.get("forward_flops"),
        parameters=facts.get("parameters"),
        size=tensors.stat().st_size if tensors.is_file() else facts.get("size"),
        license=config.get("pretrained_cfg", {}).get("license"),
        sha256=facts.get("sha256"),
        hub_id=published.get("hub_id"),
        revision=published.get("revision"),
        default=index["defaults"].get(architecture) == tag,
        folder=folder,
        facts=facts,
    )
