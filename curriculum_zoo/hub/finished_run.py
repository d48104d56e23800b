"""A finished run, as it is told of when its weights are published: checked, compared, and without private places."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..curricula import create_curriculum
from ..errors import PublishError
from ..registry import DATASETS, THIS_SESSION
from ..training import curves
from ..training.recipe import Recipe
from ..training.run_folder import RunFolder
from .folder import WEIGHTS, open_folder, sha256_of
from .privacy import public_recipe
from .repeat import differences

if TYPE_CHECKING:
    from torch import nn

__all__ = ["COMPARISON", "CURVES", "METRICS", "RECIPE", "FinishedRun", "Which", "loaded"]

RECIPE, METRICS, CURVES, COMPARISON = "recipe.json", "metrics.jsonl", "curves.png", "comparison.png"

Which = Literal["best", "last"]

_RESULTS = frozenset({"test", "best_epoch", "flops", "relative_flops", "seconds"})
_TOLD_OF_MACHINE = ("python", "processor", "device", "threads", "processes", "packages")


def loaded(folder: Path) -> nn.Module:
    """The network of a folder of weights, in eval mode, with all checks that loading makes.

    Raises:
        CurriculumZooError: the weights are damaged or do not fit, or the architecture is not registered here.
    """
    from ..models import create_model

    return create_model(f"local-dir:{folder}", pretrained=True).eval()


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, read from its folder.

    Attributes:
        folder: its folder.
        which: which of its weights.
        recipe: how it was trained.
        results: what it came to.
        metrics: a line an epoch.
        environment: hardware, versions and data.
    """

    folder: RunFolder
    which: Which
    recipe: Recipe
    results: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    environment: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, which: Which) -> FinishedRun:
        """Read a run and make sure that it is finished.

        Raises:
            PublishError: it is not, or the folder holds none.
        """
        folder = RunFolder(path)
        if not (path / RECIPE).is_file():
            raise PublishError(f"{path} holds no run: there is no {RECIPE} in it. Give the folder of a finished run.")
        recipe = folder.recipe()
        try:
            metrics = folder.metrics()
            results = _json(path / "results.json")
            environment = _json(path / "environment.json")
        except ValueError as error:
            raise PublishError(f"{path} is damaged: {error}. Train again.") from error
        if results and not results.keys() >= _RESULTS:
            raise PublishError(f"{path}/results.json is damaged: it tells not all of {sorted(_RESULTS)}. Train again.")
        if not results or len(metrics) < recipe.epochs:
            raise PublishError(
                f"{path} is not finished: {len(metrics)} of {recipe.epochs} epochs are done. Go on with "
                f"`curriculum-zoo train --output {path} --resume`."
            )
        return cls(folder, which, recipe, results, metrics, environment)

    @property
    def path(self) -> Path:
        """Of its folder."""
        return self.folder.path

    @property
    def weights(self) -> Path:
        """The folder of the weights in question."""
        return self.path / self.which

    @property
    def epoch(self) -> int:
        """Which those are of, counted from 0."""
        return int(self.results["best_epoch"]) if self.which == "best" else self.recipe.epochs - 1

    @property
    def record(self) -> dict[str, Any]:
        """What is told of it where several runs stand side by side."""
        own = {key: self.results[key] for key in ("relative_flops", "seconds")}
        return {"seed": self.recipe.seed, "top1": self.results["test"][self.which]["top1"], **own}

    @property
    def fingerprint(self) -> str | None:
        """Of the images that it saw."""
        found: str | None = self.environment.get("data", {}).get("fingerprint")
        return found

    def content(
        self,
        *,
        data: str | None = None,
        runs: Sequence[FinishedRun] = (),
        baselines: Sequence[FinishedRun] = (),
        evaluations: Sequence[str | Path] = (),
    ) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
        """The config with all facts, and all other files but the card; see `curriculum_zoo.hub.layout.lay_out`.

        Raises:
            PublishError: its parts, or other runs, do not belong together with it.
            CurriculumZooError: config or weights are damaged, or do not fit.
        """
        recipe = public_recipe(self.recipe)
        if data and data.partition(":")[0] in DATASETS.names():
            recipe = recipe.changed({"data": data})
        arms, alike = self._arms(baselines), self._alike(runs)
        compared = _comparison([self, *alike], arms)
        files: dict[str, bytes | Path] = {
            WEIGHTS: self.weights / WEIGHTS,
            RECIPE: (json.dumps(recipe.to_dict(), indent=2) + "\n").encode(),
            METRICS: self.path / METRICS,
            CURVES: self._curves(recipe),
            **({} if compared is None else {COMPARISON: compared}),
        }
        config = self._config()
        config["curriculum_zoo"] |= {
            **self._facts(recipe, data, _evaluations(evaluations)),
            "runs": [run.record for run in (self, *alike)],
            "baselines": [{"changes": label, "runs": [run.record for run in arm]} for label, arm in arms],
            "figures": [name for name in files if name.endswith(".png")],
        }
        return config, files

    def _config(self) -> dict[str, Any]:
        """The config beside the weights, after both have been checked, and checked to be of this run."""
        stored = open_folder(self.weights)
        facts = stored.facts
        if facts.get("recipe") != self.recipe.to_dict() and differences(
            Recipe.from_dict(facts.get("recipe", {})), self.recipe
        ):
            raise PublishError(f"{self.weights} holds weights of another recipe than {self.path}. Train again.")
        if facts.get("distribution") == THIS_SESSION:
            raise PublishError(
                f"The architecture of {self.weights} was registered in a session alone, so nobody else can build it. "
                "Bring it as a plugin (an entry point of an installed package), and train again."
            )
        if facts.get("epoch") != self.epoch:
            raise PublishError(
                f"{self.weights} holds weights of epoch {facts.get('epoch')}, but the run's results are of epoch "
                f"{self.epoch}. Train again."
            )
        return copy.deepcopy(dict(stored.config))

    def _facts(self, recipe: Recipe, data: str | None, evaluations: list[dict[str, Any]]) -> dict[str, Any]:
        """What the card tells of this run beyond the config that training wrote."""
        network = loaded(self.weights)
        test, own = self.results["test"], self.environment.get("data", {})
        return {
            "recipe": recipe.to_dict(),
            "weights": self.which,
            "test": test[self.which],
            "last_top1": test["last"]["top1"],
            **{key: self.results[key] for key in ("flops", "relative_flops", "seconds")},
            "forward_flops": _forward_flops(network, self._config(), evaluations),
            "evaluations": evaluations,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "frozen": self._frozen(network),
            "size": (self.weights / WEIGHTS).stat().st_size,
            "sha256": sha256_of(self.weights / WEIGHTS),
            "data": {
                "name": data or recipe.data,
                **{key: own[key] for key in ("fingerprint", "train_images", "test_images") if key in own},
            },
            "environment": {key: self.environment[key] for key in _TOLD_OF_MACHINE if key in self.environment},
        }

    def _frozen(self, network: nn.Module) -> dict[str, float]:
        """The share of the network's parameters that did not learn, by stage, where a stage freezes any part."""
        curriculum = create_curriculum(self.recipe.curriculum, epochs=self.recipe.epochs, seed=self.recipe.seed)
        stages = {stage.name: stage for stage in map(curriculum.stage, range(self.recipe.epochs)) if stage.frozen}
        shares = {}
        for name, stage in stages.items():
            with stage.applied_to(network):
                counts = [(p.numel(), p.numel() * (not p.requires_grad)) for p in network.parameters()]
            shares[name] = sum(still for _, still in counts) / sum(count for count, _ in counts)
        return shares

    def _curves(self, recipe: Recipe) -> bytes | Path:
        """The run's figure; drawn anew where its title would tell a place."""
        if recipe.model == self.recipe.model and self.folder.curves.is_file():
            return self.folder.curves
        return _drawn("draw_curves", self.metrics, title=f"{recipe.model}, {recipe.curriculum}")

    def _alike(self, runs: Sequence[FinishedRun]) -> list[FinishedRun]:
        """The further runs, checked to be by the same recipe on the same images, each seed once."""
        seeds = {self.recipe.seed}
        others = [run for run in runs if run.path.resolve() != self.path.resolve()]
        for run in others:
            differing = differences(self.recipe, run.recipe).keys() - {"seed", "data"}
            if differing or run.fingerprint != self.fingerprint:
                what = f"in {', '.join(sorted(differing))}" if differing else "in the images that it saw"
                raise PublishError(f"{run.path} is no further run by this recipe: it differs {what}. Leave it out.")
            if run.recipe.seed in seeds:
                raise PublishError(f"{run.path} has seed {run.recipe.seed}, which is counted already. Leave it out.")
            seeds.add(run.recipe.seed)
        return others

    def _arms(self, baselines: Sequence[FinishedRun]) -> list[tuple[list[str], list[FinishedRun]]]:
        """The runs to compare with, grouped by what is different about them."""
        arms: dict[tuple[str, ...], list[FinishedRun]] = {}
        own = public_recipe(self.recipe)
        for run in baselines:
            if run.fingerprint != self.fingerprint:
                raise PublishError(f"{run.path} saw other images, so the two cannot be compared. Leave it out.")
            changes = differences(own, public_recipe(run.recipe))
            label = tuple(f"{name}={value}" for name, value in changes.items() if name not in ("seed", "data"))
            if not label:
                raise PublishError(f"{run.path} is a run by the same recipe. Name it among the runs instead.")
            arms.setdefault(label, []).append(run)
        return [(list(label), arm) for label, arm in arms.items()]


