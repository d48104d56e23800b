"""``curriculum-zoo demo``: a first look, which is a small comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..comparison import Report
    from ..comparison.findings import Summary

__all__ = ["add_demo"]

_DESCRIPTION = """\
Compare a curriculum with plain training at the same FLOPs, on images that come with the package:
a network that first sees blurred images and then sharp ones, tested on clean, blurred, smaller and
noisy ones. Three seeds, two runs side by side, under 3 minutes on two cores. It is `compare` with a
grid of the package's own: the same command goes on after an interruption, and more --seeds add to
what is there."""


def add_demo(commands: Any) -> None:
    """Add ``curriculum-zoo demo``."""
    command = commands.add_parser(
        "demo",
        help="compare a curriculum with plain training on the shipped images (3 minutes)",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--output", default="runs/demo", metavar="DIR", help="where results go (%(default)s)")
    command.add_argument("--seeds", metavar="0..4", help="training seeds: 0..4, or 0,3,7 (0..2)")
    command.add_argument(
        "--on", default="local:2", metavar="PLACE", help="where runs are, as for compare: side by side (%(default)s)"
    )
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from rich.console import Console

    from ..comparison.demo import FIGURE, conclusion, run_demo
    from ..comparison.grid import read_seeds

    console = Console(highlight=False)
    folder = Path(options.output)
    seeds = read_seeds(options.seeds) if options.seeds else None
    console.print(f"All runs go to {folder}; the first ones are done in a minute or two.", soft_wrap=True, markup=False)
    report = run_demo(folder, seeds=seeds, device=options.device, place=options.on)
    lines = [
        conclusion(report),
        *(f"{arm}, seed {cell.cell.seed}: {cell.status} {cell.error}" for arm, cell in report.unfinished),
    ]
    if report.arms:
        console.print(_table(report))
    if any(arm.conditions for arm in report.arms):
        lines.append(f"The figure is {folder / FIGURE}, the whole report {folder / 'report.md'}.")
    more = f"{min(report.statement.grid.seeds)}..{max(report.statement.grid.seeds) + 3}"
    lines += [
        "Try next:",
        f"  curriculum-zoo demo --output {folder} --seeds {more}     (more seeds, narrower intervals)",
        f"  curriculum-zoo compare {folder} --show",
        "  curriculum-zoo list curricula",
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _table(report: Report) -> Table:
    from rich import box
    from rich.table import Table

    names = [condition.name for condition in report.statement.grid.evaluate]
    table = Table(
        "arm",
        *names,
        "TFLOPs",
        "cost",
        "time",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption=_caption(report),
    )
    for arm in report.arms:
        accuracies = [_points(arm.conditions.get(name)) for name in names]
        table.add_row(
            arm.label,
            *accuracies,
            f"{arm.flops / 1e12:.3g}",
            f"{arm.relative_flops:.2f}×",
            f"{arm.seconds:.0f} s",
        )
    return table


def _caption(report: Report) -> str:
    seeds = ", ".join(map(str, report.arms[0].seeds))
    return f"Test accuracy in %: mean±standard deviation over seeds {seeds}. Cost and time of one training."


def _points(summary: Summary | None) -> str:
    if summary is None:
        return ""
    return f"{100 * summary.mean:.1f}" + ("" if summary.sd is None else f"±{100 * summary.sd:.1f}")
