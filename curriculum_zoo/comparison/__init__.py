"""Comparison: whether a curriculum is better than its baseline, by how much, at what cost, and how sure one may be."""

from .document import markdown
from .grid import Condition, Grid
from .report import Report, read_report
from .runner import compare
from .writing import write_report

__all__ = ["Condition", "Grid", "Report", "compare", "markdown", "read_report", "write_report"]
