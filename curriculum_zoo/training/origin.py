"""Where a run's network comes from: its architecture, the weights it starts from, and the parts that start anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data import ImageSet, PhotoSet
from ..errors import RecipeError, UnknownNameError, WeightsError
from ..hub.download import HUB
from ..hub.folder import CONFIG, LOCAL, TIMM, WEIGHTS, StoredWeights, sha256_of
from ..hub.weights import open_weights
from ..models import create_model
from ..models.fitting import layers
from ..parts import no_such_part, parts_named
from ..registry import MODELS, Entry
from ..seeding import derive_seed
from .recipe import Recipe

__all__ = ["Origin", "make_network"]


@dataclass(frozen=True)
class Origin:
    """What a run's network is, and what it started from.

    Attributes:
        architecture: its registered name.
        distribution: who registers it.
        weights: what `create_model` takes to have the weights that it started from; None where it had none.
        sha256: of their file, where it is known.
        classes: the names of the classes that they know, where they tell.
    """

    architecture: str
    distribution: str
    weights: str | None = None
    sha256: str | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe) -> Origin:
        """The origin of the network that a recipe describes.

        Raises:
            CurriculumZooError: the names lead nowhere, or the weights are not those that the recipe wants.
        """
        architecture, distribution = _architecture(recipe.model)
        source = recipe.warm_start or (recipe.model if recipe.pretrained else None)
        if source is None:
            return cls(architecture, distribution)
        name, sha256, classes = _weights(source)
        if recipe.start_sha256 not in (None, sha256):
            raise WeightsError(
                f"'{source}' is not what the recipe starts from: its SHA-256 is {sha256 or 'not known'}, and "
                f"start_sha256 {recipe.start_sha256}. Give the weights that were meant, or leave start_sha256 out."
            )
        return cls(architecture, distribution, name, sha256, classes)

    @property
    def facts(self) -> dict[str, Any]:
        """What a config records of it, without places on this machine, which mean nothing elsewhere."""
        if self.weights is None:
            return {"distribution": self.distribution}
        here = self.weights.startswith(LOCAL) or Path(self.weights).is_file()
        started = {"weights": None if here else self.weights, "sha256": self.sha256}
        return {"distribution": self.distribution, "started_from": started}


def make_network(recipe: Recipe, image_set: ImageSet | PhotoSet) -> tuple[nn.Module, Origin]:
    """The network that a run starts with, parts anew that are to start anew, and where it comes from.

    Args:
        recipe: which network, and how it is seeded.
        image_set: what it is to classify.

    Raises:
        CurriculumZooError: it cannot be built, its weights do not fit, or a part to be reset is none of its.
    """
    network = _created(recipe, image_set, recipe.pretrained, recipe.warm_start)
    origin = Origin.of(recipe)
    anew = list(recipe.reset)
    if origin.classes and origin.classes != image_set.classes:
        # Weights for as many other classes would otherwise keep their classifier.
        anew += layers(network, "classifier")
    if anew and origin.weights is not None:
        _renew(network, _created(recipe, image_set, False, None), anew)
    return network, origin


def _created(recipe: Recipe, image_set: ImageSet | PhotoSet, pretrained: bool, warm_start: str | None) -> nn.Module:
    torch.manual_seed(derive_seed(recipe.seed))
    return create_model(
        recipe.model,
        pretrained=pretrained,
        num_classes=len(image_set.classes),
        in_chans=image_set.channels,
        image_size=image_set.image_size[0],
        warm_start=warm_start,
        **recipe.model_options,
    )


@torch.no_grad()
def _renew(network: nn.Module, fresh: nn.Module, patterns: Sequence[str]) -> None:
    """Copy parts of a fresh network of the same build, parameters and statistics, into a loaded one."""
    state, values = network.state_dict(), fresh.state_dict()
    names = list(state)
    for pattern in patterns:
        found = parts_named(pattern, names)
        if not found:
            raise RecipeError(f"recipe: reset: {no_such_part(pattern, names, type(network).__name__)}")
        for name in found:
            state[name].copy_(values[name])


def _architecture(name: str) -> tuple[str, str]:
    """The registered name, and the distribution, of the network that a name leads to."""
    if name.startswith(f"{TIMM}/"):
        return name.removeprefix(f"{TIMM}/").partition(".")[0], TIMM
    if name.startswith((HUB, LOCAL)):
        weights = open_weights(name)
        return weights.config["architecture"], weights.distribution
    entry = _entry(name)
    return entry.name, entry.distribution


def _entry(name: str) -> Entry:
    """Who brings a model, whose name may end in the tag of released weights."""
    try:
        return MODELS.entry(name)
    except UnknownNameError:
        path, slash, last = name.rpartition("/")
        return MODELS.entry(f"{path}{slash}{last.partition('.')[0]}")


def _weights(source: str) -> tuple[str, str | None, tuple[str, ...]]:
    """What is known of weights: their exact name, the SHA-256 of their file, their classes."""
    if source.startswith(f"{TIMM}/"):
        return source, None, ()
    folder = Path(source.removeprefix(LOCAL))
    if source.startswith(LOCAL) and not (folder / CONFIG).exists():
        return source, _sha256(folder / WEIGHTS), ()
    if source.startswith((HUB, LOCAL)):
        return _known(open_weights(source))
    if Path(source).is_file():
        return source, _sha256(Path(source)), ()
    # Released weights; a plugin's are its own to find, and a file that is not there is told of when it is read.
    try:
        return _known(open_weights(source))
    except UnknownNameError:
        return source, None, ()


def _known(weights: StoredWeights) -> tuple[str, str | None, tuple[str, ...]]:
    sha256 = weights.sha256 or weights.facts.get("sha256") or sha256_of(weights.locate(False))
    return weights.name, sha256, weights.classes


def _sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None
