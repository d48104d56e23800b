"""The figure of one image and what an adaptive network looked at in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..evaluation.glimpses import Look, as_seen, view_of

__all__ = ["draw_look"]

COLOURS = ("#555555", "#e69f00", "#0090d0", "#d0408f", "#009e73")
"""Of the levels, distinct to the colour-blind too; those beyond begin again after the first."""

RIGHT, WRONG, OPEN = "#8cc084", "#e08a7e", "#b5bcc4"  # bars of classes

# All lengths are in inches.
PANEL, BETWEEN, MARGIN, HEAD = 2.6, 0.45, 0.3, 0.85
NAMES = 1.75  # left of the tree, for what its levels are
THUMBNAIL, APART, EDGE = 0.85, 1.18, 0.5  # a region in the tree, from one to the next, and from a level to the next
NARROWEST = 4 * PANEL + 3 * BETWEEN + NAMES / 2 + 2 * MARGIN
WIDEST = 24.0


def draw_look(look: Look, path: Path) -> None:
    """Draw one look.

    Above: the image with the attended regions, coloured by level; the image as the network saw it, each part at the
    finest resolution that it was looked at in; the probability of each cell of the first choice; the most probable
    class after each level. Below: the tree of regions, each as the network saw it, with the probabilities of its
    cells.

    Args:
        look: what to draw.
        path: the PNG file, replaced whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tree = _Tree.of(look)
    panel = PANEL * (tree.width / NARROWEST) ** 0.5
    width, height = tree.width, HEAD + panel + BETWEEN + tree.height
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    left = (width - 4 * panel - 3 * BETWEEN - NAMES / 2) / 2
    for number, draw in enumerate((_draw_boxes, _draw_seen, _draw_choice, _draw_classes)):
        # The last panel has names at its left.
        x = left + number * (panel + BETWEEN) + (NAMES / 2 if draw is _draw_classes else 0)
        draw(figure.add_axes((x / width, 1 - (HEAD + panel) / height, panel / width, panel / height)), look)
    tree.draw(figure.add_axes((0, 0, 1, tree.height / height)), look)
    truth = "" if look.label is None else f", class {look.label}"
    places = "1 location" if look.attended == 1 else f"{look.attended} locations"
    name = look.name if len(look.name) <= 80 else f"…{look.name[-79:]}"
    title = f"{name}{truth}: {places} attended"
    figure.suptitle(title, y=1 - 0.25 / height, va="center", fontweight="bold", parse_math=False)
    temporary = path.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=120)
    temporary.replace(path)


def _colour(level: int) -> str:
    return COLOURS[0] if level == 0 else COLOURS[1 + (level - 1) % (len(COLOURS) - 1)]


def _show(axes: Any, image: Tensor, extent: tuple[float, float, float, float] | None = None) -> None:
    """Pixels [C, H, W] as squares; gray where there is one channel, the first three where there are more than RGB."""
    pixels = image[:3] if len(image) >= 3 else image[:1]
    axes.imshow(
        pixels.permute(1, 2, 0).clamp(0, 1).numpy(),
        cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=extent, aspect="auto" if extent else "equal",
    )  # fmt: skip


