"""``curriculum-zoo check`` and ``curriculum-zoo new-plugin``: for those who write plugins."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import positive

__all__ = ["add_check", "add_new_plugin"]


def add_check(commands: Any) -> None:
    """Add ``curriculum-zoo check``."""
    command = commands.add_parser(
        "check",
        help="check that a curriculum, model or data set keeps its promises",
        description="Run the checks of curriculum_zoo.testing on everything that is registered under a name.",
    )
    command.add_argument("name", help="a registered name, or an expression of curricula: 'trd+progressive_sharpening'")
    command.add_argument("--epochs", type=positive, default=20, help="length of a curriculum's plan (%(default)s)")
    command.add_argument("--image-size", type=positive, metavar="PX", help="side of the images to try")
    command.set_defaults(run=_check)


def add_new_plugin(commands: Any) -> None:
    """Add ``curriculum-zoo new-plugin``."""
    command = commands.add_parser("new-plugin", help="write a small complete plugin package to start from")
    command.add_argument("name", help="name of the package, as my-curriculum")
    command.add_argument("--folder", default=".", metavar="DIR", help="where its folder goes (%(default)s)")
    command.set_defaults(run=_new_plugin)


def _check(options: argparse.Namespace) -> None:
    from ..curricula import create_curriculum
    from ..errors import UnknownNameError
    from ..registry import CURRICULA, DATASETS, MODELS, closest
    from ..testing import check_curriculum, check_dataset, check_in_new_process, check_model

    sizes = {} if options.image_size is None else {"image_size": options.image_size}
    name, colon, argument = options.name.partition(":")
    checked = []
    if options.name in MODELS.names():
        check_model(MODELS.load(options.name), **sizes)
        checked.append("model")
    if name in DATASETS.names():
        check_dataset(DATASETS.load(name), argument if colon else None, **sizes)
        checked.append("data set")
    try:
        curriculum = create_curriculum(options.name, epochs=options.epochs)
        check_curriculum(curriculum, **sizes)
        check_in_new_process(curriculum)
        checked.append("curriculum")
    except UnknownNameError as error:
        if not checked:
            names = {*MODELS.names(), *CURRICULA.names(), *DATASETS.names()}
            raise UnknownNameError(
                f"Nothing is registered as '{options.name}'. {closest(options.name, names)}"
            ) from error
    print(f"{options.name}: the {' and the '.join(checked)} keeps its promises.")


def _new_plugin(options: argparse.Namespace) -> None:
    from ..new_plugin import new_plugin

    written = new_plugin(options.name, options.folder)
    print("\n".join(map(str, written)))
    print(f"\nNext: pip install -e '{written[0].parent}[test]' && pytest {written[0].parent}")
