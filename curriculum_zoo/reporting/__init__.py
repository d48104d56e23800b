"""Reports: tables, figures and pages about what was trained and evaluated."""

from .evidence import Measures
from .explanation_figure import draw_explanations
from .glimpses import draw_glimpses
from .page import Page, write_page
from .stages import draw_stages

__all__ = ["Measures", "Page", "draw_explanations", "draw_glimpses", "draw_stages", "write_page"]
