"""What a page tells of one run: figures, tables and images, as its template asks for them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..evaluation.examination import Examination, Mistake
from ..recipes import Recipe
from ..runs.record import RunRecord
from .chart import SERIES
from .evidence import Evidence
from .model_charts import early_exit_chart
from .run_charts import Stage, confusion_chart, curves_chart, reliability_chart, stages_of, timeline_chart
from .tables import Table, duration, memory, percent, quantity

__all__ = ["run_view"]

LARGEST_IMAGE = 192
"""Side in pixels that images are shrunk to at most."""

SMALL = 96
"""Side in pixels up to which images are kept without loss, and enlarged without smoothing."""

FEW_CLASSES = 60
"""Classes up to which the accuracy of each is told; of more, the best and worst ones'."""

SHOWN_CLASSES = 15


def run_view(name: str, number: int, record: RunRecord, evidence: Evidence) -> dict[str, Any]:
    """Return what the page's template asks of a run.

    Args:
        name: what to call it.
        number: of the run within the page, from 0.
        record: what it recorded.
        evidence: what was measured of it.
    """
    recipe, lines, examination = record.recipe, record.metrics, evidence.examination
    slug = f"run{number}"
    training, answers = [], []
    if lines:
        training = [curves_chart(lines, f"{slug}-curves"), timeline_chart(lines, f"{slug}-timeline")]
    if examination is not None:
        answers = [confusion_chart(examination, f"{slug}-confusion")]
        answers.append(reliability_chart(examination.calibration, f"{slug}-reliability"))
    if evidence.early_exit is not None:
        answers.append(early_exit_chart(evidence.early_exit, f"{slug}-early-exit"))
    return {
        "id": slug,
        "name": name,
        "title": name,
        "subtitle": f"{recipe.model} on {recipe.data}, curriculum {recipe.curriculum}, seed {recipe.seed}",
        "tiles": list(_tiles(record, examination)),
        "training": training,
        "untrained": "" if lines else "No epoch is done yet.",
        "stages": [_stage(stage, lines[-1]["flops"]) for stage in stages_of(lines)] if lines else [],
        "unexamined": evidence.absent.get("examination", ""),
        "answers": answers,
        "confusions": _confusions(examination) if examination else None,
        "classes": _classes(examination) if examination else None,
        "mistakes": [_mistake(each, examination.classes) for each in examination.mistakes] if examination else [],
        "recipe": _recipe(recipe),
        "recipe_json": json.dumps(recipe.to_dict(), indent=2, ensure_ascii=False),
        "environment": _environment(record.environment),
    }


def _tiles(record: RunRecord, examination: Examination | None) -> Iterator[dict[str, str]]:
    results = record.results
    if results is not None:
        best = f"epoch {results.best_epoch + 1} of {record.recipe.epochs}"
        yield {"name": "test accuracy, best epoch", "value": percent(results.top1("best")), "note": best}
        yield {"name": "test accuracy, last epoch", "value": percent(results.top1("last")), "note": ""}
        flops = f"{quantity(results.flops)}FLOPs in all"
        yield {"name": "training cost", "value": f"{results.relative_flops:.2f}×", "note": f"of full; {flops}"}
        yield {"name": "training time", "value": duration(results.seconds), "note": ""}
    else:
        done = f"{len(record.metrics)} of {record.recipe.epochs}"
        yield {"name": "epochs done", "value": done, "note": "the run is not finished"}
    if examination is not None:
        error = 100 * examination.calibration.expected_calibration_error
        yield {"name": "calibration error", "value": f"{error:.2f}", "note": "points, 15 bins"}
        yield {
            "name": "area under coverage",
            "value": f"{examination.calibration.coverage.area:.4f}",
            "note": "1 is best",
        }