def _panel(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set(xticks=[], yticks=[])


def _draw_boxes(axes: Any, look: Look) -> None:
    from matplotlib.patches import Rectangle

    _show(axes, look.image)
    _panel(axes, "where it looked")
    height, width = look.image.shape[1:]
    for number, level in list(enumerate(look.levels))[1:]:
        line = max(1.0, 3.2 - 0.9 * number)
        for x1, y1, x2, y2 in level.regions:
            # Neighbours share edges, and so do cells and their regions: each level is drawn a bit further inside.
            inset = 0.008 * (number - 0.5) * max(height, width)
            axes.add_patch(
                Rectangle(
                    (x1 - 0.5 + inset, y1 - 0.5 + inset), x2 - x1 - 2 * inset, y2 - y1 - 2 * inset,
                    fill=False, edgecolor=_colour(number), linewidth=line,
                )
            )  # fmt: skip


def _draw_seen(axes: Any, look: Look) -> None:
    _show(axes, as_seen(look.image, [level.regions for level in look.levels], look.base))
    _panel(axes, "what it saw")


def _draw_choice(axes: Any, look: Look) -> None:
    _panel(axes, "first choice: probability of each cell, %")
    if len(look.levels) == 1:
        axes.text(0.5, 0.5, "one level: no choice", ha="center", va="center", transform=axes.transAxes)
        return
    side = math.isqrt(len(look.levels[0].probabilities[0]))
    _draw_cells(axes, look, 0, 0, (0, side, side, 0), 11.0)
    axes.set(xlim=(0, side), ylim=(side, 0))


def _draw_cells(
    axes: Any, look: Look, level: int, region: int, extent: tuple[float, float, float, float], size: float
) -> None:
    """The probabilities of a region's cells, in percent, as shades of gray; attended cells are framed.

    Args:
        axes: to draw on.
        look: what was looked at.
        level: of the region, from 0.
        region: its index in the level.
        extent: left, right, bottom and top of where to draw.
        size: of the numbers, in points; below 4 they are left out.
    """
    from matplotlib.patches import Rectangle

    probabilities = look.levels[level].probabilities[region]
    side = math.isqrt(len(probabilities))
    left, right, bottom, top = extent
    width, height = (right - left) / side, (bottom - top) / side
    following = look.levels[level + 1]
    attended = {cell for parent, cell in zip(following.parents, following.cells, strict=True) if parent == region}
    for cell, value in enumerate(probabilities):
        x, y = left + cell % side * width, top + cell // side * height
        shade = 1 - 0.85 * value
        axes.add_patch(Rectangle((x, y), width, height, facecolor=str(shade), edgecolor="#999999", linewidth=0.5))
        if cell in attended:
            inset = 0.06
            axes.add_patch(
                Rectangle(
                    (x + inset * width, y + inset * height), (1 - 2 * inset) * width, (1 - 2 * inset) * height,
                    fill=False, edgecolor=_colour(level + 1), linewidth=max(0.8, size / 4),
                )
            )  # fmt: skip
        if size >= 4:
            colour = "white" if shade < 0.55 else "black"
            axes.text(
                x + width / 2, y + height / 2, f"{100 * value:.0f}",
                ha="center", va="center", fontsize=size, color=colour,
            )  # fmt: skip


def _draw_classes(axes: Any, look: Look) -> None:
    axes.set_title("class after each level", fontsize="medium")
    for number, (name, probability) in enumerate(look.predictions):
        colour = OPEN if look.label is None else RIGHT if name == look.label else WRONG
        axes.barh(number, probability, height=0.62, color=colour)
        short = name if len(name) <= 24 else f"{name[:23]}…"
        axes.text(0.03, number, f"{short}  {100 * probability:.3g} %", va="center", fontsize=11, parse_math=False)
    levels = range(len(look.levels))
    axes.set(
        xlim=(0, 1), ylim=(max(2.5, len(levels) - 0.5), -0.5), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"]
    )
    axes.set_yticks(levels, [f"level {number + 1}" for number in levels], fontweight="bold")
    for number, tick in enumerate(axes.get_yticklabels()):
        tick.set_color(_colour(number))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


@dataclass(frozen=True)
class _Tree:
    """Where the regions of a look stand in the figure.

    Attributes:
        width: of the figure.
        side: of a region as it is drawn.
        centres: of each level's regions, from left to right.
        tops: upper edge of each level's regions.
        height: of the tree.
    """

    width: float
    side: float
    centres: list[list[float]]
    tops: list[float]
    height: float

    @classmethod
    def of(cls, look: Look) -> _Tree:
        """Place the regions: those without attended cells side by side, others above the middle of theirs."""
        slots = _slots(look)
        count = 1 + max(slot for level in slots for slot in level)
        width = min(WIDEST, max(NARROWEST, NAMES + MARGIN + count * THUMBNAIL * APART))
        side = min(THUMBNAIL, (width - NAMES - MARGIN) / count / APART)
        left = NAMES + (width - NAMES - MARGIN - count * side * APART) / 2
        centres = [[left + (slot + 0.5) * side * APART for slot in level] for level in slots]
        tops, height = [], 0.0
        for number, level in enumerate(look.levels):
            tops.append(height + (EDGE if number else 0))
            # Below a region stand the probabilities of its cells; those of the whole image have a panel of their own.
            drawn = 1 + (number > 0 and bool(level.probabilities)) if level.regions else 0
            height = tops[-1] + max(drawn * side, 0.5)
        return cls(width, side, centres, tops, height + 0.45)

    def draw(self, axes: Any, look: Look) -> None:
        """Draw the tree onto axes that cover the figure's whole width."""
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for number, level in enumerate(look.levels):
            for region in range(len(level.regions)):
                self._draw_region(axes, look, number, region)
            self._name(axes, look, number)
        if any(level.probabilities for level in look.levels[1:]):
            caption = "below each region: probability of its cells in %, attended ones framed"
            axes.text(
                self.width - MARGIN, self.height - 0.18, caption, ha="right", va="center", fontsize=8, color="#555555"
            )
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))

    def _draw_region(self, axes: Any, look: Look, number: int, region: int) -> None:
        from matplotlib.patches import Rectangle

        level, side = look.levels[number], self.side
        x, top = self.centres[number][region] - side / 2, self.tops[number]
        place = (x, x + side, top + side, top)
        size = 7 * side / THUMBNAIL
        _show(axes, view_of(look.image, level.regions[region], look.base), place)
        axes.add_patch(Rectangle((x, top), side, side, fill=False, edgecolor=_colour(number), linewidth=2))
        if level.probabilities and number:
            _draw_cells(axes, look, number, region, (x, x + side, top + 2 * side, top + side), size)
        if number:
            parent = level.parents[region]
            above = self.tops[number - 1] + side * (1 if number == 1 else 2)
            axes.plot(
                (self.centres[number - 1][parent], x + side / 2), (above, top),
                color=_colour(number), linewidth=1, zorder=0,
            )  # fmt: skip

    def _name(self, axes: Any, look: Look, number: int) -> None:
        level, height, width = look.levels[number], *look.base
        count = f"{len(level.regions)} region" + ("s" if len(level.regions) != 1 else "")
        lines = [count if number else "the whole image"]
        if level.regions:
            x1, y1, x2, y2 = level.regions[0]
            lines.append(
                f"{y2 - y1}×{x2 - x1} px" + (f" as {height}×{width}" if (y2 - y1, x2 - x1) != look.base else "")
            )
        middle = self.tops[number] + (self.side if level.regions else 0.5) / 2
        axes.text(
            MARGIN, middle - 0.2, f"level {number + 1}",
            va="center", fontweight="bold", color=_colour(number), fontsize=10,
        )  # fmt: skip
        axes.text(MARGIN, middle + 0.1, "\n".join(lines), va="center", fontsize=8, color="#333333")


def _slots(look: Look) -> list[list[float]]:
    """A place from left to right for each region of each level, in units of a region."""
    children: list[list[list[int]]] = [[[] for _ in level.regions] for level in look.levels]
    for number, level in enumerate(look.levels[1:]):
        for region, parent in enumerate(level.parents):
            children[number][parent].append(region)
    slots = [[0.0] * len(level.regions) for level in look.levels]
    taken = 0

    def place(number: int, region: int) -> float:
        nonlocal taken
        below = [place(number + 1, child) for child in children[number][region]]
        if below:
            slots[number][region] = (below[0] + below[-1]) / 2
        else:
            slots[number][region] = taken
            taken += 1
        return slots[number][region]

    place(0, 0)
    return slots
