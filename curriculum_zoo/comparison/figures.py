"""Figures of a report: accuracy against FLOPs, validation curves, and accuracy under conditions, all with intervals."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .conditions import pixels_of
from .findings import Summary
from .outcomes import FinishedCell
from .report import ArmReport, Report
from .statistics import summarize

__all__ = ["COLOURS", "draw_figures"]

COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
"""Distinguishable with every kind of colour vision (Okabe and Ito 2008); the first one is the baseline's."""
BANDED = 3
"""Runs from which on a line has the band of its interval; that of two is many times as wide as they differ."""
MARKERS = ("o", "s", "D", "v", "P", "X", "<", ">")

Captioned = tuple[str, str]
"""A figure's file and its caption."""


def draw_figures(report: Report, folder: Path) -> list[Captioned]:
    """Draw what there is to see, as PNG and as SVG; file and caption of each PNG.

    Args:
        report: of a comparison.
        folder: where to.
    """
    if not report.arms:
        return []
    drawn = [_accuracy_by_flops(report, folder)]
    if all(line["validation_accuracy"] is not None for arm in report.arms for run in arm.runs for line in run.metrics):
        drawn.append(_curves(report, folder))
    if len(report.statement.grid.evaluate) > 1 and any(arm.conditions for arm in report.arms):
        drawn.append(draw_conditions(report, folder))
    if len(_resolutions(report)) > 1:
        drawn.append(_resolution_sweep(report, folder))
    return drawn


def _accuracy_by_flops(report: Report, folder: Path) -> Captioned:
    figure, places = _figure(report)
    for axes, block in zip(places, _blocks(report), strict=True):
        unit, prefix = _unit(arm.flops for arm in block)
        front = sorted(
            (arm.flops / unit, arm.accuracy.mean) for arm in block if arm.baseline is None or arm.kind == "matched"
        )
        if len(front) > 1:
            costs, values = zip(*front, strict=True)
            label = "baseline at several lengths"
            axes.plot(costs, [100 * value for value in values], color="#888888", linestyle="--", zorder=1, label=label)
        for arm, colour, marker in _styled(block):
            _point(axes, arm.flops / unit, arm.accuracy, colour, marker, arm.label)
            seeds = [100 * run.accuracy(report.statement.grid.figure) for run in arm.runs]
            axes.plot([arm.flops / unit] * len(seeds), seeds, ".", color=colour, alpha=0.4, markersize=4)
        _zoom(axes, [100 * run.accuracy(report.statement.grid.figure) for arm in block for run in arm.runs])
        axes.set(
            xlabel=f"training cost ({prefix}FLOPs)",
            ylabel=f"test accuracy of the {report.statement.grid.figure} epoch (%)",
        )
        axes.set_xlim(left=0)
        axes.legend(fontsize="small", loc="best")
    caption = f"Test accuracy against training FLOPs: mean, {_spread(report)}, and single seeds."
    return _save(figure, folder, "accuracy_by_flops", caption)


def _curves(report: Report, folder: Path) -> Captioned:
    blocks = _blocks(report)
    figure, places = _figure(report, rows=2)
    for number, block in enumerate(blocks):
        by_epoch, by_cost = places[number], places[number + len(blocks)]
        unit, prefix = _unit(arm.flops for arm in block)
        shown: list[float] = []
        for arm, colour, _ in _styled(block):
            length = min(len(run.metrics) for run in arm.runs)
            lines = [run.metrics[:length] for run in arm.runs]
            values = [[100 * line["validation_accuracy"] for line in run] for run in lines]
            costs = [statistics.fmean(line["flops"] for line in epoch) / unit for epoch in zip(*lines, strict=True)]
            _lines(by_epoch, range(1, length + 1), values, colour, arm, report)
            _lines(by_cost, costs, values, colour, arm, report)
            shown += itertools.chain(*values)
        for axes in (by_epoch, by_cost):
            _zoom(axes, shown)
            axes.set_ylabel("validation accuracy (%)")
        by_epoch.set_xlabel("epoch")
        by_cost.set_xlabel(f"training cost so far ({prefix}FLOPs)")
        by_epoch.legend(fontsize="small", loc="lower right")
    caption = f"Validation accuracy over epochs, and over FLOPs spent so far: mean, {_band_or_runs(report)}."
    return _save(figure, folder, "curves", caption)


