"""``curriculum-zoo report``: runs, or a comparison, as one HTML page."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_data_flags, corruptions, names, severities

__all__ = ["add_report"]


def add_report(commands: Any) -> None:
    """Add ``curriculum-zoo report``."""
    # fmt: off
    command = commands.add_parser(
        "report",
        help="write one HTML page about runs, or about a comparison",
        description="Write one HTML page that opens without a network: recipe, curves, timeline, cost account, "
        "environment, and, measured on the run's own test images where they are to be had, confusion matrix, worst "
        "mistakes, reliability, coverage, resolution sweep, robustness, and shape or texture. Of a comparison also "
        "its verdicts.",
    )
    command.add_argument("targets", nargs="+", metavar="RUN|COMPARISON", help="folders of runs, or of one comparison")
    command.add_argument("--output", default="report.html", metavar="FILE", help="the page (%(default)s)")
    command.add_argument("--figures", metavar="DIR", help="also write every figure there, as SVG")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of a run's weights")
    command.add_argument(
        "--corruptions", type=corruptions, default=corruptions("all"), metavar="blur,fog|none",
        help="which corruptions to measure, or families of them (all)",
    )
    command.add_argument(
        "--severities", type=severities, default=(3,), metavar="1..5", help="of the corruptions (3)"
    )
    command.add_argument(
        "--probes", type=names, default=("all",), metavar="edges,grey|none", help="which probes to measure (all)"
    )
    command.add_argument(
        "--recorded", action="store_true", help="tell what the runs recorded alone, and measure nothing"
    )
    add_data_flags(command)
    command.set_defaults(run=_report)
    # fmt: on


def _report(options: argparse.Namespace) -> None:
    from ..reporting import Measures, write_page

    measures = Measures(
        which=options.which,
        corruptions=() if options.corruptions == ("none",) else options.corruptions,
        severities=options.severities,
        probes=() if options.probes == ("none",) else options.probes,
        data_root=options.data_root,
        download=options.download,
        device=options.device,
    )
    page = write_page(
        options.targets, options.output, measures=measures, measured=not options.recorded, figures=options.figures
    )
    beside = f", {len(page.figures)} figures in {options.figures}" if page.figures else ""
    print(f"{page.path}: {page.path.stat().st_size / 2**20:.1f} MB{beside}")
    for name, reasons in page.absent.items():
        for reason in reasons:
            print(f"{name}: not all is shown. {reason}")
