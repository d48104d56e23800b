"""`write_report`: a comparison's report as files beside its runs."""

from __future__ import annotations

from pathlib import Path

from .document import write_documents
from .figures import draw_figures
from .report import Report, read_report

__all__ = ["write_report"]


def write_report(folder: str | Path) -> Report:
    """Read a comparison's folder, and leave there ``report.md``, ``report.json``, ``cells.csv`` and the figures.

    Raises:
        ComparisonError: no comparison was begun in it.
    """
    report = read_report(folder)
    write_documents(report, Path(folder), figures=draw_figures(report, Path(folder)))
    return report
