"""Charts of one run: its curves and timeline with the stages shaded, and what its network confuses and is sure of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..evaluation.calibration import Calibration
from ..evaluation.examination import Examination
from .chart import FONT, INK, MUTED, SERIES, Chart, canvas, finish, label_lines

__all__ = ["Stage", "confusion_chart", "curves_chart", "reliability_chart", "stages_of", "timeline_chart"]

Lines = Sequence[Mapping[str, Any]]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

LARGEST_MATRIX = 120
"""Cells across of a drawn confusion matrix; of more classes several share a cell."""


@dataclass(frozen=True)
class Stage:
    """What the epochs of one stage have in common, and what they took.

    Attributes:
        letter: that the figures call it by; empty where there are more stages than letters.
        name: as the curriculum calls it.
        pixels: side of its images.
        spans: first and last of each unbroken run of its epochs, counted from 1.
        epochs: how many it has.
        flops: forward and backward FLOPs of them.
        relative_flops: those as a share of what as many epochs at full resolution take.
        seconds: time spent training.
        peak_memory: most memory in use, in bytes; None where it is not known.
        colour: of its shade.
    """

    letter: str
    name: str
    pixels: int
    spans: tuple[tuple[int, int], ...]
    epochs: int
    flops: float
    relative_flops: float
    seconds: float
    peak_memory: int | None
    colour: str


def stages_of(lines: Lines) -> list[Stage]:
    """Return the stages of a run in order of their first epochs.

    Args:
        lines: those of ``metrics.jsonl``.
    """
    zero = {"flops": 0, "full_flops": 0, "seconds": 0.0}
    by_stage: dict[tuple[str, int], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for before, line in itertools.pairwise([zero, *lines]):
        by_stage.setdefault((line["stage"], line["image_size"]), []).append((before, line))
    stages = []
    for number, ((name, pixels), pairs) in enumerate(by_stage.items()):
        spent = {key: sum(line[key] - before[key] for before, line in pairs) for key in zero}
        memory = [line["peak_memory_bytes"] for _, line in pairs if line.get("peak_memory_bytes")]
        stages.append(
            Stage(
                letter=LETTERS[number] if number < len(LETTERS) else "",
                name=name,
                pixels=pixels,
                spans=_spans([line["epoch"] + 1 for _, line in pairs]),
                epochs=len(pairs),
                flops=spent["flops"],
                relative_flops=spent["flops"] / spent["full_flops"] if spent["full_flops"] else math.nan,
                seconds=spent["seconds"],
                peak_memory=max(memory, default=None),
                colour=SERIES[number % len(SERIES)],
            )
        )
    return stages


def _spans(epochs: Sequence[int]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    for epoch in epochs:
        if spans and epoch == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], epoch)
        else:
            spans.append((epoch, epoch))
    return tuple(spans)


def curves_chart(lines: Lines, name: str) -> Chart:
    """Draw accuracy and loss over epochs, of training and validation images, with the stages shaded.

    Args:
        lines: those of ``metrics.jsonl``, one at least.
        name: of the chart.
    """
    figure, (above, below) = canvas(4.3, rows=2)
    epochs = [line["epoch"] + 1 for line in lines]
    marker = "." if len(lines) <= 40 else ""
    for axes, quantity, scale in ((above, "accuracy", 100), (below, "loss", 1)):
        ends = []
        for part, colour in (("train", MUTED), ("validation", SERIES[0])):
            values = [line[f"{part}_{quantity}"] for line in lines]
            if values[0] is not None:
                values = [scale * value for value in values]
                axes.plot(epochs, values, marker=marker, color=colour, linewidth=1.4)
                ends.append((epochs[-1], values[-1], part, colour))
        _shade(axes, lines)
        axes.set_ylim(axes.get_ylim())
        label_lines(axes, ends)
    above.set_ylabel("accuracy (%)")
    below.set(ylabel="cross entropy (nats)", xlabel="epoch")
    _letter(above, lines)
    caption = (
        "Accuracy and loss of each epoch, one run. Training figures are of the images as the curriculum shows them, so "
        "they are not to be held against validation's. Shades are stages; their letters stand in the cost account."
    )
    return finish(figure, name, "Accuracy and loss over epochs", caption)


def timeline_chart(lines: Lines, name: str) -> Chart:
    """Draw resolution, cost and learning rate of each epoch, with the stages shaded.

    Args:
        lines: those of ``metrics.jsonl``, one at least.
        name: of the chart.
    """
    attended = any("attended" in line for line in lines)
    figure, axes = canvas(5.2 if attended else 4.3, rows=4 if attended else 3)
    epochs = [line["epoch"] + 1 for line in lines]
    zero = {"flops": 0, "full_flops": 0}
    costs = [
        100 * (line["flops"] - before["flops"]) / max(1, line["full_flops"] - before["full_flops"])
        for before, line in itertools.pairwise([zero, *lines])
    ]
    strips = [([line["image_size"] for line in lines], "side (px)"), (costs, "cost (%)")]
    strips.append(([line["lr"] for line in lines], "learning rate"))
    if attended:
        strips.append(([line.get("attended", math.nan) for line in lines], "locations"))
    for place, (values, label) in zip(axes, strips, strict=True):
        place.step(epochs, values, where="mid", color=INK, linewidth=1.4)
        place.set_ylabel(label)
        place.set_ylim(bottom=0)
        _shade(place, lines)
    axes[-1].set_xlabel("epoch")
    _letter(axes[0], lines)
    caption = (
        "What each epoch was trained with: side of the images, FLOPs as a share of an epoch's at full resolution, "
        "and the largest learning rate at its end" + ("; locations attended per image." if attended else ".")
    )
    return finish(figure, name, "Timeline of the curriculum", caption)


def _shade(axes: Any, lines: Lines) -> None:
    """Shade each stage; a run without any change has none."""
    stages = stages_of(lines)
    if len(stages) > 1:
        for stage in stages:
            spans = [(first - 0.5, last - first + 1) for first, last in stage.spans]
            transform = axes.get_xaxis_transform()
            shade = {"facecolor": stage.colour, "alpha": 0.16, "linewidth": 0, "transform": transform, "zorder": 0.5}
            axes.broken_barh(spans, (0, 1), **shade)
    axes.set_xlim(0.5, len(lines) + 0.5)
    axes.grid(visible=False, axis="x")


def _letter(axes: Any, lines: Lines) -> None:
    """Write the letters of the stages above axes, where there is room."""
    stages = stages_of(lines)
    for stage in stages if len(stages) > 1 else ():
        for first, last in stage.spans:
            if (last - first + 1) / len(lines) > 0.03:
                middle, transform = (first + last) / 2, axes.get_xaxis_transform()
                axes.text(middle, 1.02, stage.letter, transform=transform, ha="center", fontsize=FONT - 1, color=INK)


def confusion_chart(examination: Examination, name: str) -> Chart:
    """Draw a confusion matrix; of many classes neighbours in the data set's order share a cell.

    Args:
        examination: of a network.
        name: of the chart.
    """
    from matplotlib.colors import LinearSegmentedColormap

    classes = len(examination.classes)
    together = math.ceil(classes / LARGEST_MATRIX)
    counts = _pooled(examination.matrix, together)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    figure, [axes] = canvas(4.4)
    # From nothing to a colour, so that light and dark pages show through, and numbers on it can be read on both.
    shade = LinearSegmentedColormap.from_list("shade", [(0, 0.45, 0.7, 0), (0, 0.45, 0.7, 0.55)])
    # A power below 1 makes single mistakes seen beside hundreds of right answers.
    end = len(shares) * together - 0.5
    look = {"cmap": shade, "vmin": 0, "vmax": 1, "interpolation": "nearest", "aspect": "equal"}
    axes.imshow(shares.pow(0.5).numpy(), extent=(-0.5, end, end, -0.5), **look)
    axes.grid(visible=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    if classes <= 25:
        names = [_short(label) for label in examination.classes]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=FONT - 1.5, parse_math=False)
        axes.set_yticks(range(classes), names, fontsize=FONT - 1.5, parse_math=False)
    if classes <= 12:
        for row, column in itertools.product(range(classes), repeat=2):
            if count := int(counts[row, column]):
                size = FONT - 1.5 if count < 1000 else FONT - 3
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=size, color=INK)
    pooled = "" if together == 1 else f" Each cell is of {together} × {together} classes, in the data set's order."
    caption = (
        f"Test images by true and predicted class, n={examination.scores.images}. Shade is the square root of the "
        f"share of a row's images.{pooled}"
    )
    return finish(figure, name, "Confusion matrix", caption)


def _pooled(matrix: Tensor, together: int) -> Tensor:
    """Sums over cells of so many classes each way, float64."""
    missing = -len(matrix) % together
    padded = torch.nn.functional.pad(matrix.double(), (0, missing, 0, missing))
    cells = len(padded) // together
    return padded.view(cells, together, cells, together).sum((1, 3))


def _short(label: str) -> str:
    return label if len(label) <= 14 else f"{label[:13].rstrip()}…"


def reliability_chart(calibration: Calibration, name: str) -> Chart:
    """Draw a reliability diagram: accuracy against confidence, with how many predictions each bin holds below.

    Args:
        calibration: of a network.
        name: of the chart.
    """
    figure, (above, below) = canvas(4.4, rows=2, ratios=(3, 1))
    bins = calibration.bins
    edges, width = [100 * each.low for each in bins], 100 / len(bins)
    filled = [each for each in bins if each.images]
    above.bar(edges, [100 * (each.accuracy or 0) for each in bins], width, align="edge", color=SERIES[0], alpha=0.45)
    above.plot([0, 100], [0, 100], color=MUTED, linestyle="--", linewidth=1)
    confidences = [100 * each.confidence for each in filled if each.confidence is not None]
    accuracies = [100 * each.accuracy for each in filled if each.accuracy is not None]
    above.plot(confidences, accuracies, "o-", color=SERIES[0], markersize=3.5, linewidth=1.2)
    above.text(4, 96, "too cautious", fontsize=FONT - 1, color=MUTED, va="top")
    above.text(97, 3, "too sure", fontsize=FONT - 1, color=MUTED, ha="right")
    above.set(ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    images = sum(each.images for each in bins)
    below.bar(edges, [100 * each.images / images for each in bins], width, align="edge", color=MUTED, alpha=0.6)
    below.set(xlabel="confidence (%)", ylabel="images (%)")
    caption = (
        f"Accuracy in {len(bins)} bins of equal width of confidence, n={images}. A network whose confidence can be "
        "relied on lies on the dashed line. Expected calibration error (Guo et al. 2017): "
        f"{100 * calibration.expected_calibration_error:.2f} points."
    )
    return finish(figure, name, "Reliability diagram", caption)
