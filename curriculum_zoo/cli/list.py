"""``curriculum-zoo list``: what there is to choose from."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import print_table

__all__ = ["add_list"]


def add_list(commands: Any) -> None:
    """Add ``curriculum-zoo list``."""
    command = commands.add_parser("list", help="what there is to choose from")
    kinds = ("models", "curricula", "datasets", "recipes", "weights", "plugins")
    command.add_argument("kind", choices=kinds)
    command.add_argument("pattern", nargs="?", default="*", help="shell-style wildcard, such as 'hiresnet*'")
    command.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> None:
    from .. import catalogue

    if options.kind == "plugins":
        print_table(("kind", "name", "distribution", "version", "target"), catalogue.list_plugins(options.pattern))
    elif options.kind == "weights":
        print_table(
            ("name", "data", "curriculum", "accuracy", "MFLOPs", "parameters", "size", "licence", "Hub"),
            _weights(options),
        )
    else:
        lister = getattr(catalogue, f"list_{options.kind}")
        for name in lister(options.pattern):
            print(name)


def _weights(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row for each released weight; a star follows the one that its architecture's name alone means."""
    from ..weights.released import list_weights

    return [
        (
            weights.name + ("*" if weights.default else ""),
            weights.data or "-",
            weights.curriculum or "-",
            "-" if weights.accuracy is None else f"{weights.accuracy:.2%}",
            "-" if weights.flops is None else f"{weights.flops / 1e6:,.1f}",
            "-" if weights.parameters is None else f"{weights.parameters:,}",
            "-" if weights.size is None else f"{weights.size / 1e6:,.1f} MB",
            weights.license or "-",
            weights.hub_id or "-",
        )
        for weights in list_weights(options.pattern)
    ]
