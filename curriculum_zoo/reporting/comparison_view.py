"""What a page tells of a comparison: verdicts, arms and conditions, from its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .comparison_record import ComparisonRecord, arms_chart, arms_curves_chart
from .tables import Table, duration, memory, points, quantity

__all__ = ["comparison_view"]

KINDS = {"better": "better", "worse": "worse", "equivalent": "equivalent"}


def comparison_view(record: ComparisonRecord) -> dict[str, Any]:
    """Return what the page's template asks of a comparison: its statement, verdicts, charts and tables."""
    charts = []
    if record.arms:
        charts = [chart for chart in (arms_chart(record), arms_curves_chart(record)) if chart is not None]
    tables = [_arms(record)] if record.arms else []
    if any(arm["conditions"] for arm in record.arms):
        tables.append(_conditions(record))
    if record.unfinished:
        tables.append(_unfinished(record))
    return {
        "stated": _stated(record),
        "changes": record.content["changes"],
        "verdicts": list(_verdicts(record)),
        "charts": charts,
        "tables": tables,
    }


def _stated(record: ComparisonRecord) -> str:
    grid = record.content["grid"]
    return (
        f"Stated on {record.content['stated']}, before any run was finished: test accuracy of the {grid['figure']} "
        f"epoch's weights decides, differences below {grid['margin']:g} points do not matter, intervals are of "
        f"{100 * grid['confidence']:g} %."
    )


def _verdicts(record: ComparisonRecord) -> Iterator[dict[str, str]]:
    for arm in record.arms:
        for name in ("to_baseline", "at_equal_flops"):
            against: Mapping[str, Any] | None = arm[name]
            if against is None or (name == "at_equal_flops" and against["label"] == arm["baseline"]):
                continue
            yield _verdict(
                arm["label"], against["label"], against["finding"], f"at {against['flops_ratio']:.3f}× its FLOPs"
            )
        for condition, finding in arm["under_conditions"].items():
            yield _verdict(arm["label"], arm["baseline"], finding, f"under {condition}")


def _verdict(arm: str, other: str, finding: Mapping[str, Any], where: str) -> dict[str, str]:
    kind = KINDS.get(finding["verdict"], "open")
    return {"arm": arm, "other": other, "where": where, "sentence": finding["sentence"], "kind": kind}


def _arms(record: ComparisonRecord) -> Table:
    heads = ["arm", "n", "test, last epoch", "test, best epoch", "FLOPs", "of baseline's", "time", "peak memory"]
    rows = [
        [
            arm["label"],
            str(arm["accuracy"]["n"]),
            points(arm["last"]["mean"], arm["last"]["sd"]),
            points(arm["best"]["mean"], arm["best"]["sd"]),
            quantity(arm["flops"]),
            f"{arm['relative_flops']:.3f}×",
            duration(arm["seconds"]),
            memory(arm["peak_memory"]),
        ]
        for arm in record.arms
    ]
    note = "Test accuracy in points, mean ± standard deviation over seeds. FLOPs are of training, forward and backward."
    return Table(heads, rows, title="Arms", note=note)


def _conditions(record: ComparisonRecord) -> Table:
    names = list(dict.fromkeys(name for arm in record.arms for name in arm["conditions"]))
    rows = [
        [
            arm["label"],
            *(
                points(arm["conditions"][name]["mean"], arm["conditions"][name]["sd"])
                if name in arm["conditions"]
                else "–"
                for name in names
            ),
        ]
        for arm in record.arms
    ]
    note = "Test accuracy in points, mean ± standard deviation over seeds."
    return Table(["arm", *names], rows, title="Under conditions", note=note)


def _unfinished(record: ComparisonRecord) -> Table:
    rows = [[cell["arm"], str(cell["seed"]), cell["status"], cell["error"] or ""] for cell in record.unfinished]
    return Table(["arm", "seed", "status", "error"], rows, title="Not finished", words=True)
