"""What a network can stand: its accuracy under corruptions as one table, blur apart from the rest, and its mCE.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), section 4: errors are averaged over severities, and divided by those of a reference network before they are
averaged over corruptions. Blur stands apart here, since blur is what some curricula train on: a gain under blur is no
gain under corruptions in general.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import DataError
from ..views.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS
from .evaluate import Evaluation

__all__ = ["Robustness", "summarize_robustness"]

_FAMILIES: Mapping[str, str] = {**CORRUPTIONS, **EXTRA_CORRUPTIONS}


@dataclass(frozen=True)
class Robustness:
    """Accuracies of one network at one resolution, 0 to 1, clean and corrupted.

    Attributes:
        resolution: side of the images, in pixels.
        clean: on images as they are; None where that was not evaluated.
        by_kind: mean over severities, keyed by corruption.
        by_family: mean over the family's corruptions, keyed by ``noise``, ``blur``, ``weather`` and ``digital``.
        mean: over all corruptions.
        mean_without_blur: over all but those of the family ``blur``; None where there are no others.
        mce: mean corruption error, as a share of the reference network's: below 1 is more robust than it; None without
            a reference.
        mce_without_blur: the same over all but the family ``blur``.
        reference: the reference network's name.
    """

    resolution: int
    clean: float | None
    by_kind: Mapping[str, float]
    by_family: Mapping[str, float]
    mean: float
    mean_without_blur: float | None
    mce: float | None = None
    mce_without_blur: float | None = None
    reference: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def summarize_robustness(
    evaluations: Sequence[Evaluation], *, reference: Sequence[Evaluation] = (), reference_name: str | None = None
) -> list[Robustness]:
    """Average evaluations under corruptions, one summary for each resolution, in the given order.

    Args:
        evaluations: of one network, corrupted ones and, if wanted, clean ones.
        reference: of another network under the same corruptions and severities, for the mean corruption error.
        reference_name: what to call it.

    Raises:
        DataError: no evaluation under a corruption, or a reference that was not evaluated under the same ones.
    """
    resolutions = list(dict.fromkeys(evaluation.resolution for evaluation in evaluations))
    found = [_summary(evaluations, reference, reference_name, resolution) for resolution in resolutions]
    if not found:
        raise DataError("There is no evaluation to summarise. Evaluate under corruptions first.")
    return found


def _summary(
    evaluations: Sequence[Evaluation], reference: Sequence[Evaluation], name: str | None, resolution: int
) -> Robustness:
    own, clean = _errors(evaluations, resolution)
    if not own:
        raise DataError(f"No evaluation at {resolution} px is under a corruption. Say which: corruptions=('blur',).")
    by_kind = {kind: 1 - statistics.fmean(errors.values()) for kind, errors in own.items()}
    families = dict.fromkeys(_FAMILIES[kind] for kind in by_kind)
    others = [accuracy for kind, accuracy in by_kind.items() if _FAMILIES[kind] != "blur"]
    mce = mce_without_blur = None
    if reference:
        ratios = _ratios(own, _errors(reference, resolution)[0], resolution)
        mce = statistics.fmean(ratios.values())
        mce_without_blur = _mean(ratio for kind, ratio in ratios.items() if _FAMILIES[kind] != "blur")
    return Robustness(
        resolution=resolution,
        clean=clean,
        by_kind=by_kind,
        by_family={
            family: statistics.fmean(accuracy for kind, accuracy in by_kind.items() if _FAMILIES[kind] == family)
            for family in families
        },
        mean=statistics.fmean(by_kind.values()),
        mean_without_blur=_mean(others),
        mce=mce,
        mce_without_blur=mce_without_blur,
        reference=name if reference else None,
    )


def _errors(evaluations: Sequence[Evaluation], resolution: int) -> tuple[dict[str, dict[int, float]], float | None]:
    """Top-1 error keyed by corruption and severity, and clean accuracy."""
    errors: dict[str, dict[int, float]] = {}
    clean = None
    for evaluation in evaluations:
        if evaluation.resolution != resolution or evaluation.probe is not None:
            continue
        if evaluation.corruption is None or evaluation.severity is None:
            clean = evaluation.scores.top1
        else:
            errors.setdefault(evaluation.corruption, {})[evaluation.severity] = 1 - evaluation.scores.top1
    return errors, clean


def _ratios(
    own: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]], resolution: int
) -> dict[str, float]:
    """Errors summed over severities as shares of the reference's, keyed by corruption."""
    ratios = {}
    for kind, errors in own.items():
        if theirs.get(kind, {}).keys() != errors.keys():
            raise DataError(
                f"The reference network was not evaluated under {kind} of severities {sorted(errors)} at {resolution} "
                "px. Evaluate both under the same corruptions."
            )
        if not sum(theirs[kind].values()):
            raise DataError(f"The reference network makes no error under {kind}, so there is nothing to divide by.")
        ratios[kind] = sum(errors.values()) / sum(theirs[kind].values())
    return ratios


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.fmean(listed) if listed else None
