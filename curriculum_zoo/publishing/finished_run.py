"""A finished run, as its card presents it: checked, set beside other runs, and without places on any machine."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..curricula import create_curriculum
from ..documents import read_json
from ..errors import PublishError
from ..recipes import Recipe
from ..registry import DATASETS, THIS_SESSION
from ..runs import curves
from ..runs.folder import may_be_moved
from ..runs.record import CURVES, METRICS, RECIPE, RunRecord
from ..weights.address import Address
from ..weights.folder import Which, open_folder
from ..weights.stored import WEIGHTS, sha256_of
from .privacy import public_recipe
from .repeat import differences

if TYPE_CHECKING:
    from torch import nn

__all__ = ["COMPARISON", "FinishedRun", "loaded"]

COMPARISON = "comparison.png"

_OF_THE_DATA = ("fingerprint", "train_images", "validation_images", "test_images")
_OF_THE_MACHINE = ("python", "processor", "device", "threads", "processes", "packages")


def loaded(folder: Path) -> nn.Module:
    """Return the network of a folder of weights, in eval mode, with all checks that loading makes.

    Raises:
        CurriculumZooError: the weights are damaged or do not fit, or the architecture is not registered here.
    """
    from ..models import create_model

    return create_model(Address("folder", str(folder)), pretrained=True).eval()


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, and the weights of it that are published.

    Attributes:
        record: what it recorded.
        which: which of its weights.
    """

    record: RunRecord
    which: Which

    @classmethod
    def read(cls, path: Path, which: Which) -> FinishedRun:
        """Read a run and make sure that it is finished.

        Raises:
            CheckpointError: it is not, the folder holds none, or a file is damaged.
        """
        record = RunRecord.read(path)
        record.finished_results()
        return cls(record, which)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.record.path

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self.record.recipe

    @property
    def weights(self) -> Path:
        """The folder of the weights in question."""
        return self.record.weights(self.which)

    @property
    def summary(self) -> dict[str, Any]:
        """What a card says of it where several runs stand side by side."""
        results = self.record.finished_results()
        return {
            "seed": self.recipe.seed,
            "top1": results.top1(self.which),
            "relative_flops": results.relative_flops,
            "seconds": results.seconds,
        }

    def content(
        self,
        *,
        data: str | None = None,
        runs: Sequence[FinishedRun] = (),
        baselines: Sequence[FinishedRun] = (),
        evaluations: Sequence[str | Path] = (),
    ) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
        """Return the config with all facts, and all other files but the card; see `layout.lay_out`.

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
            "runs": [run.summary for run in (self, *alike)],
            "baselines": [{"changes": label, "runs": [run.summary for run in arm]} for label, arm in arms],
            "figures": [name for name in files if name.endswith(".png")],
        }
        return config, files

    def _config(self) -> dict[str, Any]:
        """The config beside the weights, after both have been checked, and checked to be of this run."""
        stored = open_folder(self.weights)
        facts = stored.facts
        if self._is_another(facts.get("recipe", {})):
            raise PublishError(f"{self.weights} holds weights of another recipe than {self.path}. Train again.")
        if facts.get("distribution") == THIS_SESSION:
            raise PublishError(
                f"The architecture of {self.weights} was registered in a session alone, so nobody else can build it. "
                "Bring it as a plugin (an entry point of an installed package), and train again."
            )
        epoch = self.record.epoch(self.which)
        if facts.get("epoch") != epoch:
            raise PublishError(
                f"{self.weights} holds weights of epoch {facts.get('epoch')}, but the run's results are of epoch "
                f"{epoch}. Train again."
            )
        return copy.deepcopy(dict(stored.config))

    def _is_another(self, recipe: Mapping[str, Any]) -> bool:
        """Whether a recipe is not this run's, whose data may have been moved while it went on."""
        if recipe == self.recipe.to_dict():
            return False
        weights = Recipe.from_dict(recipe)
        moved = may_be_moved(weights.data, self.recipe.data)
        return bool(differences(weights, self.recipe).keys() - ({"data"} if moved else set()))

    def _facts(self, recipe: Recipe, data: str | None, evaluations: list[dict[str, Any]]) -> dict[str, Any]:
        """What the card says of this run beyond the config that training wrote."""
        network = loaded(self.weights)
        results, environment = self.record.finished_results(), self.record.environment
        own = environment.get("data", {})
        return {
            "recipe": recipe.to_dict(),
            "weights": self.which,
            "test": results.test[self.which],
            "last_top1": results.top1("last"),
            "flops": results.flops,
            "relative_flops": results.relative_flops,
            "seconds": results.seconds,
            **_forward_flops(network, self._config(), evaluations),
            "evaluations": evaluations,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "frozen": self._frozen(network),
            "size": (self.weights / WEIGHTS).stat().st_size,
            "sha256": sha256_of(self.weights / WEIGHTS),
            "data": {
                "name": data or recipe.data,
                **{key: own[key] for key in _OF_THE_DATA if key in own},
            },
            "environment": {key: environment[key] for key in _OF_THE_MACHINE if key in environment},
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
        """The run's figure; drawn again where its title would name a place on the publisher's machine."""
        if recipe.model == self.recipe.model and (self.path / CURVES).is_file():
            return self.path / CURVES
        return _drawn("draw_curves", list(self.record.metrics), title=f"{recipe.model}, {recipe.curriculum}")

    def _alike(self, runs: Sequence[FinishedRun]) -> list[FinishedRun]:
        """The further runs, checked to be by the same recipe on the same images, each seed once."""
        seeds = {self.recipe.seed}
        others = [run for run in runs if run.path.resolve() != self.path.resolve()]
        for run in others:
            differing = differences(self.recipe, run.recipe).keys() - {"seed", "data"}
            if differing or run.record.fingerprint != self.record.fingerprint:
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
            if run.record.fingerprint != self.record.fingerprint:
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
    drawn = {label: [list(run.record.metrics) for run in arm] for label, arm in named.items()}
    lines = [metrics for arm in drawn.values() for metrics in arm]
    if not arms or len({len(metrics) for metrics in lines}) > 1 or lines[0][0]["validation_accuracy"] is None:
        return None
    return _drawn("draw_arms", drawn, title=own[0].recipe.model)


def _drawn(function: str, *arguments: Any, title: str) -> bytes:
    """What one of the functions of `curriculum_zoo.runs.curves` draws, as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CURVES
        getattr(curves, function)(*arguments, path, title=title)
        return path.read_bytes()


def _forward_flops(
    network: nn.Module, config: Mapping[str, Any], evaluations: list[dict[str, Any]]
) -> dict[str, int | list[int] | None]:
    """FLOPs of one image's forward pass.

    An adaptive network itself says what it spends by choice: the least and the most, beside the mean that was measured
    through as many levels as it was measured for.
    """
    import torch

    from ..evaluation.metrics import forward_flops
    from ..evaluation.traversal import cost_range
    from ..models.adaptive import AdaptiveNetwork

    size = config["pretrained_cfg"]["input_size"]
    if not isinstance(network, AdaptiveNetwork):
        return {"forward_flops": forward_flops(network, torch.zeros(2, *size))}
    measured = [found for found in evaluations if found["resolution"] == size[1]]
    mean = max(measured, key=lambda found: found.get("levels") or 0)["flops"] if measured else None
    return {"forward_flops": mean, "forward_flops_range": list(cost_range(network, torch.zeros(1, *size)))}


def _evaluations(files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What evaluations found, accuracy by class left out."""
    found = []
    for path in files:
        try:
            listed = read_json(path)
            found += [{key: value for key, value in one.items() if key != "per_class"} for one in listed]
            complete = all({"images", "resolution", "top1", "flops"} <= one.keys() for one in found)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise PublishError(
                f"{path} is no evaluation ({error}). Make one by `curriculum-zoo evaluate … --json > {path}`."
            ) from error
        if not complete:
            raise PublishError(f"{path} is no evaluation. Make one by `curriculum-zoo evaluate … --json > {path}`.")
    return found
