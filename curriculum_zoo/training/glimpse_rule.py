"""The learning rule of the glimpse pyramid: cross entropy, REINFORCE, and two terms that keep the choices in bounds.

Source: "Image Classification through Top-Down Image Pyramid Traversal", section 4 and appendix A.4, whose rule is to be
maximised; the loss here is its negative. With processing levels 1 … z, a batch of N images and M samples of locations
for each, the loss is the mean over the N·M rows, equation by equation, of ::

    - log p(y | l, x)                                 (1), first term: cross entropy, for all but the location module
    - λ_f · (log p(y | l, x) - b) · log p(l | x)      (1), second term: the policy gradient, measured against b (12)
    + λ_t · ½ (mean of p_t - c_t)²                    (2), p_t as in (14)
    + λ_r · ½ mean over cells of (p_k - c_r)²         (3), p_k as in (15)

The network keeps the gradients of the last three to its location module (A.5.2). In gradual learning (5) each count of
levels has numbers of its own; multi-level learning (6) adds up the losses at several counts, from one traversal.

Where the paper is silent: the moving average b has a value for each count of levels, starts with the mean of the first
batch, and moves after the step that used it. c_r is c_t / (g · the mean count of times that the location module is
applied to an image of this batch), so that (2) and (3) agree, and at most 1. Means in (2) and (3) are over the images
that one process computes at once: its share of the batch, or of the part, where a batch is accumulated in parts. With
label smoothing or mixed images, log p(y | l, x) is the negative cross entropy against the target distribution.

Beyond the paper, b may be the mean over the image's other samples: then the policy hears whether one choice was better
than another, not how hard the image is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..curricula import Stage
from ..errors import RecipeError
from ..recipes import GlimpseLearning
from .objectives import LossOutput, Objective

__all__ = ["GlimpseRule"]

Attend = Callable[[Tensor, int], Tensor]
"""A function of probabilities [R, g] and the level, counted from 0, that returns what is attended, a bool [R, g]."""


class GlimpseRule(Objective):
    """The rule, and its moving average of the log likelihood.

    Args:
        settings: its numbers.
        label_smoothing: share of the target spread over all classes.
        attend: makes the choices; drawn from the network's probabilities where None, as the rule wants it.

    Attributes:
        baselines: b in nats, a scalar on the device, keyed by the count of processing levels; before the first batch
            with so many levels it is missing.
    """

    def __init__(
        self, settings: GlimpseLearning, label_smoothing: float = 0.0, *, attend: Attend | None = None
    ) -> None:
        self.settings = settings
        self.label_smoothing = label_smoothing
        self.baselines: dict[int, Tensor] = {}
        self._how: dict[str, Any] = {"samples": settings.samples, **({"attend": attend} if attend else {})}

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> LossOutput:
        """Compute loss, logits [N·samples, classes] after the last level, and figures of a batch.

        The loss has the gradient of all terms and the value of the cross entropy, which compares with that of other
        networks and of validation images.

        The figures are ``attended`` and ``attended_expected``, the mean count of locations of an image and the mean of
        its expectation p_t, beside ``attended_target``, what is aimed at; ``cell_least`` and ``cell_most``, the mean
        probability p_k of the cells that are attended least and most, which come to 0 and 1 where the location module
        no longer looks at the image to choose; ``baseline``, b of the last level; and
        ``log_likelihood_z`` after z levels. The choices are ``crops_z``, the mean count of attended locations at level
        z, and ``merged_z``, the mean count of regions of level z that got details from the level below.

        Raises:
            RecipeError: the stage does not have a weight for each of its levels.
        """
        glimpses = model(images, stage.levels, glimpses={**self._how, "every_level": bool(stage.level_weights)})
        last = len(glimpses.levels) + 1
        weights = dict(enumerate(stage.level_weights, 1)) or {last: 1.0}
        if max(weights) != last:
            raise RecipeError(
                f"recipe: stage '{stage.name}' has {len(stage.level_weights)} level_weights for {last} processing "
                "levels. Give one for each."
            )
        targets = targets.repeat(self.settings.samples, *[1] * (targets.dim() - 1))
        losses, location_terms = [], []
        figures: dict[str, Tensor] = {}
        # Without a weight for every level, the only logits are those of the last one.
        for (levels, weight), logits in zip(weights.items(), glimpses.logits, strict=True):
            precise = logits if logits.dtype == torch.float64 else logits.float()
            log_likelihood = -F.cross_entropy(precise, targets, label_smoothing=self.label_smoothing, reduction="none")
            mean = log_likelihood.detach().mean()
            figures[f"log_likelihood_{levels}"] = mean
            losses.append(-weight * log_likelihood.mean())
            if levels > 1:
                baseline = self._baseline(log_likelihood.detach(), levels)
                advantage = log_likelihood.detach() - baseline
                location_terms.append(weight * self._location_terms(glimpses, levels, advantage))
                figures["baseline"] = baseline.mean()
        loss = torch.stack(losses).sum()
        if location_terms:
            located = torch.stack(location_terms).sum()
            # For their gradients alone: their values, the policy gradient's above all, say nothing of how it goes.
            loss = loss + (located - located.detach())
            figures["attended"] = glimpses.attended().float().mean()
            figures["attended_expected"] = glimpses.expected().detach().mean()
            figures["attended_target"] = torch.full_like(mean, _at(self.settings.locations, last))
            probability = glimpses.cell_probability().detach()
            figures["cell_least"], figures["cell_most"] = probability.min(), probability.max()
        return LossOutput(loss, glimpses.logits[-1], figures, _choices(glimpses))

    def _baseline(self, log_likelihood: Tensor, levels: int) -> Tensor:
        """The baseline b for each row, or one for all; it must not depend on the row's own choices."""
        if self.settings.baseline == "samples":
            samples = log_likelihood.view(self.settings.samples, -1)
            return ((samples.sum(0) - samples) / (len(samples) - 1)).flatten()
        return self.baselines[levels].to(log_likelihood) if levels in self.baselines else log_likelihood.mean()

    def _location_terms(self, glimpses: Any, levels: int, advantage: Tensor) -> Tensor:
        """The second term of (1), (2) and (3) at a count of levels; `advantage` is log p(y|l,x) - b, [rows]."""
        settings = self.settings
        log_probability = glimpses.log_probability(levels)
        expected = glimpses.expected(levels).mean()
        probability = glimpses.cell_probability(levels)
        aim = _at(settings.locations, levels)
        cell_aim: Tensor | float
        if settings.cell_probability is None:
            applied = glimpses.located(levels).float().mean()
            cell_aim = (aim / (len(probability) * applied)).clamp(max=1.0)
        else:
            cell_aim = _at(settings.cell_probability, levels)
        return (
            -_at(settings.lambda_f, levels) * (advantage * log_probability).mean()
            + _at(settings.lambda_t, levels) * 0.5 * (expected - aim).square()
            + _at(settings.lambda_r, levels) * 0.5 * (probability - cell_aim).square().mean()
        )

    def update(self, figures: Mapping[str, Tensor]) -> None:
        """Update b by equation (12).

        Args:
            figures: among them ``log_likelihood_z``, the mean log likelihood after z levels.
        """
        decay = self.settings.baseline_decay
        for name, value in figures.items():
            if name.startswith("log_likelihood_"):
                levels = int(name.rpartition("_")[2])
                before = self.baselines.get(levels, value.nan_to_num(0.0, 0.0, 0.0))
                after = decay * before + (1 - decay) * value
                self.baselines[levels] = torch.where(value.isfinite(), after, before)  # a step that is left out

    def with_choices(self, number: int) -> GlimpseRule:
        """Return the rule with fixed choices.

        Args:
            number: 2k - 1 attends one cell of each region down to level k, and 2k one cell above it and two there.
        """
        deepest = (number + 1) // 2

        def attend(probabilities: Tensor, level: int) -> Tensor:
            cells = 0 if level >= deepest else 2 if level == deepest - 1 and number % 2 == 0 else 1
            mask = torch.zeros_like(probabilities, dtype=torch.bool)
            mask[:, :cells] = True
            return mask

        return GlimpseRule(self.settings, self.label_smoothing, attend=attend)

    def dense(self) -> GlimpseRule:
        """Return the rule with all cells of all regions attended, once per image."""
        settings = replace(self.settings, samples=1, baseline="moving")
        return GlimpseRule(settings, self.label_smoothing, attend=lambda p, level: torch.ones_like(p, dtype=torch.bool))

    def state_dict(self) -> dict[str, Any]:
        """Return the moving averages, keyed by the count of levels."""
        return {"baselines": dict(self.baselines)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the moving averages that `state_dict` returned."""
        self.baselines = dict(state["baselines"])


def _at(numbers: float | tuple[float, ...], levels: int) -> float:
    """The number for a count of levels, 2 or more."""
    return numbers[min(levels - 2, len(numbers) - 1)] if isinstance(numbers, tuple) else numbers


def _choices(glimpses: Any) -> dict[str, Tensor]:
    """What was computed by choice, as means over the rows."""
    choices: dict[str, Tensor] = {}
    for number, level in enumerate(glimpses.levels, 1):
        choices[f"crops_{number + 1}"] = level.mask.sum() / glimpses.rows
        choices[f"merged_{number}"] = level.mask.any(1).sum() / glimpses.rows
    return choices
