"""`write_page`: runs, or a comparison, as one HTML page that holds all it shows and asks nothing of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, DataError
from ..files import replace_file
from ..runs.record import RunRecord
from ..version import __version__
from .chart import Chart
from .comparison_record import STATEMENT, ComparisonRecord
from .comparison_view import comparison_view
from .evidence import PARTS, Evidence, Measures, gather
from .model_charts import coverage_chart, probes_chart, robustness_chart, sweep_chart, training_chart
from .run_view import run_view
from .tables import Table, duration, percent, quantity

__all__ = ["Page", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """A written page.

    Attributes:
        path: its file.
        figures: SVG files beside it, where they were asked for.
        absent: what is not shown, and why, keyed by the run's name.
    """

    path: Path
    figures: tuple[Path, ...]
    absent: Mapping[str, tuple[str, ...]]


def write_page(
    targets: Sequence[str | Path],
    output: str | Path = "report.html",
    *,
    measures: Measures | None = None,
    measured: bool = True,
    figures: str | Path | None = None,
) -> Page:
    """Write a page about runs, or about a comparison.

    It tells recipe, curves with the stages shaded, timeline, cost account and environment from what each run recorded.
    Confusion matrix, mistakes, reliability, coverage, resolution sweep, robustness and shape or texture are measured on
    the run's own test images where weights and images are to be had; else the page says why they are missing. Of a
    comparison it gives the verdicts, and each arm's run of the first seed.

    Args:
        targets: folders of runs, or one folder of a comparison that has its report.
        output: the HTML file, replaced whole.
        measures: what to measure and where the images are; the defaults of `Measures` where None.
        measured: whether to measure at all.
        figures: folder for all figures as SVG files too; none are written where None.

    Raises:
        CheckpointError: a folder holds neither a run nor a comparison with a report, or is damaged.
        DataError: the page cannot be written.
    """
    comparison, records = _read(targets)
    wanted = (measures or Measures()) if measured else None
    evidence = {name: gather(record, wanted) for name, record in records.items()}
    severities = wanted.severities if wanted else ()
    charts = list(_charts(records, evidence, severities))
    views = [run_view(name, number, record, evidence[name]) for number, (name, record) in enumerate(records.items())]
    if len(views) == 1:
        views[0]["title"] = "Training and answers"
    compared = None if comparison is None else comparison_view(comparison)
    content = {
        "title": _title(comparison, records),
        "subtitle": _subtitle(comparison, records),
        "contents": _contents(compared, views),
        "comparison": compared,
        "overview": _overview(records) if len(records) != 1 else None,
        "charts": charts,
        "absent": _reasons(evidence),
        "robustness": _robustness(evidence),
        "runs": views,
        "version": __version__,
    }
    path = Path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, _rendered(content))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Choose another --output.") from error
    drawn = [*(compared or {}).get("charts", ()), *charts]
    drawn += [chart for view in views for chart in (*view["training"], *view["answers"])]
    files = () if figures is None else tuple(chart.write(Path(figures)) for chart in drawn)
    absent = {name: tuple(dict.fromkeys(each.absent.values())) for name, each in evidence.items() if each.absent}
    return Page(path, files, absent)


def _read(targets: Sequence[str | Path]) -> tuple[ComparisonRecord | None, dict[str, RunRecord]]:
    """The comparison, where it is one, and the runs to tell of, keyed by names of their own."""
    if not targets:
        raise DataError("There is nothing to report. Name the folders of runs, or of a comparison.")
    comparisons = [target for target in targets if (Path(target) / STATEMENT).is_file()]
    if comparisons and len(targets) > 1:
        raise CheckpointError(f"{comparisons[0]} holds a comparison, which has a page to itself. Leave out the others.")
    if comparisons:
        comparison = ComparisonRecord.read(comparisons[0])
        first = {arm["label"]: comparison.runs(arm)[:1] for arm in comparison.arms}
        return comparison, {label: runs[0] for label, runs in first.items() if runs}
    records = [RunRecord.read(target) for target in targets]
    names = [record.path.resolve().name for record in records]
    own = [name if names.count(name) == 1 else str(target) for name, target in zip(names, targets, strict=True)]
    return None, dict(zip(own, records, strict=True))


def _charts(
    records: Mapping[str, RunRecord], evidence: Mapping[str, Evidence], severities: Sequence[int]
) -> Iterator[Chart]:
    """What several networks are shown in side by side, each as far as it was measured."""
    trained = {name: record.metrics for name, record in records.items() if record.metrics}
    with_validation = {name: lines for name, lines in trained.items() if lines[0]["validation_accuracy"] is not None}
    if len(with_validation) > 1:
        yield training_chart(with_validation)
    if sweeps := {name: each.sweep for name, each in evidence.items() if each.sweep}:
        yield sweep_chart(sweeps)
    examined = {name: each.examination for name, each in evidence.items() if each.examination is not None}
    if examined:
        yield coverage_chart({name: each.calibration for name, each in examined.items()})
    if summaries := {name: each.robustness for name, each in evidence.items() if each.robustness is not None}:
        images = next(each.scores.images for each in examined.values()) if examined else 0
        yield robustness_chart(summaries, severities, images)
    if probed := {name: each.probed for name, each in evidence.items() if each.probed}:
        yield probes_chart(probed)


def _title(comparison: ComparisonRecord | None, records: Mapping[str, RunRecord]) -> str:
    if comparison is not None:
        return f"Comparison {comparison.path.resolve().name}"
    return next(iter(records)) if len(records) == 1 else f"{len(records)} runs"


def _subtitle(comparison: ComparisonRecord | None, records: Mapping[str, RunRecord]) -> str:
    recipes = [record.recipe for record in records.values()]
    models, data = ({getattr(recipe, field): None for recipe in recipes} for field in ("model", "data"))
    about = f"{', '.join(models)} on {', '.join(data)}"
    if comparison is None:
        return about
    seeds = ", ".join(map(str, comparison.content["grid"]["seeds"]))
    return (
        f"{about}; seeds {seeds}. Of each arm the first seed's run is shown in full." if recipes else f"seeds {seeds}"
    )


def _contents(compared: Mapping[str, Any] | None, views: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    verdicts = [("verdicts", "Verdicts")] if compared else []
    measured = ("measured", "Measurements")
    if len(views) == 1:
        slug = views[0]["id"]
        return [*verdicts, (slug, "Training and answers"), measured, (f"{slug}-record", "Recipe and environment")]
    return [*verdicts, ("overview", "Side by side"), measured, *((view["id"], view["name"]) for view in views)]


def _overview(records: Mapping[str, RunRecord]) -> Table:
    heads = ["run", "model", "curriculum", "epochs", "seed", "test, best", "test, last", "FLOPs", "of full", "time"]
    rows = []
    for name, record in records.items():
        recipe, results = record.recipe, record.results
        figures = ["–"] * 5
        if results is not None:
            figures = [percent(results.top1("best")), percent(results.top1("last")), quantity(results.flops)]
            figures += [f"{results.relative_flops:.3f}×", duration(results.seconds)]
        planned = [recipe.model, recipe.curriculum, f"{len(record.metrics)} of {recipe.epochs}", str(recipe.seed)]
        rows.append([name, *planned, *figures])
    return Table(heads, rows)


def _reasons(evidence: Mapping[str, Evidence]) -> list[str]:
    """Why measurements are missing, each reason once, with the runs that it holds for where it is not for all."""
    runs: dict[str, list[str]] = {}
    for part in PARTS:
        for name, each in evidence.items():
            if part in each.absent and part != "examination":
                listed = runs.setdefault(each.absent[part], [])
                listed += [name] if name not in listed else []
    return [
        reason if len(names) == len(evidence) else f"{', '.join(names)}: {reason}" for reason, names in runs.items()
    ]


def _robustness(evidence: Mapping[str, Evidence]) -> Table | None:
    found = {name: each.robustness for name, each in evidence.items() if each.robustness is not None}
    if not found:
        return None
    families = list(dict.fromkeys(family for each in found.values() for family in each.by_family))
    rows = [
        [
            name,
            percent(each.clean),
            *(percent(each.by_family.get(family)) for family in families),
            percent(each.mean),
            percent(each.mean_without_blur),
        ]
        for name, each in found.items()
    ]
    return Table(["network", "clean", *families, "all", "all but blur"], rows)


def _rendered(content: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(page=content)
