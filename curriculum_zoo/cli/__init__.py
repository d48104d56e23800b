"""The command line, ``curriculum-zoo``: thin; every command is one call into the library.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..console import show_every_letter
from ..errors import CurriculumZooError
from ..version import __version__
from .compare import add_compare
from .demo import add_demo
from .evaluate import add_evaluate
from .explain import add_explain
from .glimpses import add_glimpses
from .list import add_list
from .plugins import add_check, add_new_plugin
from .predict import add_predict
from .publish import add_publish
from .report import add_report
from .score import add_score
from .serve import add_serve
from .show import add_show
from .train import add_train

__all__ = ["main", "make_parser"]

_COMMANDS = (
    add_demo,
    add_list,
    add_train,
    add_compare,
    add_evaluate,
    add_score,
    add_predict,
    add_glimpses,
    add_explain,
    add_show,
    add_report,
    add_serve,
    add_publish,
    add_check,
    add_new_plugin,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line; the process's own where None.

    Returns:
        Exit code: 0; 2 where the input is at fault, and the error is then on standard error; 130 after Ctrl-C, 143
        after a SIGTERM that ended a training.
    """
    show_every_letter()
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except CurriculumZooError as error:
        print(f"curriculum-zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"curriculum-zoo: {interruption or 'interrupted'}", file=sys.stderr)
        return 128 + getattr(interruption, "signal", signal.SIGINT)
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep Python from complaining when it flushes at exit.
        sys.stdout = None
    return 0


class _Parser(argparse.ArgumentParser):
    """Prints a wrong argument as one line, like every other error."""

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
    for add in _COMMANDS:
        add(commands)
    return parser
