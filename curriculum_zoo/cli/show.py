"""``curriculum-zoo show``: what a curriculum lets a network see."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_seed, positive

__all__ = ["add_show"]


def add_show(commands: Any) -> None:
    """Add ``curriculum-zoo show``."""
    # fmt: off
    command = commands.add_parser(
        "show",
        help="draw what a network sees in each stage of a curriculum",
        description="Draw what a network sees in each stage of a curriculum, on real images, with resolution, cost, "
        "frozen share and augmentation strength over the epochs.",
    )
    command.add_argument(
        "curriculum", metavar="CURRICULUM", help="as `list curricula` has it: 'trd(resolution=16)', 'hrt:0.4 > trd'"
    )
    command.add_argument("images", nargs="*", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--data", help="a data set to take images from, in place of files; demo by default")
    command.add_argument("--count", type=positive, default=4, help="images to take from a data set (%(default)s)")
    command.add_argument("--epochs", type=positive, default=30, help="length of the training (%(default)s)")
    command.add_argument(
        "--image-size", type=positive, metavar="PX",
        help="full side of the images; the data set's own, 224 of files by default",
    )
    command.add_argument(
        "--model", help="a network to count cost and the share of frozen parameters from, as for train"
    )
    add_seed(command)
    command.add_argument("--data-root", default="data", metavar="DIR", help="folder of named data sets (%(default)s)")
    command.add_argument("--download", action="store_true", help="download a missing data set into it")
    command.add_argument(
        "--output", default="stages.png", metavar="FILE", help="where the sheet goes, .png or .svg (%(default)s)"
    )
    command.set_defaults(run=_show)
    # fmt: on


def _show(options: argparse.Namespace) -> None:
    from ..reporting import draw_stages

    sheet = draw_stages(
        options.curriculum,
        options.images,
        output=options.output,
        data=options.data,
        count=options.count,
        epochs=options.epochs,
        image_size=options.image_size,
        model=options.model,
        seed=options.seed,
        data_root=options.data_root,
        download=options.download,
    )
    drawn, there_are = len(sheet.shown), len(sheet.stages)
    stages = "all stages" if drawn == there_are else f"{drawn} of {there_are} stages"
    print(f"{sheet.figure}: {stages}, {sheet.relative_cost:.1%} of the cost at full resolution")