def _stage(stage: Stage, whole: float) -> dict[str, str]:
    spans = [f"{first}" if first == last else f"{first}–{last}" for first, last in stage.spans]
    told = ", ".join(spans) if len(spans) <= 3 else f"{stage.epochs} in {len(spans)} spans"
    return {
        "letter": stage.letter,
        "name": stage.name,
        "shade": f"var(--s{SERIES.index(stage.colour)})",
        "epochs": told,
        "side": f"{stage.pixels} px",
        "flops": quantity(stage.flops),
        "relative": f"{stage.relative_flops:.3f}×",
        "share": f"{stage.flops / whole:.1%}" if whole else "–",
        "seconds": duration(stage.seconds),
        "memory": memory(stage.peak_memory),
    }


def _confusions(examination: Examination) -> Table | None:
    names = examination.classes
    rows = [
        [names[pair.label], names[pair.predicted], str(pair.images), f"{pair.share:.1%}"]
        for pair in examination.confusions()
    ]
    return Table(["true class", "taken for", "images", "of the class"], rows) if rows else None


def _classes(examination: Examination) -> Table:
    counts = examination.matrix.sum(1).tolist()
    per_class = zip(examination.classes, examination.scores.per_class, counts, strict=True)
    ranked = sorted(((a, name, n) for name, a, n in per_class if a is not None), key=lambda each: each[0])
    shown, title = ranked, "Accuracy of each class, lowest first"
    if len(ranked) > FEW_CLASSES:
        shown = ranked[:SHOWN_CLASSES] + ranked[-SHOWN_CLASSES:]
        title = f"Accuracy of the {SHOWN_CLASSES} lowest and {SHOWN_CLASSES} highest of {len(ranked)} classes"
    rows = [[name, percent(accuracy), str(count)] for accuracy, name, count in shown]
    return Table(["class", "accuracy", "images"], rows, title=title)


def _mistake(mistake: Mistake, classes: tuple[str, ...]) -> dict[str, Any]:
    source, width, height = _data_uri(mistake)
    return {
        "source": source,
        "width": width,
        "height": height,
        "small": max(width, height) <= SMALL,
        "number": mistake.number,
        "label": classes[mistake.label],
        "predicted": classes[mistake.predicted],
        "confidence": f"{mistake.confidence:.1%}",
        "true_probability": f"{mistake.true_probability:.1%}",
    }


def _data_uri(mistake: Mistake) -> tuple[str, int, int]:
    """The image within a URL, with its width and height: PNG where small, JPEG else."""
    pixels = mistake.image[: 3 if len(mistake.image) >= 3 else 1].clamp(0, 1).mul(255).round().byte()
    array = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    image.thumbnail((LARGEST_IMAGE, LARGEST_IMAGE), Image.Resampling.LANCZOS)
    small = max(image.size) <= SMALL
    file = io.BytesIO()
    if small:
        image.save(file, format="PNG", optimize=True)
    else:
        image.save(file, format="JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", *image.size


def _recipe(recipe: Recipe) -> Table:
    """What the recipe states other than the defaults, and what decides most in any case."""
    always = ("model", "data", "curriculum", "epochs", "batch_size", "seed")
    stated = recipe.to_dict()
    usual = Recipe(model=recipe.model, data=recipe.data).to_dict()
    rows = []
    for field, value in stated.items():
        if field in always or value != usual.get(field):
            rows += list(_fields(field, value, usual.get(field)))
    return Table((), rows, words=True)


def _fields(field: str, value: Any, usual: Any) -> Iterator[list[str]]:
    """A field that is stated, or each part of it that differs from the usual one."""
    if isinstance(value, Mapping) and isinstance(usual, Mapping) and usual:
        for part, inner in value.items():
            if inner != usual.get(part):
                yield from _fields(f"{field}.{part}", inner, usual.get(part))
    else:
        yield [field, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]


def _environment(environment: Mapping[str, Any]) -> Table:
    rows = [[name, str(environment[name])] for name in ("python", "platform", "processor", "device", "threads",
                                                        "processes") if name in environment]  # fmt: skip
    data = environment.get("data", {})
    if data:
        told = f"{data.get('train_images')} training and {data.get('test_images')} test images"
        rows += [["data", f"{told}, {len(data.get('classes', ()))} classes"]]
        rows += [["fingerprint of the images", str(data.get("fingerprint"))]]
    rows += [[name, str(version)] for name, version in environment.get("packages", {}).items()]
    return Table((), rows, words=True)
