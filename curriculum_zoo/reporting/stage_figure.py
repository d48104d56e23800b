"""The drawing of a `StageSheet`: a column of images for each stage above, and strips over the epochs below."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .figure_files import DARK, DARK_ONES, GREY, LINE, OKABE_ITO, TEXT, Sheet, fitted, save_figure, shortened
from .stage_sheet import COLUMNS, SeenStage, StageSheet

__all__ = ["caption_of", "draw_sheet"]

Item = TypeVar("Item")

LETTERS = "ABCDEFGH"
"""Of the drawn stages: they say beside the colours which column an epoch belongs to."""

# All lengths are in inches, sizes of fonts in points.
WIDTH, MARGIN, NAMES = 13.0, 0.3, 1.5  # of the sheet, round it, and left of the strips for what they show
LARGEST, TALLEST = 1.9, 8.0  # an image, and all that stand one below the other
BETWEEN, APART = 0.05, 0.28  # from one image to the next, and from one stage to the next
TITLE, BAR, BAND, STRIP, GAP, TICKS = 0.55, 0.09, 0.2, 0.62, 0.16, 0.45
SMALL = 7.5


@dataclass(frozen=True)
class _Places:
    """Where the stages stand.

    Attributes:
        across: images side by side in a stage.
        down: images one below the other.
        side: of an image.
    """

    across: int
    down: int
    side: float

    @classmethod
    def of(cls, stages: int, images: int) -> _Places:
        """Stages side by side, each with its images in as few rows as there is room for."""
        across = min(images, max(1, COLUMNS // stages))
        down = math.ceil(images / across)
        across = math.ceil(images / down)
        room = WIDTH - 2 * MARGIN - (stages - 1) * APART
        return cls(across, down, min(LARGEST, TALLEST / down, room / stages / across - BETWEEN))

    @property
    def width(self) -> float:
        """Of a stage."""
        return self.across * (self.side + BETWEEN) - BETWEEN

    def x(self, stage: int) -> float:
        """The left edge of a stage."""
        return MARGIN + stage * (self.width + BETWEEN + APART)


def draw_sheet(sheet: StageSheet, path: Path) -> None:
    """Draw a sheet into a file.

    Args:
        sheet: what to draw.
        path: the file, ``.png`` or ``.svg``; replaced whole.

    Raises:
        DataError: another ending, or a file that cannot be written.
    """
    places = _Places.of(len(sheet.shown), len(sheet.images))
    words = [_words(stage, letter, places.width) for stage, letter in zip(sheet.shown, LETTERS, strict=False)]
    strips = _strips(sheet)
    caption = caption_of(sheet)
    below = fitted([caption], WIDTH - 2 * MARGIN, TEXT)
    head = TITLE + BAR + 0.08 + max(len(name) + len(lines) for name, lines in words) * LINE + 0.08
    images = places.down * (places.side + BETWEEN)
    bars = BAND + len(strips) * (GAP + STRIP) + TICKS
    height = head + images + 0.3 + bars + 0.15 + len(below) * LINE + MARGIN
    canvas = Sheet(WIDTH, height)
    title = f"{shortened(sheet.curriculum, 90)}: what the network sees, stage by stage"
    canvas.text(MARGIN, 0.3, title, fontsize=13, fontweight="bold", va="center")
    for number, (stage, (name, lines)) in enumerate(zip(sheet.shown, words, strict=True)):
        canvas.bar(places.x(number), TITLE, places.width, BAR, OKABE_ITO[number])
        top = TITLE + BAR + 0.08
        canvas.lines(places.x(number), top, name, fontweight="bold")
        canvas.lines(places.x(number), top + len(name) * LINE, lines)
        _draw_images(canvas, stage, places, number, head)
    top = head + images + 0.3
    _draw_band(canvas, sheet, top)
    for number, strip in enumerate(strips):
        strip.draw(canvas, sheet, top + BAND + GAP + number * (STRIP + GAP), last=number == len(strips) - 1)
    canvas.lines(MARGIN, top + bars + 0.15, below, color="#444444")
    save_figure(canvas, path, title=title, caption=caption)


# Above: the stages ----------------------------------------------------------------------------------------------------


def _words(stage: SeenStage, letter: str, width: float) -> tuple[list[str], list[str]]:
    """The name of a stage and what else is said of it, in lines that fit above its images."""
    side = f"{stage.pixels} px" if stage.name != f"{stage.pixels} px" else ""
    frozen = f"frozen: {stage.frozen}" if stage.frozen else ""
    view = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\w)(?=\()", " ", stage.view).lower()  # LowFrequencyCrop(12)
    notes = stage.notes if stage.notes != stage.name else ""
    name = fitted([f"{letter}: {stage.name}"], width, TEXT * 1.2)  # bold letters are wider
    return name, fitted([side, epochs_in_words(stage.epochs), view, frozen, notes], width, TEXT)


def epochs_in_words(epochs: Sequence[int]) -> str:
    """Epochs in words, counted from 1: whole runs of them where there are few, else their number and first ones."""
    runs: list[list[int]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][-1] + 1:
            runs[-1].append(epoch)
        else:
            runs.append([epoch])
    spans = [f"{run[0] + 1}" if len(run) == 1 else f"{run[0] + 1}–{run[-1] + 1}" for run in runs]
    if len(spans) > 3:
        return f"{len(epochs)} epochs: {', '.join(spans[:3])}, …"
    return ("epochs " if len(epochs) > 1 else "epoch ") + ", ".join(spans)


def _draw_images(canvas: Sheet, stage: SeenStage, places: _Places, number: int, top: float) -> None:
    assert stage.seen is not None
    for index, image in enumerate(stage.seen):
        row, column = divmod(index, places.across)
        x = places.x(number) + column * (places.side + BETWEEN)
        canvas.image(x, top + row * (places.side + BETWEEN), places.side, image.permute(1, 2, 0).numpy())


# Below: strips over the epochs ----------------------------------------------------------------------------------------


def _draw_band(canvas: Sheet, sheet: StageSheet, y: float) -> None:
    """Draw which stage each epoch has, with its letter where there is room."""
    colours = _colours(sheet)
    letters = dict(zip(OKABE_ITO, LETTERS, strict=True))
    width = WIDTH - 2 * MARGIN - NAMES
    axes = canvas.axes(MARGIN + NAMES, y, width, BAND)
    axes.set(xlim=(0.5, len(colours) + 0.5), ylim=(0, 1))
    axes.axis("off")
    for first, length, colour in _runs(colours):
        axes.bar(first + 0.5, 1, width=length, align="edge", color=colour, linewidth=0)
        if length * width / len(colours) > 0.09 and colour in letters:
            ink = "white" if colour in DARK_ONES else DARK
            axes.text(
                first + (length + 1) / 2, 0.46, letters[colour],
                ha="center", va="center", fontsize=SMALL, fontweight="bold", color=ink,
            )  # fmt: skip
    canvas.text(MARGIN, y + BAND / 2, "stage", va="center", fontsize=SMALL + 0.5)


@dataclass(frozen=True)
class _Strip:
    """One quantity over the epochs.

    Attributes:
        name: what it is, with its unit, as the axis is named.
        values: by epoch; None where the curriculum leaves it to the run.
        top: the largest value of the axis.
        label: how a value is written.
    """

    name: str
    values: tuple[float | None, ...]
    top: float
    label: str = "{:.0f}"

    def draw(self, canvas: Sheet, sheet: StageSheet, y: float, *, last: bool) -> None:
        """Draw bars in the colours of the stages, with values, and the epochs below the last strip."""
        epochs = len(self.values)
        width = WIDTH - 2 * MARGIN - NAMES
        axes = canvas.axes(MARGIN + NAMES, y, width, STRIP)
        # One bar for equal epochs: between bars side by side, viewers of SVG files show seams.
        for first, length, (colour, value) in _runs(list(zip(_colours(sheet), self.values, strict=True))):
            axes.bar(first + 0.5, value or 0, width=length, align="edge", color=colour, linewidth=0)
        for first, length, value in _runs(self.values):
            text = "the run's own" if value is None else self.label.format(value)
            if length * width / epochs > 0.085 * len(text):
                style = {"ha": "center", "va": "bottom", "fontsize": SMALL, "color": DARK}
                axes.text(first + (length + 1) / 2, value or 0, text, **style)
        axes.set(xlim=(0.5, epochs + 0.5), ylim=(0, 1.28 * self.top), yticks=[0, self.top])
        axes.set_yticklabels(["0", self.label.format(self.top)], fontsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=SMALL, labelbottom=last, length=3 if last else 0)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        canvas.text(MARGIN, y + STRIP / 2, self.name, va="center", fontsize=SMALL + 0.5)
        if last:
            axes.set_xlabel("epoch", fontsize=TEXT, color=DARK)


def _strips(sheet: StageSheet) -> list[_Strip]:
    """Resolution and cost, and what else the curriculum changes."""
    percent = tuple(100 * cost for cost in sheet.costs)
    cost = f"cost of an epoch\n(% of a full one)\nmean {100 * sheet.relative_cost:.3g} %"
    strips = [
        _Strip("resolution\n(px)", sheet.resolutions, sheet.image_size),
        _Strip(cost, percent, max(100.0, *percent)),
    ]
    if sheet.frozen is not None and any(sheet.frozen):
        strips.append(_Strip("frozen\n(% of parameters)", tuple(100 * value for value in sheet.frozen), 100.0))
    if any(strength is not None for strength in sheet.strengths):
        strips.append(_Strip("augmentation\n(strength, 0–10)", sheet.strengths, 10.0, "{:.3g}"))
    return strips


def _colours(sheet: StageSheet) -> list[str]:
    """The colour of each epoch's stage; grey of those that are not drawn."""
    colours = [GREY] * len(sheet.costs)
    for stage, colour in zip(sheet.shown, OKABE_ITO, strict=False):
        for epoch in stage.epochs:
            colours[epoch] = colour
    return colours


