"""``curriculum-zoo glimpses``: where a network looks."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .arguments import add_chance, add_data_flags, add_target, indices, positive

__all__ = ["add_glimpses"]


def add_glimpses(commands: Any) -> None:
    """Add ``curriculum-zoo glimpses``."""
    command = commands.add_parser(
        "glimpses",
        help="draw where a glimpse pyramid looks",
        description="Draw where a glimpse pyramid looks in images: the regions it attends, what it sees of them, how "
        "probable they were, and the class after each level.",
    )
    add_target(command)
    command.add_argument("images", nargs="*", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--data", help="a data set, to take test images from: mnist_canvas:noisy, …")
    command.add_argument("--index", type=indices, default=(0,), metavar="0,1,2", help="which of its test images")
    add_data_flags(command)
    command.add_argument("--levels", type=positive, help="levels after which to stop; all that there are by default")
    add_chance(command)
    command.add_argument("--output", default="glimpses", metavar="DIR", help="where the figures go (%(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_glimpses)


def _glimpses(options: argparse.Namespace) -> None:
    from ..reporting import draw_glimpses

    looks = draw_glimpses(
        options.target,
        options.images,
        output=options.output,
        data=options.data,
        index=options.index,
        data_root=options.data_root,
        download=options.download,
        levels=options.levels,
        attend=options.attend,
        seed=options.seed,
        which=options.which,
        device=options.device,
    )
    if options.json:
        print(json.dumps([look.to_dict() for look in looks], indent=2))
        return
    for look in looks:
        classes = ", ".join(f"{name} {probability:.1%}" for name, probability in look.predictions)
        print(f"{look.name}: {classes}; attended {look.attended}; {look.figure}")
