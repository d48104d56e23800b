"""``curriculum-zoo predict``: classes of image files."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .arguments import add_seed, add_target, positive

__all__ = ["add_predict"]


def add_predict(commands: Any) -> None:
    """Add ``curriculum-zoo predict``."""
    command = commands.add_parser("predict", help="classify image files")
    add_target(command)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--top", type=positive, default=5, help="how many classes to tell (%(default)s)")
    add_seed(command)
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from ..evaluation import predict

    predictions = predict(
        options.target, options.images, top=options.top, which=options.which, seed=options.seed, device=options.device
    )
    if options.json:
        print(json.dumps([{"path": str(p.path), "classes": dict(p.classes)} for p in predictions], indent=2))
        return
    for prediction in predictions:
        classes = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction.classes)
        print(f"{prediction.path}: {classes}")