def draw_conditions(report: Report, folder: Path, name: str = "conditions") -> Captioned:
    """Draw the accuracy of all arms under each condition, one below the other, with what they cost.

    Args:
        report: of a comparison with conditions.
        folder: where to.
        name: of the file, without its ending.
    """
    names = [condition.name for condition in report.statement.grid.evaluate]
    blocks = [[arm for arm in block if arm.conditions] for block in _blocks(report)]
    lines = max(map(len, blocks))
    figure, places = _figure(report, width=7.5, height=1.0 + len(names) * (0.2 + 0.25 * lines))
    for axes, block in zip(places, blocks, strict=True):
        values = [
            100 * run.accuracy_under(name) for arm in block for name in arm.conditions for run in _under(arm, name)
        ]
        low, high = min(values, default=0.0), max(values, default=100.0)
        edge = 0.15 * (high - low) or 1.0
        axes.set_xlim(low - edge, high + edge)
        for number, styled in enumerate(_styled(block)):
            shift = 0.75 * ((number + 0.5) / len(block) - 0.5)
            _conditions_of(axes, names, *styled, shift, named=_roomiest(block, names))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.hlines(
            [place + 0.5 for place in range(len(names) - 1)],
            0,
            1,
            transform=axes.get_yaxis_transform(),
            color="#DDDDDD",
        )
        few = any(len(arm.runs) < BANDED for arm in block)
        marks = (
            "means, single seeds as bars" if few else f"means and {100 * report.statement.grid.confidence:g} % interval"
        )
        axes.set_xlabel(f"test accuracy of the {report.statement.grid.figure} epoch (%): {marks}")
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    caption = f"Test accuracy under each condition: mean, {_band_or_runs(report)}."
    return _save(figure, folder, name, caption)


def _conditions_of(
    axes: Any, names: list[str], arm: ArmReport, colour: str, marker: str, shift: float, named: str | None
) -> None:
    """Draw one arm's accuracy under each condition: its mean with the number, and its interval or its runs."""
    left, right = axes.get_xlim()
    for place, name in enumerate(names):
        if name not in arm.conditions:
            continue
        summary = arm.conditions[name]
        mean, height = 100 * summary.mean, place + shift
        ends = [100 * run.accuracy_under(name) for run in _under(arm, name)]
        if len(ends) < BANDED:
            axes.plot(ends, [height] * len(ends), "|", color=colour, markersize=9)
        elif summary.interval is not None:
            ends = [max(left, 100 * summary.interval.low), min(right, 100 * summary.interval.high)]
            axes.hlines(height, *ends, color=colour)
        axes.plot(mean, height, marker, color=colour)
        words = f"{arm.label}, n={summary.n}, {arm.relative_flops:.2f}× FLOPs: " if name == named else ""
        before = mean > (left + right) / 2
        axes.annotate(
            f"{words}{mean:.1f}",
            (min([mean, *ends]) if before else max([mean, *ends]), height),
            xytext=(-7 if before else 7, 0),
            textcoords="offset points",
            ha="right" if before else "left",
            va="center",
            fontsize="small",
        )


def _under(arm: ArmReport, condition: str) -> list[FinishedCell]:
    """An arm's runs that were evaluated under a condition."""
    return [run for run in arm.runs if condition in run.evaluations]


def _roomiest(block: Sequence[ArmReport], names: list[str]) -> str | None:
    """The condition beside whose marks most room is left for words: the hardest one."""
    shared = [name for name in names if all(name in arm.conditions for arm in block)]
    return min(shared, key=lambda name: sum(arm.conditions[name].mean for arm in block), default=None)


def _resolution_sweep(report: Report, folder: Path) -> Captioned:
    figure, places = _figure(report)
    sizes = _resolutions(report)
    for axes, block in zip(places, _blocks(report), strict=True):
        shown: list[float] = []
        for arm, colour, marker in _styled(block):
            names = sorted(sizes.keys() & arm.conditions.keys(), key=sizes.__getitem__)
            if names:
                values = [[100 * run.accuracy_under(name) for name in names] for run in arm.runs]
                _lines(axes, [sizes[name] for name in names], values, colour, arm, report, marker)
                shown += itertools.chain(*values)
        _zoom(axes, shown)
        axes.set(xlabel="test resolution (share of the full side)", ylabel="test accuracy (%)")
        axes.legend(fontsize="small", loc="lower right")
    caption = f"Test accuracy against test resolution: mean, {_band_or_runs(report)}."
    return _save(figure, folder, "resolutions", caption)


