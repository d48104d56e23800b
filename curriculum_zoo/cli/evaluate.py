"""``curriculum-zoo evaluate``: how good trained networks are."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .arguments import add_chance, add_data_flags, add_target, integers, positive, print_table, whole

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation

__all__ = ["add_evaluate"]


def add_evaluate(commands: Any) -> None:
    """Add ``curriculum-zoo evaluate``."""
    # fmt: off
    command = commands.add_parser("evaluate", help="measure a trained network on test images")
    add_target(command)
    command.add_argument("--data", required=True, help="the data set, as for train")
    add_data_flags(command)
    command.add_argument(
        "--part", default="test", choices=("test", "validation"),
        help="test images, or the training images that the network's recipe held out (%(default)s)",
    )
    command.add_argument("--resolutions", type=integers, default=(), metavar="32,24,16", help="sides in pixels")
    command.add_argument(
        "--levels", type=integers, default=(), metavar="1,2,3",
        help="processing levels after which a glimpse pyramid stops; as many as the image allows by default",
    )
    add_chance(command)
    command.add_argument(
        "--repeats", type=positive, default=1, metavar="N",
        help="take the mean of N evaluations, each with draws of its own, of places on a canvas say",
    )
    command.add_argument("--time", action="store_true", help="measure the time of the forward pass too")
    command.add_argument("--batch-size", type=positive, default=256, help="images at a time (%(default)s)")
    command.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    command.add_argument(
        "--calibrate-batchnorm", type=whole, default=0, metavar="N",
        help="training batches over which BatchNorm's statistics are taken anew at each resolution",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)
    # fmt: on


def _evaluate(options: argparse.Namespace) -> None:
    from ..evaluation import evaluate

    evaluations = evaluate(
        options.target,
        options.data,
        data_root=options.data_root,
        download=options.download,
        part=options.part,
        resolutions=options.resolutions,
        levels=options.levels,
        attend=options.attend,
        which=options.which,
        batch_size=options.batch_size,
        precision=options.precision,
        calibrate=options.calibrate_batchnorm,
        repeats=options.repeats,
        seed=options.seed,
        timing=options.time,
        device=options.device,
    )
    if options.json:
        print(json.dumps([evaluation.to_dict() for evaluation in evaluations], indent=2))
        return
    rows = [_figures(evaluation) for evaluation in evaluations]
    there_are = [name for name in rows[0] if any(row[name] for row in rows)]
    print_table(tuple(there_are), [tuple(row[name] or "-" for name in there_are) for row in rows])
    print()
    accuracy = [("-" if a is None else f"{a:.2%}" for a in e.scores.per_class) for e in evaluations]
    titles = [row["resolution"] + (f", level {row['levels']}" if row["levels"] else "") for row in rows]
    print_table(("class", *titles), list(zip(evaluations[0].classes, *accuracy, strict=True)))
    if evaluations[0].timed_on:
        print(f"\nTimed on {evaluations[0].timed_on}.")


def _figures(evaluation: Evaluation) -> dict[str, str]:
    """What is told of an evaluation in a table, by column; what it has no figure for is empty."""
    scores, spread, locations = evaluation.scores, evaluation.top1_std, evaluation.locations
    return {
        "resolution": f"{evaluation.resolution} px",
        "levels": str(evaluation.levels or ""),
        "top-1": f"{scores.top1:.2%}" + ("" if spread is None else f" ± {100 * spread:.2f}"),
        "top-5": "" if scores.top5 is None else f"{scores.top5:.2%}",
        "loss": f"{scores.loss:.4f}",
        "calibration error": f"{scores.calibration_error:.4f}",
        "locations": "" if locations is None else f"{locations:.2f}",
        "MFLOPs": f"{evaluation.flops / 1e6:,.2f}",
        "ms/image": "" if evaluation.milliseconds is None else f"{evaluation.milliseconds:.4f}",
    }
