"""A report in words and numbers: Markdown to read, CSV to go on with, JSON with everything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import replace_file
from .findings import Comparison, Interval, Summary
from .report import Against, ArmReport, Report

__all__ = ["markdown", "report_to_dict", "write_documents"]

NEAR = 0.03
"""Relative difference of FLOPs from which on a match by whole epochs is said to be rough."""


def write_documents(report: Report, folder: Path, *, figures: Sequence[tuple[str, str]] = ()) -> None:
    """Write ``report.md``, ``report.json`` and ``cells.csv``.

    Args:
        report: what to tell.
        folder: where to.
        figures: file and caption of each figure that lies there.
    """
    replace_file(folder / "report.md", markdown(report, figures))
    replace_file(folder / "report.json", json.dumps(report_to_dict(report), indent=2) + "\n")
    replace_file(folder / "cells.csv", cells_csv(report))


def markdown(report: Report, figures: Sequence[tuple[str, str]] = ()) -> str:
    """The report as Markdown.

    Args:
        report: what to tell.
        figures: file and caption of each figure.
    """
    grid = report.statement.grid
    parts = [f"# {_title(report)}", _stated(report)]
    if not report.arms:
        parts.append("No seed is finished in all arms that have begun.")
    else:
        parts += ["## What one may conclude", _verdicts(report), "## Arms", _arms_table(report), _arms_notes(report)]
        if any(arm.at_equal_flops for arm in report.arms):
            parts += ["## At equal FLOPs", _equal_flops(report)]
        if grid.target is not None:
            parts += [f"## Until validation accuracy is {grid.target:.1%}, and stays so", _targets(report)]
        if any(arm.conditions for arm in report.arms):
            parts += ["## Under conditions", *_conditions(report)]
        parts += ["## Differences in full", _differences(report)]
    parts += [f"![{caption}]({file})\n\n{caption}" for file, caption in figures]
    if report.unfinished:
        parts += ["## Not finished", _unfinished(report)]
    return "\n\n".join(parts) + "\n"


def cells_csv(report: Report) -> str:
    """A line a cell: what it was, what became of it, and its figures, under each condition too."""
    conditions = [condition.name for condition in report.statement.grid.evaluate]
    file = io.StringIO()
    heads = ["arm", "seed", "status", "epochs", "accuracy_last", "accuracy_best", "best_epoch", "flops", "seconds"]
    table = csv.writer(file, lineterminator="\n")
    table.writerow([*heads, "peak_memory_bytes", *(f"accuracy: {name}" for name in conditions), "folder", "error"])
    for arm, cells in report.cells.items():
        for cell in cells:
            figures: list[Any] = [""] * 6
            evaluations: Mapping[str, Any] = {}
            if (run := cell.finished) is not None:
                accuracies = [run.accuracy("last"), run.accuracy("best")]
                figures = [*accuracies, run.best_epoch, run.flops, run.seconds, run.peak_memory]
                evaluations = run.evaluations
            under = [evaluations.get(name, {}).get("top1", "") for name in conditions]
            planned = cell.cell
            row = [arm, planned.seed, cell.status, planned.epochs, *figures, *under, planned.folder, cell.error]
            table.writerow(row)
    return file.getvalue()


def report_to_dict(report: Report) -> dict[str, Any]:
    """The report as JSON: what was stated, every arm with its findings, every cell."""
    statement = report.statement
    return {
        "stated": statement.stated,
        "changes": list(statement.changes),
        "grid": statement.grid.to_dict(),
        "arms": [_arm_to_dict(arm) for arm in report.arms],
        "cells": [
            {"arm": arm, **vars(cell.cell), "status": cell.status, "error": cell.error}
            for arm, cells in report.cells.items()
            for cell in cells
        ],
    }


def _arm_to_dict(arm: ArmReport) -> dict[str, Any]:
    values = {field.name: getattr(arm, field.name) for field in dataclasses.fields(arm) if field.name != "runs"}
    values |= {
        "conditions": {name: dataclasses.asdict(summary) for name, summary in arm.conditions.items()},
        "under_conditions": {name: _finding_to_dict(finding) for name, finding in arm.under_conditions.items()},
    }
    for name in ("to_baseline", "at_equal_flops"):
        against: Against | None = values[name]
        if against is not None:
            values[name] = {**vars(against), "finding": _finding_to_dict(against.finding)}
    for name in ("accuracy", "last", "best", "target"):
        values[name] = dataclasses.asdict(values[name]) if values[name] is not None else None
    means = {name: getattr(arm, name) for name in ("epochs", "best_epoch", "flops", "seconds", "peak_memory")}
    return {**values, "seeds": list(arm.seeds), **means}


def _finding_to_dict(finding: Comparison) -> dict[str, Any]:
    return {**finding.to_dict(), "sentence": finding.sentence()}


def _title(report: Report) -> str:
    recipe = report.statement.grid.base()
    grid = report.statement.grid
    models = ", ".join(grid.models or (recipe.model,))
    names = [Path(spec.partition(":")[2]).stem or spec for spec in grid.data or (recipe.data,)]
    return f"{models} on {', '.join(names)}"


def _stated(report: Report) -> str:
    statement, grid = report.statement, report.statement.grid
    seeds = sorted({seed for arm in report.arms for seed in arm.seeds})
    lines = [
        f"Stated on {statement.stated}, before any run was finished: test accuracy of the {grid.figure} epoch's "
        f"weights decides, differences below {grid.margin:g} points do not matter, intervals are of "
        f"{100 * grid.confidence:g} %. "
        f"Seeds {', '.join(map(str, grid.seeds))}"
        + (
            "."
            if seeds == sorted(grid.seeds)
            else f"; this report is about {', '.join(map(str, seeds)) or 'none yet'}."
        )
    ]
    lines += [f"Since then, {change}." for change in statement.changes]
    return "\n\n".join(lines)


def _verdicts(report: Report) -> str:
    lines = []
    for arm in report.arms:
        if arm.to_baseline is not None:
            against = arm.to_baseline
            lines.append(f"- **{arm.label}** against {against.label}, at {_ratio(against)}: {against.finding}.")
        if arm.at_equal_flops is not None and arm.at_equal_flops.label != arm.baseline:
            against = arm.at_equal_flops
            lines.append(f"- **{arm.label}** against {against.label}, at {_ratio(against)}: {against.finding}.")
    return "\n".join(lines) or "There is one arm alone, and nothing to compare it with."


def _arms_table(report: Report) -> str:
    heads = ["arm", "n", "test accuracy, last epoch", "best epoch", "best at epoch", "FLOPs", "", "time", "peak memory"]
    rows = [
        [
            arm.label,
            str(len(arm.runs)),
            _points(arm.last),
            _points(arm.best),
            f"{arm.best_epoch:.3g} of {arm.epochs:.3g}",
            _quantity(arm.flops),
            f"{arm.relative_flops:.3f}×",
            f"{arm.seconds:.0f} s",
            f"{arm.peak_memory / 2**20:.0f} MiB",
        ]
        for arm in report.arms
    ]
    return _table(heads, rows)


def _arms_notes(report: Report) -> str:
    return (
        "Mean ± standard deviation over seeds, in points. FLOPs are of training, forward and backward, counted from "
        "the network that ran; × is a multiple of the baseline's. On a CPU peak memory is the whole process's, which "
        "may have run other cells before."
    )


def _equal_flops(report: Report) -> str:
    rows, rough = [], []
    for arm in report.arms:
        against = arm.at_equal_flops
        if against is None:
            continue
        if abs(against.flops_ratio - 1) > NEAR:
            rough.append(f"{arm.label} ({against.flops_ratio:.3f}×)")
        other = report.arm(against.label)
        rows.append(
            [
                arm.label,
                against.label,
                f"{against.flops_ratio:.3f}×",
                _points(arm.accuracy),
                _points(other.accuracy),
                *_difference_cells(against.finding),
                against.finding.verdict,
            ]
        )
    heads = ["arm", "against", "FLOPs", "arm's accuracy", "other's", "difference", "interval", "corrected", "verdict"]
    note = "Epochs are whole, so budgets meet as nearly as they can."
    if rough:
        note += f" They miss by more than {NEAR:.0%} for {', '.join(rough)}: more FLOPs are an advantage."
    return f"{_table(heads, rows)}\n\n{note}"


def _targets(report: Report) -> str:
    rows = []
    for arm in report.arms:
        assert arm.target is not None
        cost, base = arm.target, report.arm(arm.baseline or arm.label).target
        ratio = ""
        if cost.flops is not None and base is not None and base.flops is not None:
            ratio = f"{cost.flops / base.flops:.3f}×"
        reached = f"{cost.reached} of {cost.seeds}"
        flops = "" if cost.flops is None else _quantity(cost.flops)
        rows.append([arm.label, reached, flops, ratio, "" if cost.seconds is None else f"{cost.seconds:.0f} s"])
    return _table(["arm", "runs that reach it", "FLOPs", "", "time"], rows) + "\n\nMeans over the runs that reach it."


def _conditions(report: Report) -> list[str]:
    names = [condition.name for condition in report.statement.grid.evaluate]
    rows = []
    for arm in report.arms:
        shown = [_points(arm.conditions[name]) if name in arm.conditions else "" for name in names]
        rows.append([arm.label, *shown, f"{arm.relative_flops:.3f}×"])
    sentences = [
        f"- **{arm.label}**, {name}: {finding}."
        for arm in report.arms
        for name, finding in arm.under_conditions.items()
    ]
    figure = report.statement.grid.figure
    table = _table(["arm", *names, "FLOPs"], rows)
    return [
        f"{table}\n\nTest accuracy of the {figure} epoch's weights, mean ± standard deviation, in points.",
        "\n".join(sentences),
    ]


def _differences(report: Report) -> str:
    rows = []
    for arm in report.arms:
        if arm.to_baseline is None:
            continue
        finding = arm.to_baseline.finding
        other = "" if finding.other is None else f"{_interval(finding.other.interval)} ({finding.other.method})"
        rows.append(
            [
                arm.label,
                *_difference_cells(finding),
                _interval(finding.bootstrap) or str(finding.no_bootstrap),
                other,
                "" if finding.correlation is None else f"{finding.correlation:z.2f}",
                finding.verdict,
            ]
        )
    heads = ["arm", "difference", "interval", "corrected", "bootstrap (BCa)", "other method", "r", "verdict"]
    note = (
        "Arm minus baseline, in points. The verdict is read from the corrected interval, which holds for all arms "
        "together (Bonferroni). r is the correlation between arm and baseline over seeds."
    )
    return f"{_table(heads, rows)}\n\n{note}" if rows else "There are none."


def _unfinished(report: Report) -> str:
    return "\n".join(
        f"- {arm}, seed {cell.cell.seed}: {cell.status}{f', {cell.error}' if cell.error else ''}"
        for arm, cell in report.unfinished
    )


def _difference_cells(finding: Comparison) -> list[str]:
    estimate = finding.estimate
    return [f"{100 * estimate.difference:+z.2f}", _interval(estimate.interval), _interval(estimate.corrected)]


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:z.2f} to {100 * interval.high:z.2f}"


def _points(summary: Summary) -> str:
    return f"{100 * summary.mean:.2f}" + ("" if summary.sd is None else f" ± {100 * summary.sd:.2f}")


def _ratio(against: Against) -> str:
    return f"{against.flops_ratio:.3f}× its FLOPs"


def _quantity(flops: float) -> str:
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G")):
        if flops >= size:
            return f"{flops / size:.3g} {prefix}"
    return f"{flops / 1e6:.3g} M"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