def _runs(items: Sequence[Item]) -> list[tuple[int, int, Item]]:
    """First index, length and item of each run of equal items."""
    runs, first = [], 0
    for item, group in itertools.groupby(items):
        length = len(list(group))
        runs.append((first, length, item))
        first += length
    return runs


# The caption ----------------------------------------------------------------------------------------------------------


def caption_of(sheet: StageSheet) -> str:
    """What a sheet shows, in sentences."""
    size = f"{sheet.image_size}×{sheet.image_size} px"
    seen = "it" if len(sheet.images) == 1 else "them"
    sentences = [
        f"{sheet.source or _count(len(sheet.images), 'image')} ({size}) as the network sees {seen} in the first epoch "
        "of each stage, at the stage's resolution, enlarged without interpolation.",
        *_left_out(sheet),
        f"Cost is counted from {sheet.model}: FLOPs of a training image relative to full resolution with every "
        "parameter learning."
        if sheet.counted
        else "Cost is the number of pixels relative to full resolution; what freezing saves depends on the network.",
    ]
    if sheet.frozen is not None and not any(sheet.frozen):
        sentences.append("All parameters learn in all epochs.")
    if any(sheet.strengths):
        sentences.append("Where a stage augments at random, one draw is shown.")
    return " ".join(sentences)


def _left_out(sheet: StageSheet) -> list[str]:
    missing = [stage for stage in sheet.stages if stage.seen is None]
    if not missing:
        return []
    names = ", ".join(f"{stage.name} ({epochs_in_words(stage.epochs)})" for stage in missing[:4])
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    return [f"Left out, and grey below: {_count(len(missing), 'stage')} of {len(sheet.stages)}: {names}{more}."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
