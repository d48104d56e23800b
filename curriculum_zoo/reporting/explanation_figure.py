"""The figures of class activation maps, networks by resolutions, and of first-layer filters: `draw_explanations`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import DataError, ModelError
from ..evaluation.explanations import (
    ActivationMap,
    Array,
    Explanation,
    FirstLayer,
    attends,
    explain_networks,
    first_layer,
)
from ..evaluation.glimpses import Look
from ..evaluation.trained_network import load_trained_network
from .figure_files import DARK, FORMATS, LINE, TEXT, Sheet, broken, figure_paths, fitted, save_figure, shortened
from .glimpses import draw_glimpses

__all__ = ["draw_explanation", "draw_explanations", "draw_filters"]

# All lengths are in inches, sizes of fonts in points.
MARGIN, NAMES, LEGEND = 0.3, 1.9, 0.95  # round the figure, left of the panels, right of them
PANEL, BETWEEN, TITLE, HEAD = 2.1, 0.2, 0.7, 0.22
COLOURS = "inferno"  # brightness grows evenly with the value, so it reads in grey and with any colour vision
OPACITY = 0.62
CAPTION = (
    "Grad-CAM: what in the layer's features speaks for the class, over the image in gray; each map is scaled to its "
    "own largest value. Below each: the probability of the class, the grid of the layer's features, and the class that "
    "the network gives where it is another one."
)
FILTERS = 64
"""Filters that a figure has room for."""


def draw_explanations(
    target: str | Path,
    images: Sequence[str | Path],
    *,
    output: str | Path,
    against: str | Path | None = None,
    resolutions: Sequence[int] = (),
    class_name: str | None = None,
    layer: str | None = None,
    filters: bool = False,
    suffix: str = ".png",
    which: Literal["best", "last"] = "best",
    device: str | None = None,
) -> list[Explanation] | list[Look]:
    """Draw what networks look at in images: class activation maps, of one network or two, at several resolutions.

    Of a glimpse pyramid, which attends to parts of an image, it is drawn what it attended, as `draw_glimpses` does.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        images: files, and folders whose image files are taken in order of their names, subfolders too.
        output: folder for a figure an image, and for ``filters`` where they are drawn.
        against: a second network to put beside it.
        resolutions: see `explain`.
        class_name: see `explain`.
        layer: see `explain`.
        filters: whether to draw the filters of the first convolutions as well.
        suffix: ending of the figures, ``.png`` or ``.svg``.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One explanation an image, in the given order; looks where the network is a glimpse pyramid.

    Raises:
        DataError: an image is missing or cannot be read, or the figures cannot be written.
        ModelError: what `explain` refuses; or options of class activation maps with a glimpse pyramid.
    """
    folder = Path(output)
    if suffix not in FORMATS:
        raise DataError(f"{suffix}: figures are drawn as {' or '.join(FORMATS)}.")
    subjects = [
        load_trained_network(name, which=which, device=device) for name in (target, against) if name is not None
    ]
    if attends(subjects[0].model):
        if against or resolutions or class_name or layer:
            raise ModelError(
                f"{target} attends to parts of an image: it has no class activation maps to compare, by class, layer "
                "or resolution. Leave these options out to see what it attended."
            )
        return draw_glimpses(target, images, output=folder, which=which, device=device)
    found = explain_networks(subjects, images, resolutions=resolutions, class_name=class_name, layer=layer)
    drawn = []
    for each, path in zip(found, figure_paths([each.name for each in found], folder, suffix), strict=True):
        draw_explanation(each, path)
        drawn.append(dataclasses.replace(each, figure=path))
    if filters:
        draw_filters([first_layer(trained) for trained in subjects], folder / f"filters{suffix}")
    return drawn


# Class activation maps ------------------------------------------------------------------------------------------------


def draw_explanation(explanation: Explanation, path: Path) -> None:
    """Draw the maps of one image: a column by resolution; the image above, and a row by network.

    Args:
        explanation: what to draw.
        path: the file, ``.png`` or ``.svg``; replaced whole.

    Raises:
        DataError: another ending, or a file that cannot be written.
    """
    rows, columns = len(explanation.maps), len(explanation.maps[0])
    width = MARGIN + NAMES + columns * PANEL + (columns - 1) * BETWEEN + LEGEND + MARGIN
    title = f"{shortened(Path(explanation.name).name, 60)}: what speaks for “{_short(explanation.class_name, 60)}”"
    below = fitted([CAPTION], width - 2 * MARGIN, TEXT)
    row = PANEL + 2 * LINE + BETWEEN
    height = TITLE + HEAD + PANEL + BETWEEN + rows * row + len(below) * LINE + MARGIN
    sheet = Sheet(width, height)
    lines = fitted([title], width - 2 * MARGIN, 15)  # bold letters are wider
    sheet.text(MARGIN, 0.2, "\n".join(lines[:2]), fontsize=12, fontweight="bold")
    for column, found in enumerate(explanation.maps[0]):
        sheet.text(_x(column) + PANEL / 2, TITLE, f"{found.resolution} px", ha="center", fontweight="bold")
        sheet.image(_x(column), TITLE + HEAD, PANEL, found.image)
    sheet.text(MARGIN, TITLE + HEAD + PANEL / 2, "the image, as it\nwas tested", va="center")
    for number, maps in enumerate(explanation.maps):
        top = TITLE + HEAD + PANEL + BETWEEN + number * row
        name = broken(maps[0].network, NAMES - 0.15, TEXT * 1.15)
        layer = broken(f"layer {maps[0].layer}", NAMES - 0.15, TEXT)
        start = top + PANEL / 2 - (len(name) + len(layer)) * LINE / 2
        sheet.lines(MARGIN, start, name, fontweight="bold")
        sheet.lines(MARGIN, start + len(name) * LINE, layer)
        for column, found in enumerate(maps):
            _draw_map(sheet, found, explanation.class_name, _x(column), top)
    _draw_legend(sheet, width - MARGIN - LEGEND, TITLE + HEAD + PANEL + BETWEEN)
    sheet.lines(MARGIN, height - MARGIN - len(below) * LINE + 0.08, below, color="#444444")
    save_figure(sheet, path, title=title, caption=CAPTION)


def _x(column: int) -> float:
    return MARGIN + NAMES + column * (PANEL + BETWEEN)


def _draw_map(sheet: Sheet, found: ActivationMap, class_name: str, x: float, y: float) -> None:
    """Draw a map over its image in gray, and say below it what the network makes of the image."""
    luma = np.array([0.299, 0.587, 0.114], np.float32) if found.image.shape[2] >= 3 else np.ones(1, np.float32)
    gray = found.image[..., : len(luma)] @ luma
    most, (high, wide) = float(found.heat.max()), found.cells.shape
    if most > 0 and high * wide > 1:
        sheet.image(x, y, PANEL, _coloured(found.heat / most, gray))
    else:
        sheet.image(x, y, PANEL, gray[..., None])
        words = "nothing speaks for it" if high * wide > 1 else "a single cell: no map"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 3}
        sheet.text(x + PANEL / 2, y + PANEL / 2, words, ha="center", va="center", bbox=box)
    sheet.text(x, y + PANEL + 0.04, f"{found.probability:.1%} {_short(class_name, 16)}")
    sheet.text(x + PANEL, y + PANEL + 0.04, f"{high}×{wide}", ha="right", color="#666666")
    if found.predicted != class_name:
        says = f"says {_short(found.predicted, 16)} ({found.predicted_probability:.1%})"
        sheet.text(x, y + PANEL + 0.04 + LINE, says, color="#A03C00")


def _short(name: str, length: int) -> str:
    """The name of a class, of its synonyms the first alone where there is no room for all."""
    return name if len(name) <= length else shortened(name.split(",")[0], length)


def _coloured(share: Array, gray: Array) -> Array:
    """Values [H, W] in [0, 1] as colours over a gray image [H, W]: [H, W, 3]."""
    from matplotlib import colormaps

    # Mixed here, since matplotlib applies an image's transparency twice in SVG files.
    return OPACITY * colormaps[COLOURS](share)[..., :3].astype(np.float32) + (1 - OPACITY) * gray[..., None]


def _draw_legend(sheet: Sheet, x: float, y: float) -> None:
    """Draw which colour a value has, over a middle gray."""
    axes = sheet.axes(x + 0.25, y, 0.16, PANEL)
    values = np.linspace(1, 0, 128, dtype=np.float32)[:, None]
    axes.imshow(_coloured(values, np.full_like(values, 0.5)), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=[], yticks=[0, 0.5, 1])
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=TEXT - 1, length=2)
    axes.set_ylabel("share of the map's largest value", fontsize=TEXT - 1, color=DARK)
    axes.yaxis.set_label_position("left")


# First-layer filters --------------------------------------------------------------------------------------------------


def draw_filters(layers: Sequence[FirstLayer], path: Path) -> None:
    """Draw the filters of first convolutions, side by side.

    Each filter is scaled to its own largest weight; mid-gray is zero. Filters of three channels are drawn in colour,
    others as the mean over their channels. Of more than 64 filters, those of the largest norm are drawn.

    Args:
        layers: one for each network.
        path: the file, ``.png`` or ``.svg``; replaced whole.

    Raises:
        DataError: another ending, or a file that cannot be written.
    """
    side, apart, gap, title = 0.52, 0.06, 0.6, 0.85
    shown = [_chosen(layer.filters) for layer in layers]
    across = [math.ceil(math.sqrt(len(filters))) for filters in shown]
    widths = [max(3.2, count * (side + apart)) for count in across]
    down = max(math.ceil(len(filters) / count) for filters, count in zip(shown, across, strict=True))
    width = 2 * MARGIN + sum(widths) + gap * (len(layers) - 1)
    caption = (
        "Filters of the first convolution, each scaled to its own largest weight; mid-gray is zero. Filters of three "
        "channels are in colour, others the mean over their channels."
    )
    below = fitted([caption], width - 2 * MARGIN, TEXT)
    height = title + down * (side + apart) + 0.15 + len(below) * LINE + MARGIN
    sheet, x = Sheet(width, height), MARGIN
    for layer, filters, count, wide in zip(layers, shown, across, widths, strict=True):
        sheet.text(x, 0.35, "\n".join(broken(layer.network, wide, TEXT * 1.15)[:2]), fontweight="bold", va="center")
        number, high, broad, channels = layer.filters.shape
        some = f"{len(filters)} of {number}" if len(filters) < number else f"{number}"
        sheet.text(x, 0.54, f"{layer.layer}: {some} filters of {high}×{broad}, {channels} channels")
        for index, weights in enumerate(filters):
            row, column = divmod(index, count)
            sheet.image(x + column * (side + apart), title + row * (side + apart), side, _as_image(weights))
        x += wide + gap
    sheet.lines(MARGIN, height - MARGIN - len(below) * LINE + 0.08, below, color="#444444")
    save_figure(sheet, path, title="First-layer filters", caption=caption)


def _chosen(filters: Array) -> Array:
    """All filters, or as many of the largest norm as there is room for, in their order."""
    norms = np.linalg.norm(filters.reshape(len(filters), -1), axis=1)
    return filters[np.sort(np.argsort(-norms, kind="stable")[:FILTERS])]


def _as_image(weights: Array) -> Array:
    """A filter [h, w, C] as an image in [0, 1]."""
    channels = weights if weights.shape[2] in (1, 3) else weights.mean(2, keepdims=True)
    most = float(np.abs(channels).max())
    return 0.5 + channels / (2 * most) if most else np.full_like(channels, 0.5)
