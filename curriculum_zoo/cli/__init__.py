"""The command line, ``curriculum-zoo``: thin; every command is one call into the library.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import CurriculumZooError
from .demo import add_demo
from .evaluate import add_evaluate
from .glimpses import add_glimpses
from .list import add_list
from .predict import add_predict
from .publish import add_publish
from .train import add_train

__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line; the process's own where None.

    Returns:
        Exit code: 0, or 2 where the input is at fault, which is then told on standard error.
    """
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except CurriculumZooError as error:
        print(f"curriculum-zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("curriculum-zoo: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep Python from complaining when it flushes at exit.
        sys.stdout = None
    return 0


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other error is told."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"curriculum-zoo: {message}. See {self.prog} --help.\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the command to run as ``run``."""
    parser = _Parser(
        prog="curriculum-zoo",
        description="Train, evaluate and compare vision models that learn coarse to fine.",
    )
    parser.add_argument("--version", action="version", version=f"curriculum-zoo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_demo, add_list, add_train, add_evaluate, add_predict, add_glimpses, add_publish):
        add(commands)
    return parser
