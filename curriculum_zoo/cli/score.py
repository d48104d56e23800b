"""``curriculum-zoo score``: how hard each training image is for a trained network."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_data_flags, positive

__all__ = ["add_score"]


def add_score(commands: Any) -> None:
    """Add ``curriculum-zoo score``."""
    command = commands.add_parser(
        "score",
        help="score the training images by a trained network, for curricula that choose images",
        description="Write how hard each training image is for a trained network, higher being harder, for curricula "
        "such as 'prune(scores=FILE)' and 'easy_to_hard(scores=FILE)'.",
    )
    command.add_argument("target", metavar="RUN|MODEL", help="a run's folder, a folder of weights, or a trained model")
    command.add_argument("--which", default="last", choices=("best", "last"), help="which of a run's weights")
    command.add_argument("--data", help="a data set; that of the run by default")
    command.add_argument(
        "--by",
        default="loss",
        choices=("loss", "margin", "el2n", "forgetting"),
        help="the measure (%(default)s); forgetting reads what a run with the curriculum 'watch' noted",
    )
    command.add_argument("--output", metavar="FILE", help="an .npz file; scores/BY.npz in the run's folder by default")
    command.add_argument("--batch-size", type=positive, default=256, help="images at a time (%(default)s)")
    add_data_flags(command)
    command.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> None:
    from pathlib import Path

    from ..errors import DataError
    from ..evaluation.image_scores import score_images

    if options.output is None and not Path(options.target).is_dir():
        raise DataError(f"{options.target} is no folder to leave scores in. Name the file: --output FILE.npz.")
    output = Path(options.output or Path(options.target) / "scores" / f"{options.by}.npz")
    scored = score_images(
        options.target,
        options.data,
        by=options.by,
        which=options.which,
        data_root=options.data_root,
        download=options.download,
        batch_size=options.batch_size,
        device=options.device,
    )
    scored.save(output)
    known = scored.scores[scored.scores.isfinite()]
    print(f"{output}: {options.by} of {len(known):,} images, mean {known.mean():.4g}, greatest {known.max():.4g}")
