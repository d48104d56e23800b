"""``curriculum-zoo serve``: a trained network in a web page."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_seed, add_target, positive

__all__ = ["add_serve"]


def add_serve(commands: Any) -> None:
    """Add ``curriculum-zoo serve``."""
    # fmt: off
    command = commands.add_parser(
        "serve",
        help="serve a page where a network classifies images that are dropped on it",
        description="Serve a page on this machine: drop an image, and see its classes, what speaks for them in it, and "
        "the image as each stage of the network's curriculum shows it.",
    )
    add_target(command)
    command.add_argument(
        "--curriculum", metavar="CURRICULUM", help="whose stages to show; that of the network's training by default"
    )
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine alone)")
    command.add_argument("--port", type=positive, help="port to listen at; the first free one from 7860 on by default")
    command.add_argument("--top", type=positive, default=5, help="how many classes to tell (%(default)s)")
    add_seed(command)
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.set_defaults(run=_serve)
    # fmt: on


def _serve(options: argparse.Namespace) -> None:
    from ..serving import Showcase, serve
    from ..serving.page import import_gradio

    import_gradio()  # before weights are fetched
    showcase = Showcase.load(
        options.target,
        curriculum=options.curriculum,
        top=options.top,
        which=options.which,
        seed=options.seed,
        device=options.device,
    )
    serve(showcase, host=options.host, port=options.port)
