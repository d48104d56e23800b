"""The figure of a run: accuracy and loss over epochs, and where it looked, with the curriculum's stages shaded."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

__all__ = ["draw_arms", "draw_curves"]

NAMED_STAGES = 8
"""Stages that get a place in the legend; a curriculum that draws a new resolution each epoch has too many for all."""


def draw_curves(metrics: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Draw one run; of a network with glimpses also how many locations it attended, against what it aimed at.

    Args:
        metrics: the lines of ``metrics.jsonl``.
        path: the PNG file, replaced whole.
        title: stands above.
    """
    figure, (above, *others) = _figure(3 if any("attended" in line for line in metrics) else 2)
    epochs = [line["epoch"] + 1 for line in metrics]
    for axes, quantity in ((above, "accuracy"), (others[0], "loss")):
        for part, colour in (("train", "tab:grey"), ("validation", "tab:blue")):
            values = [line[f"{part}_{quantity}"] for line in metrics]
            if values[0] is not None:
                axes.plot(epochs, values, marker=".", color=colour, label=part)
        axes.set_ylabel(quantity)
        _shade(axes, metrics)
    above.legend(loc="lower right", fontsize="small")
    if len(others) > 1:
        _draw_attended(others[1], metrics)
    others[-1].set_xlabel("epoch")
    figure.suptitle(title)
    _save(figure, path)


def draw_arms(arms: dict[str, list[list[dict[str, Any]]]], path: Path, *, title: str) -> None:
    """Draw the validation accuracy and loss of several arms over epochs, the mean over runs with its spread.

    Args:
        arms: the lines of each run's ``metrics.jsonl``, a list of runs by the arm's name.
        path: the PNG file, replaced whole.
        title: stands above.
    """
    figure, axes = _figure(2, across=True, sharey=False)
    for quantity, place in zip(("accuracy", "loss"), axes, strict=True):
        for name, runs in arms.items():
            values = [[line[f"validation_{quantity}"] for line in run] for run in runs]
            epochs = range(1, len(values[0]) + 1)
            mean = [statistics.mean(epoch) for epoch in zip(*values, strict=True)]
            place.plot(epochs, mean, marker=".", label=f"{name} (n={len(runs)})")
            low, high = ([extreme(epoch) for epoch in zip(*values, strict=True)] for extreme in (min, max))
            place.fill_between(epochs, low, high, alpha=0.2, linewidth=0)
        place.set(xlabel="epoch", ylabel=f"validation {quantity}")
    axes[0].legend(loc="lower right")
    figure.suptitle(f"{title}: mean, and least to greatest")
    _save(figure, path)


def _draw_attended(axes: Any, metrics: list[dict[str, Any]]) -> None:
    """Draw the mean count of attended locations; stages without any choice leave a gap."""
    epochs = [line["epoch"] + 1 for line in metrics]
    for name, label, style in (
        ("attended", "attended", {"marker": ".", "color": "tab:orange"}),
        ("attended_target", "aimed at", {"linestyle": "--", "color": "black"}),
    ):
        axes.plot(epochs, [line.get(name, float("nan")) for line in metrics], label=label, **style)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("locations per image")
    _shade(axes, metrics, named=False)
    axes.legend(loc="lower right", fontsize="small")


def _figure(parts: int, *, across: bool = False, sharey: bool = True) -> tuple[Any, Any]:
    """A figure without the global state of pyplot, which belongs to the user."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4) if across else (7, 3 * parts), layout="constrained")
    FigureCanvasAgg(figure)
    shape: dict[str, Any] = {"ncols": parts, "sharey": sharey} if across else {"nrows": parts, "sharex": True}
    return figure, figure.subplots(**shape)


def _shade(axes: Any, metrics: list[dict[str, Any]], *, named: bool = True) -> None:
    """Shade epochs by their stage, full images excepted; the shades are named in the legend where wanted."""
    from matplotlib import colormaps

    shades: dict[str, Any] = {}
    for stage, lines in itertools.groupby(metrics, key=lambda line: line["stage"]):
        epochs = [line["epoch"] + 1 for line in lines]
        if stage != "full":
            label = None if not named or stage in shades or len(shades) >= NAMED_STAGES else stage
            shade = shades.setdefault(stage, colormaps["Set2"](len(shades) % 8))
            span = (epochs[0] - 0.5, epochs[-1] + 0.5)
            axes.axvspan(*span, color=shade, alpha=0.35, linewidth=0, label=label)
    axes.set_xlim(0.5, max(line["epoch"] for line in metrics) + 1.5)


def _save(figure: Any, path: Path) -> None:
    temporary = path.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=120)
    temporary.replace(path)
