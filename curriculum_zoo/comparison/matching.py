"""Equal FLOPs: what each arm's training costs, counted before any is trained, and the baseline for the same cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ComparisonError
from ..recipes import Recipe
from ..recipes.schedule import drops
from .arms import Arm, fingerprint

if TYPE_CHECKING:
    from ..training.run_parts import RunParts

__all__ = ["FlopsCounter", "planned_flops", "with_matched"]


def with_matched(arms: list[Arm], flops_of: Callable[[Recipe], int]) -> list[Arm]:
    """The arms, and the baseline of each that costs less than it, with its epochs scaled to the arm's FLOPs.

    Epochs are whole, so the nearest count is taken; by seed, as some curricula draw what they cost. Arms whose budgets
    come to the same epochs share one such baseline. Where the nearest count is the baseline's own, it is its own match.

    Args:
        arms: stated ones and ablations.
        flops_of: FLOPs of a recipe's whole training.
    """
    costs = {arm.label: {seed: flops_of(recipe) for seed, recipe in arm.recipes.items()} for arm in arms}
    labelled = {arm.label: arm for arm in arms}
    kept: list[Arm] = []
    added: dict[tuple[object, ...], Arm] = {}
    for arm in arms:
        baseline = labelled[arm.baseline or arm.label]
        own, full = costs[arm.label], costs[baseline.label]
        if sum(own.values()) >= sum(full.values()):
            kept.append(arm)
            continue
        lengths = {seed: baseline.recipes[seed].epochs for seed in own}
        epochs = {seed: max(1, round(length * own[seed] / full[seed])) for seed, length in lengths.items()}
        if epochs == lengths:
            kept.append(replace(arm, matched=baseline.label))
            continue
        key = (baseline.label, *epochs.items())
        if key not in added:
            label = _label(baseline.label, list(epochs.values()))
            taken = {other.label for other in added.values()} | labelled.keys()
            recipes = {seed: baseline.recipes[seed].changed({"epochs": count}) for seed, count in epochs.items()}
            added[key] = Arm(
                f"{label} ({arm.label})" if label in taken else label,
                recipes,
                kind="matched",
                baseline=baseline.label,
            )
        kept.append(replace(arm, matched=added[key].label))
    return [*kept, *added.values()]


def _label(baseline: str, epochs: list[int]) -> str:
    least, most = min(epochs), max(epochs)
    return f"{baseline}, {least} epochs" if least == most else f"{baseline}, {least} to {most} epochs"


class FlopsCounter:
    """FLOPs of whole trainings; recipes that differ in seed and epochs alone share one prepared run.

    Args:
        prepare: makes the parts of a run, as `curriculum_zoo.training.prepare.prepare` does.
        known: FLOPs that were counted before, by fingerprint.
    """

    def __init__(self, prepare: Callable[[Recipe], RunParts], known: dict[str, int] | None = None) -> None:
        self.known = dict(known or {})
        self._prepare = prepare
        self._kind: str | None = None
        self._parts: RunParts | None = None

    def __call__(self, recipe: Recipe) -> int:
        """FLOPs of a training, forward and backward.

        Raises:
            CurriculumZooError: it cannot be prepared, or its cost depends on what its network will choose to compute.
        """
        key = fingerprint(recipe)
        if key not in self.known:
            self.known[key] = planned_flops(self._prepared(recipe), recipe)
        return self.known[key]

    def _prepared(self, recipe: Recipe) -> RunParts:
        if recipe.glimpses is not None:
            raise ComparisonError(
                f"{recipe.model} chooses what it computes, so that what its training costs is not known before. Leave "
                "--matched out."
            )
        kind = fingerprint(recipe.changed({"seed": 0, "epochs": 1}))
        if self._parts is None or kind != self._kind:
            self._parts = None  # before the next one takes memory
            self._kind, self._parts = kind, self._prepare(recipe)
        return self._parts


def planned_flops(parts: RunParts, recipe: Recipe) -> int:
    """FLOPs of a whole training, as the engine counts them while it trains.

    Args:
        parts: those of a run that differs from it in seed and epochs at most.
        recipe: the training.

    Raises:
        ComparisonError: how many images it sees depends on what it will see of them.
    """
    from ..curricula import create_curriculum
    from ..training.samples import image_stages

    curriculum = create_curriculum(recipe.curriculum, epochs=recipe.epochs, seed=recipe.seed)
    curriculum = curriculum.with_learning_rate_drops(drops(recipe.schedule, recipe.epochs))
    flops = 0
    for epoch in range(recipe.epochs):
        stage = curriculum.stage(epoch)
        loader = parts.loaders.training(stage)
        share = stage.sample_share
        if share is None:
            raise ComparisonError(
                f"{curriculum.name} chooses images by what the run sees of them, so that what its training costs is "
                "not known before. Leave --matched out."
            )
        whole = image_stages(loader, stage)
        planned = (
            sum(loader.sizes) if share == 1 else round(share * loader.count) // loader.batch_size * loader.batch_size
        )
        flops += sum(round(planned * count / sum(loader.sizes)) * parts.cost.of(here) for here, count in whole)
        if stage.samples is not None and stage.samples.looks:
            flops += loader.count * parts.cost.of_look(stage)
    return flops
