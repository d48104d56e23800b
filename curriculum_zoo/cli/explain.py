"""``curriculum-zoo explain``: what networks look at."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .arguments import add_target, integers

if TYPE_CHECKING:
    from ..evaluation.explanations import ActivationMap, Explanation

__all__ = ["add_explain"]


def add_explain(commands: Any) -> None:
    """Add ``curriculum-zoo explain``."""
    # fmt: off
    command = commands.add_parser(
        "explain",
        help="draw what in images speaks for a class, as a network sees it",
        description="Draw class activation maps (Grad-CAM, by captum) of images: for one class, at several "
        "resolutions, of one network or two. Of a glimpse pyramid, draw what it attended.",
    )
    add_target(command)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--against", metavar="RUN|MODEL", help="a second network to put beside it")
    command.add_argument(
        "--resolutions", type=integers, default=(), metavar="32,24,16",
        help="sides in pixels; the network's own and half of it by default",
    )
    command.add_argument("--class", dest="class_name", metavar="NAME", help="the class; the most probable by default")
    command.add_argument("--layer", metavar="NAME", help="the layer to look at; the last before the head by default")
    command.add_argument("--filters", action="store_true", help="draw the filters of the first convolution too")
    command.add_argument("--format", default="png", choices=("png", "svg"), help="of the figures (%(default)s)")
    command.add_argument("--output", default="explained", metavar="DIR", help="where the figures go (%(default)s)")
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_explain)
    # fmt: on


def _explain(options: argparse.Namespace) -> None:
    from ..evaluation import Explanation
    from ..reporting import draw_explanations

    found = draw_explanations(
        options.target,
        options.images,
        output=options.output,
        against=options.against,
        resolutions=options.resolutions,
        class_name=options.class_name,
        layer=options.layer,
        filters=options.filters,
        suffix=f".{options.format}",
        which=options.which,
        device=options.device,
    )
    if options.json:
        print(json.dumps([each.to_dict() for each in found], indent=2))
        return
    for each in found:
        details = f": {_details(each)}" if isinstance(each, Explanation) else ""
        print(f"{each.name}{details}; {each.figure}")


def _details(explanation: Explanation) -> str:
    """The class, and its probability for each network at each resolution."""
    rows = [f"{row[0].network} {', '.join(map(_figures, row))}" for row in explanation.maps]
    return "; ".join((explanation.class_name, *rows))


def _figures(found: ActivationMap) -> str:
    return f"{found.probability:.1%} at {found.resolution} px"
