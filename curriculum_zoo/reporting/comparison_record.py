"""`ComparisonRecord`: what a comparison's report says, read from its ``report.json`` and the runs beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..runs.record import RunRecord
from .chart import MUTED, Chart, canvas, finish, label_lines, style

__all__ = ["REPORT", "STATEMENT", "ComparisonRecord", "arms_chart", "arms_curves_chart"]

STATEMENT, REPORT = "comparison.json", "report.json"


@dataclass(frozen=True)
class ComparisonRecord:
    """What a comparison's report says.

    Attributes:
        path: the comparison's folder.
        content: of ``report.json``, as `curriculum_zoo.comparison.document.report_to_dict` makes it.
    """

    path: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> ComparisonRecord:
        """Read the report of a comparison.

        Args:
            path: the comparison's folder.

        Raises:
            CheckpointError: there is no report, or it is damaged.
        """
        file = Path(path) / REPORT
        again = f"Write it with `curriculum-zoo compare {path} --show`."
        if not file.is_file():
            raise CheckpointError(f"{path} holds a comparison without a report: there is no {REPORT} in it. {again}")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            missing = {"arms", "cells", "grid", "stated", "changes"} - set(content)
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{file} is damaged: {error}. {again}") from error
        if missing:
            raise CheckpointError(f"{file} is damaged: it states no {', '.join(sorted(missing))}. {again}")
        return cls(Path(path), content)

    @property
    def arms(self) -> Sequence[Mapping[str, Any]]:
        """Its arms with their findings, those with finished runs."""
        found: Sequence[Mapping[str, Any]] = self.content["arms"]
        return found

    def runs(self, arm: Mapping[str, Any]) -> list[RunRecord]:
        """Return the finished runs of an arm that the report is about, by rising seed."""
        folders = [
            cell["folder"]
            for cell in self.content["cells"]
            if cell["arm"] == arm["label"] and cell["status"] == "finished" and cell["seed"] in arm["seeds"]
        ]
        return [RunRecord.read(self.path / folder) for folder in folders]

    @property
    def unfinished(self) -> list[Mapping[str, Any]]:
        """Cells that are not finished, or whose evaluation failed."""
        return [cell for cell in self.content["cells"] if cell["status"] != "finished" or cell["error"]]


def arms_chart(record: ComparisonRecord, name: str = "arms") -> Chart:
    """Draw test accuracy against training cost of all arms, with their intervals.

    Args:
        record: of a comparison with an arm at least.
        name: of the chart.
    """
    figure, [axes] = canvas(3.4)
    unit, prefix = _unit(max(arm["flops"] for arm in record.arms))
    ends, ns = [], set()
    for number, arm in enumerate(record.arms):
        colour, marker = (MUTED, "o") if arm["kind"] == "matched" else style(number)
        summary, interval = arm["accuracy"], arm["accuracy"]["interval"]
        mean, cost = 100 * summary["mean"], arm["flops"] / unit
        bars = None
        if interval is not None:
            bars = [[mean - 100 * interval["low"]], [100 * interval["high"] - mean]]
        axes.errorbar(cost, mean, bars, fmt=marker, color=colour, capsize=3, markersize=5)
        ends.append((cost, mean, arm["label"], colour))
        ns.add(summary["n"])
    means = [end[1] for end in ends]
    edge = max(0.5, 0.75 * (max(means) - min(means)))
    axes.set(xlabel=f"training cost ({prefix}FLOPs)", ylabel="test accuracy (%)")
    axes.set_xlim(0, axes.get_xlim()[1])
    axes.set_ylim(max(0, min(means) - edge), min(100, max(means) + edge))
    label_lines(axes, ends)
    grid = record.content["grid"]
    caption = (
        f"Test accuracy of the {grid['figure']} epoch's weights against training FLOPs: mean over seeds "
        f"(n={_range(ns)}) with {100 * grid['confidence']:g} % intervals of Student's t, which may leave the picture."
    )
    return finish(figure, name, "Accuracy against training cost", caption)


def arms_curves_chart(record: ComparisonRecord, name: str = "arm-curves") -> Chart | None:
    """Draw validation accuracy over epochs: each arm's mean, and least to greatest; None without validation.

    Args:
        record: of a comparison.
        name: of the chart.
    """
    figure, [axes] = canvas(3.4)
    ends, ns = [], set()
    for number, arm in enumerate(record.arms):
        colour, marker = (MUTED, "o") if arm["kind"] == "matched" else style(number)
        runs = [[line["validation_accuracy"] for line in run.metrics] for run in record.runs(arm)]
        if not runs or any(value is None for run in runs for value in run):
            return None
        by_epoch = [[100 * value for value in values] for values in zip(*runs, strict=False)]
        epochs, means = range(1, len(by_epoch) + 1), [sum(values) / len(values) for values in by_epoch]
        every = max(1, len(means) // 12)
        axes.plot(epochs, means, color=colour, marker=marker, markersize=3.5, markevery=every, linewidth=1.3)
        axes.fill_between(epochs, *zip(*((min(v), max(v)) for v in by_epoch), strict=True), color=colour, alpha=0.16,
                          linewidth=0)  # fmt: skip
        ends.append((len(by_epoch), means[-1], arm["label"], colour))
        ns.add(len(runs))
    axes.set(xlabel="epoch", ylabel="validation accuracy (%)")
    axes.set_ylim(axes.get_ylim())
    label_lines(axes, ends)
    caption = f"Validation accuracy after each epoch: mean over seeds (n={_range(ns)}), and least to greatest."
    return finish(figure, name, "Validation accuracy over epochs", caption)


def _range(ns: set[int]) -> str:
    return f"{min(ns)}" if len(ns) == 1 else f"{min(ns)} to {max(ns)}"


def _unit(flops: float) -> tuple[float, str]:
    return next((pair for pair in ((1e15, "P"), (1e12, "T"), (1e9, "G")) if flops >= pair[0]), (1e6, "M"))
