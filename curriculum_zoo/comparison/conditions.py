"""Finished cells under conditions: test images at another resolution, or corrupted, beside the clean ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor

from ..documents import read_json
from ..draws import seeds_of
from ..errors import ComparisonError, ModelError
from ..files import replace_file
from ..views import GaussianBlur
from ..views.corruptions import corrupt
from .grid import Condition

if TYPE_CHECKING:
    from ..data import ImageSet, PhotoSet
    from ..evaluation.metrics import Scores

__all__ = ["EVALUATIONS", "evaluate_missing", "read_evaluations", "seen_under"]

EVALUATIONS = "evaluations.json"

CORRUPTION_SEED = 0x1C
"""All networks see the same corrupted images: what is drawn depends on the image alone."""


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """What ``evaluations.json`` of a run holds: condition, whose weights, and scores; empty where there is none.

    Raises:
        ComparisonError: it is damaged.
    """
    path = folder / EVALUATIONS
    if not path.is_file():
        return []
    try:
        lines: list[dict[str, Any]] = read_json(path)
        if not all({"condition", "which", "scores"} <= line.keys() and "name" in line["condition"] for line in lines):
            raise ValueError("a line states no condition, which or scores")
    except (ValueError, TypeError, AttributeError) as error:
        raise ComparisonError(f"{path} is damaged ({error}). Delete it, to have the run evaluated again.") from error
    return lines


def evaluate_missing(
    folder: Path,
    conditions: Sequence[Mapping[str, Any]],
    *,
    data: ImageSet | PhotoSet,
    which: Literal["last", "best"] | str = "last",
    device: str | None = None,
    workers: int | None = None,
) -> None:
    """Evaluate a finished run under those conditions that it was not evaluated under, into ``evaluations.json``.

    Args:
        folder: the run's folder.
        conditions: as `Condition.to_dict` has them.
        data: the run's data set, open.
        which: whose weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read image files.

    Raises:
        CurriculumZooError: there is no such corruption, or the network cannot take images of a resolution.
    """
    evaluated = read_evaluations(folder)
    known = [(line["condition"], line["which"]) for line in evaluated]
    missing = [dict(condition) for condition in conditions if (dict(condition), which) not in known]
    if not missing:
        return
    names = {condition["name"] for condition in missing}
    kept = [line for line in evaluated if line["which"] != which or line["condition"]["name"] not in names]
    with _bench(folder, which, data, device, workers) as score_under:
        for condition in missing:
            scores = score_under(Condition.from_dict(condition))
            kept.append({"condition": condition, "which": which, "scores": scores.to_dict()})
            replace_file(folder / EVALUATIONS, json.dumps(kept, indent=2) + "\n")


def seen_under(condition: Condition, images: Tensor, numbers: Tensor, full: int) -> Tensor:
    """Test images as a condition shows them.

    Args:
        condition: which one.
        images: float [n, C, H, W] in [0, 1].
        numbers: the images' numbers among the test images, int64 [n].
        full: side in pixels of which a share is taken.
    """
    if condition.corruption is not None:
        images = corrupt(images, condition.corruption, condition.severity, seeds_of(numbers, CORRUPTION_SEED))
    if condition.blur:
        images = GaussianBlur(condition.blur)(images)
    images = _resized(images, pixels_of(condition, full))
    return _resized(images, full) if condition.enlarge else images


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def pixels_of(condition: Condition, full: int) -> int:
    """The side that a condition brings images to, in pixels."""
    if condition.resolution is None:
        return full
    return condition.resolution if isinstance(condition.resolution, int) else max(1, round(condition.resolution * full))


@contextlib.contextmanager
def _bench(
    folder: Path, which: Any, data: ImageSet | PhotoSet, device: str | None, workers: int | None
) -> Iterator[Any]:
    """A function from a condition to the scores of a run's weights on the test images."""
    from ..evaluation.metrics import collect, score
    from ..evaluation.setup import loader_factory
    from ..evaluation.trained_network import load_trained_network

    trained = load_trained_network(folder, which=which, device=device)
    with contextlib.closing(loader_factory(trained, data, False, workers)) as loaders:
        loader = loaders.loader("test", training=False, batch_size=256)
        full = data.image_size[0]

        def batches(condition: Condition) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in loader.batches(0):
                yield trained.normalize(seen_under(condition, batch.images, batch.numbers, full)), batch.labels

        def score_under(condition: Condition) -> Scores:
            precision = trained.recipe.get("precision", "fp32")
            try:
                return score(*collect(trained.model, batches(condition), device=trained.device, precision=precision))
            except (RuntimeError, ModelError) as error:
                side = pixels_of(condition, full)
                reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
                raise ModelError(
                    f"{trained.name} cannot take images of {side} px, as condition '{condition.name}' shows them "
                    f"({reason}). Leave that condition out, or state a higher resolution."
                ) from error

        yield score_under
