"""Where a run's network comes from: its architecture, the weights it starts from, and the parts that are reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..data import DataSet
from ..errors import RecipeError, WeightsError
from ..models import create_model
from ..models.fitting import layers
from ..parameter_patterns import matching_names, no_match_message
from ..recipes import Recipe
from ..seeding import derive_seed
from ..weights.address import Address
from ..weights.stored import TIMM, StoredWeights

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
    def of(cls, recipe: Recipe, model: str | StoredWeights, start: str | StoredWeights | None) -> Origin:
        """Return the origin of the network that a recipe describes.

        Args:
            recipe: the recipe.
            model: what its `model` leads to: stored weights, or a name.
            start: the same of the weights that it starts from; None where those are random.

        Raises:
            CurriculumZooError: the names lead nowhere, or the weights are not those that the recipe wants.
        """
        architecture, distribution = _architecture(model)
        if start is None:
            return cls(architecture, distribution)
        stored = start if isinstance(start, StoredWeights) else None
        name, sha256 = (stored.name, stored.digest()) if stored else (str(start), None)
        if recipe.start_sha256 not in (None, sha256):
            source = recipe.warm_start or recipe.model
            raise WeightsError(
                f"'{source}' is not what the recipe starts from: its SHA-256 is {sha256 or 'not known'}, and "
                f"start_sha256 {recipe.start_sha256}. Give the weights that were meant, or leave start_sha256 out."
            )
        return cls(architecture, distribution, name, sha256, stored.classes if stored else ())

    @property
    def facts(self) -> dict[str, Any]:
        """What a config records of it, without places on this machine, which mean nothing elsewhere."""
        if self.weights is None:
            return {"distribution": self.distribution}
        local = Address.parse(self.weights).local
        started = {"weights": None if local else self.weights, "sha256": self.sha256}
        return {"distribution": self.distribution, "started_from": started}


def make_network(recipe: Recipe, image_set: DataSet) -> tuple[nn.Module, Origin]:
    """Return the network that a run starts with, some of its parts reset, and where it comes from.

    Args:
        recipe: which network, and how it is seeded.
        image_set: what it is to classify.

    Raises:
        CurriculumZooError: it cannot be built, its weights do not fit, or a part to be reset is none of its.
    """
    _check_options(recipe)
    address = Address.parse(recipe.model)
    # An architecture's name alone means its weights only where they are wanted.
    model = recipe.model if address.kind == "name" and not recipe.pretrained else _found(address)
    warm_start = _found(Address.parse(recipe.warm_start)) if recipe.warm_start else None
    network = _created(recipe, model, image_set, recipe.pretrained, warm_start)
    origin = Origin.of(recipe, model, warm_start or (model if recipe.pretrained else None))
    reset = list(recipe.reset)
    if origin.classes and origin.classes != image_set.classes:
        # Weights for as many other classes would otherwise keep their classifier.
        reset += layers(network, "classifier")
    if reset and origin.weights is not None:
        _renew(network, _created(recipe, model, image_set, False, None), reset)
    return network, origin


_SAID_ELSEWHERE = {
    "name": "model",
    "pretrained": "pretrained",
    "warm_start": "warm_start",
    "num_classes": "data, whose classes are counted",
    "in_chans": "data, whose channels are counted",
    "image_size": "image_size",
    "img_size": "image_size",
    "device": "the device that training is given",
    "dtype": "precision",
    "features_only": "nothing: a part of a network classifies no images",
    "out_indices": "nothing: a part of a network classifies no images",
    "feature_cls": "nothing: a part of a network classifies no images",
}
"""What a recipe's ``model_options`` must not say, and what says it."""


def _check_options(recipe: Recipe) -> None:
    """Refuse options of the network that a recipe says otherwise.

    Raises:
        RecipeError: there is one.
    """
    for option in recipe.model_options:
        if option in _SAID_ELSEWHERE:
            raise RecipeError(
                f"recipe: model_options has '{option}', which is said by {_SAID_ELSEWHERE[option]}. Leave it out there."
            )


def _found(address: Address) -> str | StoredWeights:
    """The weights there, found once for all that asks about them; the address itself where others find them."""
    return address.find() or str(address)


def _created(
    recipe: Recipe,
    model: str | StoredWeights,
    image_set: DataSet,
    pretrained: bool,
    warm_start: str | StoredWeights | None,
) -> nn.Module:
    torch.manual_seed(derive_seed(recipe.seed))
    return create_model(
        model,
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
        found = matching_names(pattern, names)
        if not found:
            raise RecipeError(f"recipe: reset: {no_match_message(pattern, names, type(network).__name__)}")
        for name in found:
            state[name].copy_(values[name])


def _architecture(model: str | StoredWeights) -> tuple[str, str]:
    """The registered name of a network, and the distribution that registers it."""
    if isinstance(model, StoredWeights):
        return model.architecture, model.distribution
    address = Address.parse(model)
    if address.kind == "timm":
        return address.place.partition(".")[0], TIMM
    entry, _ = address.entry()
    return entry.name, entry.distribution
