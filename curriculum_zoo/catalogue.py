"""Lists models, curricula, data sets, recipes and weights by name, without importing any of them."""

from __future__ import annotations

import fnmatch

from .recipes.load import list_recipes
from .registry import CURRICULA, DATASETS, MODELS, REGISTRIES

__all__ = ["list_curricula", "list_datasets", "list_models", "list_plugins", "list_recipes"]


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Names of the models that `create_model` builds; timm's own are listed by ``timm.list_models``.

    Args:
        pattern: shell-style wildcard, as in ``"hiresnet*"``.
        pretrained: only those with released weights, one ``architecture.tag`` each.
    """
    if pretrained:
        from .weights.released import list_weights

        return [weights.name for weights in list_weights(pattern)]
    return MODELS.names(pattern)


def list_curricula(pattern: str = "*") -> list[str]:
    """Names of the curricula that `create_curriculum` builds.

    Args:
        pattern: shell-style wildcard.
    """
    return CURRICULA.names(pattern)


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the data sets that `open_dataset` opens.

    Args:
        pattern: shell-style wildcard.
    """
    return DATASETS.names(pattern)


def list_plugins(pattern: str = "*") -> list[tuple[str, str, str, str, str]]:
    """What other distributions bring: kind, name, distribution, version and target of each entry.

    Args:
        pattern: shell-style wildcard, matched against names and distributions.
    """
    return [
        (entry.kind, entry.name, entry.distribution, entry.version, entry.target)
        for registry in REGISTRIES.values()
        for entry in registry.entries()
        if not entry.built_in and any(fnmatch.fnmatchcase(text, pattern) for text in (entry.name, entry.distribution))
    ]
