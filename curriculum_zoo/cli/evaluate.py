"""``curriculum-zoo evaluate``: how good trained networks are."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .arguments import (
    add_chance,
    add_data_flags,
    add_target,
    corruptions,
    integers,
    names,
    positive,
    print_table,
    severities,
    whole,
)

if TYPE_CHECKING:
    from ..evaluation import Calibration, Evaluation, Robustness

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
    command.add_argument(
        "--corruptions", type=corruptions, default=(), metavar="blur,fog",
        help="also evaluate under these corruptions, or families of them (noise, blur, weather, digital); 'all' for "
        "the fifteen of CIFAR-10-C and ImageNet-C",
    )
    command.add_argument(
        "--severities", type=severities, default=(1, 2, 3, 4, 5), metavar="1..5", help="of the corruptions"
    )
    command.add_argument(
        "--probes", type=names, default=(), metavar="all|edges,grey",
        help="also evaluate on images reduced to their shape or their texture: patches_2, patches_4, patches_8, "
        "low_pass, high_pass, edges, grey",
    )
    command.add_argument(
        "--calibration", action="store_true", help="also show reliability bins, and accuracy against coverage"
    )
    command.add_argument(
        "--early-exit", type=float, nargs="?", const=0.0, metavar="POINTS",
        help="measure early exit of a glimpse pyramid instead: images stop at the level where their class is sure "
        "enough, by a threshold that may cost so many points of accuracy on validation images (0)",
    )
    command.add_argument(
        "--reference", metavar="RUN|MODEL",
        help="a network whose errors the mean corruption error is a share of; it is evaluated likewise",
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
        help="training batches over which BatchNorm's statistics are estimated again at each resolution",
    )
    command.add_argument(
        "--views", default="single", choices=("single", "flip", "flip_shift"),
        help="average predictions over the image and its mirror image, or over shifts by a pixel too (%(default)s)",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)
    # fmt: on


def _early_exit(options: argparse.Namespace) -> None:
    from ..evaluation import early_exit

    if len(options.levels) > 1:
        raise DataError("Early exit has one deepest level. Name one of --levels.")
    found = early_exit(
        options.target,
        options.data,
        tolerance=options.early_exit / 100,
        levels=options.levels[0] if options.levels else None,
        attend=options.attend,
        data_root=options.data_root,
        download=options.download,
        which=options.which,
        batch_size=options.batch_size,
        seed=options.seed,
        device=options.device,
    )
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return
    rows = [(f"all at level {level}", point) for level, point in enumerate(found.fixed, 1)]
    chosen = f"early exit at {found.chosen.threshold:.4f}, from {found.validation_images} validation images"
    deepest = found.fixed[-1].multiply_adds
    print_table(
        ("way", "top-1", "multiply-adds", "of the deepest", *(f"at level {n}" for n in range(1, len(found.fixed) + 1))),
        [
            (
                way,
                f"{point.accuracy:.2%}",
                f"{point.multiply_adds:,.0f}",
                f"{point.multiply_adds / deepest:.3f}",
                *(f"{share:.1%}" for share in point.stopped),
            )
            for way, point in [*rows, (chosen, found.chosen)]
        ],
    )


def _evaluate(options: argparse.Namespace) -> None:
    from ..evaluation import evaluate, summarize_robustness

    if options.early_exit is not None:
        _early_exit(options)
        return

    def evaluated(target: str) -> list[Evaluation]:
        return evaluate(
            target,
            options.data,
            data_root=options.data_root,
            download=options.download,
            part=options.part,
            resolutions=options.resolutions,
            levels=options.levels,
            corruptions=options.corruptions,
            severities=options.severities,
            probes=options.probes,
            calibration=options.calibration,
            attend=options.attend,
            which=options.which,
            batch_size=options.batch_size,
            precision=options.precision,
            calibrate=options.calibrate_batchnorm,
            views=options.views,
            repeats=options.repeats,
            seed=options.seed,
            timing=options.time,
            device=options.device,
        )

    if options.corruptions and len(options.levels) > 1:
        raise DataError("Corruptions are summarised for one count of levels at a time. Name one of --levels.")
    evaluations = evaluated(options.target)
    if options.json:
        print(json.dumps([evaluation.to_dict() for evaluation in evaluations], indent=2))
        return
    plain = [evaluation for evaluation in evaluations if not evaluation.corruption and not evaluation.probe]
    if options.corruptions:
        reference = evaluated(options.reference) if options.reference else []
        _print_robustness(
            evaluations,
            summarize_robustness(evaluations, reference=reference, reference_name=options.reference),
            options.severities,
        )
    else:
        _print_scores(plain)
    if options.probes:
        _print_probes(plain, [evaluation for evaluation in evaluations if evaluation.probe])
    for evaluation in plain:
        if evaluation.calibration is not None:
            _print_calibration(_title(evaluation), evaluation.calibration)


def _print_scores(evaluations: Sequence[Evaluation]) -> None:
    """Print the figures of evaluations on images as they are, and accuracy per class."""
    rows = [_figures(evaluation) for evaluation in evaluations]
    there_are = [name for name in rows[0] if any(row[name] for row in rows)]
    print_table(tuple(there_are), [tuple(row[name] or "-" for name in there_are) for row in rows])
    print()
    accuracy = [("-" if a is None else f"{a:.2%}" for a in e.scores.per_class) for e in evaluations]
    print_table(("class", *map(_title, evaluations)), list(zip(evaluations[0].classes, *accuracy, strict=True)))
    if evaluations[0].timed_on:
        print(f"\nTimed on {evaluations[0].timed_on}.")


def _title(evaluation: Evaluation) -> str:
    """Resolution, and levels where there are any."""
    return f"{evaluation.resolution} px" + (f", level {evaluation.levels}" if evaluation.levels else "")


def _print_probes(plain: Sequence[Evaluation], probed: Sequence[Evaluation]) -> None:
    """Print accuracy on what probes leave of images, for each resolution and level."""
    from ..views.probes import PROBES

    titles = list(map(_title, plain))
    found = {(evaluation.probe, _title(evaluation)): evaluation.scores.top1 for evaluation in probed}
    rows = [("images as they are", "", *(f"{evaluation.scores.top1:.2%}" for evaluation in plain))]
    for name in dict.fromkeys(evaluation.probe for evaluation in probed if evaluation.probe):
        accuracies = (f"{found[name, title]:.2%}" for title in titles)
        rows.append((PROBES[name].title, PROBES[name].leaves, *accuracies))
    print("\ntop-1 accuracy on what probes leave of images")
    print_table(("probe", "leaves", *titles), rows)


def _print_calibration(title: str, calibration: Calibration) -> None:
    """Print reliability bins, and accuracy at tenths of coverage."""
    rows = [
        (f"{each.low:.3f} to {each.high:.3f}", str(each.images), f"{each.confidence:.2%}", f"{each.accuracy:.2%}")
        for each in calibration.bins
        if each.images
    ]
    error = calibration.expected_calibration_error
    print(f"\nreliability at {title}: expected calibration error {error:.4f}, {len(calibration.bins)} bins")
    print_table(("confidence", "images", "mean", "accuracy"), rows)
    curve = calibration.coverage
    covered = [(share, value) for share, value in zip(curve.coverage, curve.accuracy, strict=True)]
    tenths = [min(covered, key=lambda pair: abs(pair[0] - tenth / 10)) for tenth in range(1, 11)]
    print(f"\naccuracy against coverage at {title}: area {curve.area:.4f}")
    print_table(
        ("coverage", *(f"{share:.0%}" for share, _ in tenths)),
        [("accuracy", *(f"{value:.2%}" for _, value in tenths))],
    )


def _print_robustness(
    evaluations: Sequence[Evaluation], summaries: Sequence[Robustness], levels: Sequence[int]
) -> None:
    """Print accuracy per corruption and severity, and its means, for each resolution."""
    for summary in summaries:
        found = {(e.corruption, e.severity): e.scores.top1 for e in evaluations if e.resolution == summary.resolution}
        rows = [
            (kind, *(f"{found[kind, severity]:.2%}" for severity in levels), f"{mean:.2%}")
            for kind, mean in summary.by_kind.items()
        ]
        print(
            f"top-1 accuracy at {summary.resolution} px" + f", clean {summary.clean:.2%}" * (summary.clean is not None)
        )
        print_table(("corruption", *map(str, levels), "mean"), rows)
        means = {**summary.by_family, "all": summary.mean, "all but blur": summary.mean_without_blur}
        print("\n" + ", ".join(f"{name} {mean:.2%}" for name, mean in means.items() if mean is not None))
        if summary.mce is not None:
            without = "" if summary.mce_without_blur is None else f", without blur {summary.mce_without_blur:.3f}"
            print(f"mean corruption error, {summary.reference} being 1: {summary.mce:.3f}{without}")
        print()


def _figures(evaluation: Evaluation) -> dict[str, str]:
    """Cells of an evaluation's row, keyed by column; empty where it has no figure."""
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