def _resolutions(report: Report) -> dict[str, float]:
    """Share of the full side by name, of the conditions that change nothing else."""
    full = 10_000  # shares of it are exact to four digits
    shares = {}
    for condition in report.statement.grid.evaluate:
        changed = condition.corruption or condition.blur or condition.enlarge
        if not changed and not isinstance(condition.resolution, int):
            shares[condition.name] = pixels_of(condition, full) / full
    return shares


def _blocks(report: Report) -> list[list[ArmReport]]:
    """Arms with the same baseline, that one first."""
    labels = dict.fromkeys(arm.baseline or arm.label for arm in report.arms)
    return [
        sorted(
            (arm for arm in report.arms if label in (arm.label, arm.baseline)), key=lambda arm: arm.baseline is not None
        )
        for label in labels
    ]


def _styled(block: Sequence[ArmReport]) -> Iterable[tuple[ArmReport, str, str]]:
    """Arms with colour and marker each; shorter trainings of the baseline are grey."""
    styles = zip(itertools.cycle(COLOURS[1:]), itertools.cycle(MARKERS[1:]), strict=False)
    for arm in block:
        if arm.baseline is None:
            yield arm, COLOURS[0], MARKERS[0]
        elif arm.kind == "matched":
            yield arm, "#888888", MARKERS[0]
        else:
            yield arm, *next(styles)


def _point(axes: Any, place: float, summary: Summary, colour: str, marker: str, label: str | None) -> None:
    bars = None
    if summary.interval is not None:
        bars = [[100 * (summary.mean - summary.interval.low)], [100 * (summary.interval.high - summary.mean)]]
    named = f"{label} (n={summary.n})" if label else None
    axes.errorbar(place, 100 * summary.mean, bars, fmt=marker, color=colour, capsize=3, label=named)


def _lines(
    axes: Any,
    places: Sequence[float],
    runs: list[list[float]],
    colour: str,
    arm: ArmReport,
    report: Report,
    marker: str | None = None,
) -> None:
    """An arm's mean, with its interval for three runs or more, and with each run for fewer."""
    confidence = report.statement.grid.confidence
    summaries = [summarize(values, confidence=confidence) for values in zip(*runs, strict=True)]
    style = "--" if arm.kind == "matched" else "-"
    means = [summary.mean for summary in summaries]
    axes.plot(places, means, style, color=colour, marker=marker, label=f"{arm.label} (n={len(runs)})")
    if len(runs) < BANDED:
        for run in runs:
            axes.plot(places, run, style, color=colour, alpha=0.4, linewidth=0.7)
        return
    low = [summary.interval.low if summary.interval else summary.mean for summary in summaries]
    high = [summary.interval.high if summary.interval else summary.mean for summary in summaries]
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)


def _zoom(axes: Any, values: list[float]) -> None:
    """Show what was measured; intervals of two seeds are many times as wide, and may leave the picture."""
    low, high = min(values), max(values)
    edge = 0.25 * (high - low) or 1.0
    axes.set_ylim(max(0, low - edge), min(100, high + edge))


def _spread(report: Report) -> str:
    return f"{100 * report.statement.grid.confidence:g} % intervals of Student's t over seeds"


def _band_or_runs(report: Report) -> str:
    return f"{_spread(report)}; single runs where there are fewer than three"


def _unit(flops: Iterable[float]) -> tuple[float, str]:
    largest = max(flops)
    return next(((size, name) for size, name in ((1e15, "P"), (1e12, "T"), (1e9, "G")) if largest >= size), (1e6, "M"))


def _figure(report: Report, *, rows: int = 1, width: float = 5.5, height: float = 4.2) -> tuple[Any, list[Any]]:
    """A figure with a column for each block, without the global state of pyplot, which belongs to the user."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(_blocks(report))
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    if columns > 1:
        for axes, block in zip(places, _blocks(report), strict=False):
            axes.set_title(block[0].label)
    return figure, places


def _save(figure: Any, folder: Path, name: str, caption: str) -> Captioned:
    for ending in ("svg", "png"):
        temporary = folder / f"{name}.tmp.{ending}"
        figure.savefig(temporary, dpi=120)
        temporary.replace(folder / f"{name}.{ending}")
    return f"{name}.png", caption
