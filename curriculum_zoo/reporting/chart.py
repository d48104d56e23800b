"""`Chart`: a small figure that reads on a phone and in the dark, as SVG inside a page or as a file of its own.

Within a page each colour is a CSS variable of the page with the colour as its fallback, so that one drawing serves
light and dark; text stays text. All charts are as wide as a phone's page is, and pages set them side by side.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import replace_file
from .figure_files import shortened

__all__ = ["INK", "MUTED", "RULE", "SERIES", "Chart", "canvas", "finish", "label_lines", "legend_above", "style"]

INK, MUTED, RULE = "#1b1b1f", "#5a5a63", "#d5d5dc"
"""Of text and axes, of what stands back, and of grid lines; ``--ink``, ``--muted`` and ``--rule`` in a page."""

SERIES = ("#0072b2", "#c84e00", "#00805c", "#a8508a", "#8a6d00", "#2f7fb8", "#6b4fa0")
"""Okabe and Ito's blue, vermillion, green and purple, darkened where they are too light for text on white, and three
more; ``--s0``, ``--s1``, … in a page, which lightens them in the dark. Lines have markers of their own as well."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X")

WIDTH, FONT = 4.6, 9.5
"""Inches, and points."""

_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule"} | {colour: f"s{n}" for n, colour in enumerate(SERIES)}


@dataclass(frozen=True)
class Chart:
    """A drawn figure.

    Attributes:
        name: of its file, without the ending; unique within a page.
        title: what it shows, in a few words.
        caption: how to read it, with n and spread.
        inline: SVG for a page, in the page's colours.
        svg: the same as a document of its own, on white.
    """

    name: str
    title: str
    caption: str
    inline: str
    svg: str

    def write(self, folder: Path) -> Path:
        """Write the figure's own SVG file, whole or not at all, and return its path.

        Raises:
            DataError: the file cannot be written.
        """
        path = folder / f"{self.name}.svg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, self.svg)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}. Choose another folder.") from error
        return path


def canvas(height: float, *, rows: int = 1, ratios: Sequence[float] | None = None) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, one below the other over one x axis, without the global state of pyplot.

    Args:
        height: in inches.
        rows: how many axes.
        ratios: of their heights; equal where None.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for each in axes:
        each.tick_params(colors=INK, labelsize=FONT - 0.5, length=3)
        each.grid(visible=True, color=RULE, linewidth=0.6)
        each.set_axisbelow(True)
        for side, spine in each.spines.items():
            spine.set(color=MUTED, visible=side in ("left", "bottom"))
        each.xaxis.label.set(color=INK, fontsize=FONT)
        each.yaxis.label.set(color=INK, fontsize=FONT)
    return figure, list(axes)


def label_lines(axes: Any, lines: Iterable[tuple[float, float, str, str]]) -> None:
    """Write the names of lines at their right ends, moved apart where they would overlap, and within the axes.

    Args:
        axes: their limits must be final.
        lines: x and y of each line's last point, its name and colour.
    """
    low, high = axes.get_ylim()
    _, height = axes.get_window_extent().size
    least = (high - low) * FONT * 1.2 * axes.figure.dpi / 72 / max(1, height)
    ordered = sorted(lines, key=lambda line: line[1])
    places = [y for _, y, _, _ in ordered]
    for number in range(1, len(places)):
        places[number] = max(places[number], places[number - 1] + least)
    # What was pushed beyond the top comes back down, and pushes those below it.
    for number in reversed(range(len(places))):
        places[number] = min(places[number], high if number == len(places) - 1 else places[number + 1] - least)
    for (x, _, name, colour), place in zip(ordered, places, strict=True):
        style = {"fontsize": FONT - 0.5, "color": colour, "va": "center", "parse_math": False}
        axes.annotate(
            shortened(name, 18), (x, place), xytext=(5, 0), textcoords="offset points", annotation_clip=False, **style
        )


def legend_above(axes: Any, names: Sequence[tuple[str, str, str]]) -> None:
    """Write names with their markers above axes.

    Args:
        axes: where.
        names: name, colour and marker of each.
    """
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, marker=marker, linestyle="") for _, colour, marker in names]
    labels = [shortened(name, 30).replace("$", r"\$") for name, _, _ in names]
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=2 if max(map(len, labels)) < 20 else 1,
        frameon=False, fontsize=FONT - 0.5, labelcolor=INK, borderaxespad=0.2, handletextpad=0.3,
    )  # fmt: skip


def style(number: int) -> tuple[str, str]:
    """Return colour and marker of a series."""
    return SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]


def finish(figure: Any, name: str, title: str, caption: str) -> Chart:
    """Return a figure as a chart.

    Args:
        figure: matplotlib's.
        name: of its file, without the ending; unique within a page.
        title: what it shows, in a few words.
        caption: how to read it.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curriculum_zoo", "svg.image_inline": True}):
        metadata = {"Date": None, "Creator": None, "Title": title, "Description": caption}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    drawn = file.getvalue()
    # The first path is the figure's own ground.
    return Chart(name, title, caption, _inlined(drawn, name, title), drawn.replace("fill: none", "fill: #ffffff", 1))


def _inlined(document: str, name: str, title: str) -> str:
    """SVG for a page: no size of its own, ids of its own, colours from the page, and a name to read aloud."""
    body = document[document.index("<svg") :]
    # A style sheet inside would hold for the whole page.
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    view_box = re.search(r'viewBox="([^"]+)"', body)
    assert view_box is not None, "matplotlib states a viewBox"
    body = body[body.index(">") + 1 :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "var(--font, sans-serif)", body)
    for colour, variable in _VARIABLES.items():
        body = re.sub(rf"(?<=: ){colour}\b", f"var(--{variable}, {colour})", body)
    body = re.sub(r"\n\s*", "\n", body)
    return (
        f'<svg viewBox="{view_box.group(1)}" role="img" aria-label="{html.escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
    )
