"""What a report measures of a run's network on the run's own data, and why whatever is missing is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CurriculumZooError, ModelError
from ..evaluation import Evaluation, Robustness, summarize_robustness
from ..evaluation.early_exit import EarlyExit, early_exit_on
from ..evaluation.evaluate import evaluate_on
from ..evaluation.examination import Examination, examine
from ..evaluation.setup import EvaluationSetup, open_evaluation
from ..models.adaptive import AdaptiveNetwork
from ..runs.record import RunRecord
from ..weights.folder import Which

__all__ = ["PARTS", "Evidence", "Measures", "gather"]

PARTS = ("examination", "sweep", "corruptions", "probes", "early_exit")

SWEEP = (0.25, 0.375, 0.5, 0.75, 1.0, 1.25)
"""Sides of the test images, as shares of the one that the network was trained for."""

MISTAKES = 12


@dataclass(frozen=True)
class Measures:
    """What is measured, and where.

    Attributes:
        which: which of a run's weights.
        corruptions: names of corruptions and families, as `evaluate` takes them; empty for none.
        severities: of the corruptions.
        probes: names of probes, or ``all``; empty for none.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
    """

    which: Which = "best"
    corruptions: Sequence[str] = ("noise", "blur", "weather", "digital")
    severities: Sequence[int] = (3,)
    probes: Sequence[str] = ("all",)
    data_root: str | Path = "data"
    download: bool = False
    device: str | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured of one network.

    Attributes:
        examination: its answers to the test images; None where there are none.
        sweep: at several resolutions; empty where not measured.
        probed: on images as they are and under probes; empty where not measured.
        robustness: under corruptions; None where not measured.
        early_exit: of an adaptive network; None where not measured, and of other networks.
        absent: why a part was not measured, keyed by one of `PARTS`.
    """

    examination: Examination | None = None
    sweep: tuple[Evaluation, ...] = ()
    probed: tuple[Evaluation, ...] = ()
    robustness: Robustness | None = None
    early_exit: EarlyExit | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


def gather(record: RunRecord, measures: Measures | None) -> Evidence:
    """Measure a run's network on the run's test images, as far as both are to be had.

    Args:
        record: of the run.
        measures: what to measure; nothing where None.
    """
    if measures is None:
        return Evidence(absent=dict.fromkeys(PARTS, "Nothing was measured for this report."))
    opening: dict[str, Any] = {"data_root": measures.data_root, "download": measures.download}
    opening |= {"which": measures.which, "device": measures.device}
    try:
        with open_evaluation(record.path, record.recipe.data, **opening) as setup:
            return _measured(setup, measures)
    except CurriculumZooError as error:
        return Evidence(absent=dict.fromkeys(PARTS, str(error)))


def _measured(setup: EvaluationSetup, measures: Measures) -> Evidence:
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}

    @contextlib.contextmanager
    def explained(part: str) -> Iterator[None]:
        try:
            yield
        except CurriculumZooError as error:
            absent[part] = str(error)

    with explained("examination"):
        found["examination"] = examine(setup, mistakes=MISTAKES)
    with explained("sweep"):
        found["sweep"] = tuple(_sweep(setup))
    with explained("corruptions"):
        if measures.corruptions:
            corrupted = evaluate_on(setup, corruptions=measures.corruptions, severities=measures.severities)
            [found["robustness"]] = summarize_robustness(corrupted)
        else:
            absent["corruptions"] = "No corruptions were asked for."
    with explained("probes"):
        if measures.probes:
            found["probed"] = tuple(evaluate_on(setup, probes=measures.probes))
        else:
            absent["probes"] = "No probes were asked for."
    with explained("early_exit"):
        if isinstance(setup.trained.model, AdaptiveNetwork):
            found["early_exit"] = early_exit_on(setup)
    return Evidence(**found, absent=absent)


def _sweep(setup: EvaluationSetup) -> Iterator[Evaluation]:
    """Evaluations at shares of the network's own side, those left out that it cannot take."""
    for side in dict.fromkeys(max(1, round(share * setup.side)) for share in SWEEP):
        try:
            yield from evaluate_on(setup, resolutions=(side,))
        except ModelError:
            if side == setup.side:
                raise
