"""`RunRecord`: what a run has recorded so far, finished or not; the one reader of a run's folder for everything else.

Nothing here loads torch: the weights of a run are named by their folder, and read by whoever wants the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import parse_json, read_json, read_text
from ..errors import CheckpointError, DocumentError, RecipeError
from ..recipes import Recipe
from ..weights.folder import Which

__all__ = ["CURVES", "ENVIRONMENT", "METRICS", "RECIPE", "RESULTS", "Results", "RunRecord"]

RECIPE, METRICS, RESULTS, ENVIRONMENT = "recipe.json", "metrics.jsonl", "results.json", "environment.json"
CURVES = "curves.png"

_LARGEST_METRICS = 2**28  # bytes; a line has about a thousand
_AGAIN = "Get the file again from where it came from, or train again in another folder."


@dataclass(frozen=True)
class Results:
    """What a finished run came to.

    Attributes:
        test: scores on the test images, keyed by ``best`` and ``last``, each as `Scores.to_dict` gives them.
        best_epoch: the best epoch on validation images, counted from 0.
        flops: forward and backward FLOPs of the whole training.
        relative_flops: those as a share of a full-resolution training of equal length.
        seconds: time spent training, validation left out.
    """

    test: Mapping[str, Mapping[str, Any]]
    best_epoch: int
    flops: float
    relative_flops: float
    seconds: float

    def top1(self, which: Which) -> float:
        """Return the share of test images, 0 to 1, that the best or the last weights classify right."""
        return float(self.test[which]["top1"])


@dataclass(frozen=True)
class RunRecord:
    """What a run has recorded so far.

    Attributes:
        path: its folder.
        recipe: how it is trained.
        metrics: one line for each epoch done, as in ``metrics.jsonl``.
        results: what it came to; None while it is not finished.
        environment: versions, machine, and fingerprints of the data; empty where they were not recorded.
    """

    path: Path
    recipe: Recipe
    metrics: tuple[Mapping[str, Any], ...]
    results: Results | None
    environment: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """Read a run.

        Args:
            path: its folder.

        Raises:
            CheckpointError: the folder holds no run, or one of its files is damaged; the text names the file.
        """
        path = Path(path)
        if not (path / RECIPE).is_file():
            raise CheckpointError(f"{path} holds no run: there is no {RECIPE} in it. Give the folder of a run.")
        try:
            recipe = Recipe.load(path / RECIPE)
        except RecipeError as error:
            raise _damaged(path / RECIPE, str(error)) from error
        results, environment = _object(path / RESULTS), _object(path / ENVIRONMENT)
        return cls(
            path=path,
            recipe=recipe,
            metrics=_metrics(path / METRICS),
            results=None if results is None else _results(path / RESULTS, results),
            environment=environment or {},
        )

    @property
    def finished(self) -> bool:
        """Whether every epoch is done and the test images were scored."""
        return self.results is not None and len(self.metrics) >= self.recipe.epochs

    def finished_results(self) -> Results:
        """Return what the run came to.

        Raises:
            CheckpointError: it is not finished.
        """
        if self.results is None or not self.finished:
            raise CheckpointError(
                f"{self.path} is not finished: {len(self.metrics)} of {self.recipe.epochs} epochs are done. Go on with "
                f"`curriculum-zoo train --output {self.path} --resume`."
            )
        return self.results

    def weights(self, which: Which) -> Path:
        """Return the folder of the weights of the best epoch or of the last one."""
        return self.path / which

    def epoch(self, which: Which) -> int:
        """Return the epoch, counted from 0, that the best or the last weights of a finished run are of.

        Raises:
            CheckpointError: it is not finished.
        """
        results = self.finished_results()
        return results.best_epoch if which == "best" else self.recipe.epochs - 1

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the images that it saw; None where it was not recorded."""
        found: str | None = self.environment.get("data", {}).get("fingerprint")
        return found


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file."""
    if not path.exists():
        return None
    try:
        content = read_json(path)
    except DocumentError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it holds no JSON object")
    return content


def _metrics(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    try:
        lines = [parse_json(line) for line in read_text(path, largest=_LARGEST_METRICS).splitlines()]
    except DocumentError as error:
        raise _damaged(path, str(error)) from error
    for number, line in enumerate(lines):
        if not isinstance(line, dict) or line.get("epoch") != number:
            raise _damaged(path, f"line {number + 1} is not that of epoch {number}")
    return tuple(lines)


def _results(path: Path, content: Mapping[str, Any]) -> Results:
    numbers: dict[str, Any] = {name: content.get(name) for name in ("best_epoch", "flops", "relative_flops", "seconds")}
    missing = [name for name, value in numbers.items() if type(value) not in (int, float)]
    test = content.get("test")
    for which in ("best", "last"):
        scores = test.get(which) if isinstance(test, dict) else None
        if not isinstance(scores, dict) or type(scores.get("top1")) not in (int, float):
            missing.append(f"test.{which}.top1")
    if missing or not isinstance(test, dict):
        raise _damaged(path, f"it states no {', '.join(missing)}")
    return Results(test=test, **numbers)


def _damaged(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {problem.replace(f'{path} ', 'it ')}. {_AGAIN}")