def _comparison(own: Sequence[FinishedRun], arms: Sequence[tuple[list[str], list[FinishedRun]]]) -> bytes | None:
    """The figure of several arms; None where there is nothing to compare, or epochs do not match."""
    named = {"this recipe": own, **{", ".join(label): arm for label, arm in arms}}
    drawn = {label: [run.metrics for run in arm] for label, arm in named.items()}
    lines = [metrics for arm in drawn.values() for metrics in arm]
    if not arms or len({len(metrics) for metrics in lines}) > 1 or lines[0][0]["validation_accuracy"] is None:
        return None
    return _drawn("draw_arms", drawn, title=own[0].recipe.model)


def _drawn(function: str, *arguments: Any, title: str) -> bytes:
    """What one of the functions of `curriculum_zoo.training.curves` draws, as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CURVES
        getattr(curves, function)(*arguments, path, title=title)
        return path.read_bytes()


def _forward_flops(network: nn.Module, config: Mapping[str, Any], evaluations: list[dict[str, Any]]) -> int | None:
    """FLOPs of one image's forward pass.

    Of a network that chooses what to look at, where that was measured, through as many levels as it was measured for.
    """
    import torch

    from ..evaluation.metrics import forward_flops
    from ..models.glimpse_pyramid import GlimpsePyramid

    size = config["pretrained_cfg"]["input_size"]
    if not isinstance(network, GlimpsePyramid):
        return forward_flops(network, torch.zeros(2, *size))
    measured = [found for found in evaluations if found["resolution"] == size[1]]
    return max(measured, key=lambda found: found.get("levels") or 0)["flops"] if measured else None


def _evaluations(files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What evaluations found, accuracy by class left out."""
    found = []
    for path in files:
        try:
            listed = json.loads(Path(path).read_text(encoding="utf-8"))
            found += [{key: value for key, value in one.items() if key != "per_class"} for one in listed]
            complete = all({"images", "resolution", "top1", "flops"} <= one.keys() for one in found)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise PublishError(f"The evaluation {path} cannot be read: {error}.") from error
        if not complete:
            raise PublishError(f"{path} is no evaluation. Make one by `curriculum-zoo evaluate … --json > {path}`.")
    return found


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content
