"""`RunParts`: what a run consists of, once it is built and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..compat import building_options
from ..curricula import Curriculum
from ..data import DataSet
from ..data.normalize import Normalize
from ..recipes import Recipe
from ..weights.folder import model_config
from .cost import CostMeter
from .loaders import RunLoaders
from .objectives import Objective
from .origin import Origin
from .parameter_groups import LearningRates

__all__ = ["RunParts", "network_options"]


@dataclass(frozen=True)
class RunParts:
    """The parts of a run.

    Attributes:
        recipe: what they were made from.
        accelerator: Accelerate's hold on devices, processes and precision.
        data_set: all images.
        loaders: gives them out in batches.
        train_indices: numbers of the training images that are trained on, int64.
        validation_indices: numbers of those that are held out, int64.
        origin: where the network comes from.
        network: the network itself.
        trained: what training calls: the network, or its compiled form.
        average: the moving average of its weights, where the recipe wants one.
        curriculum: the plan of stages.
        rates: the peak learning rates of its parameters.
        objective: the loss.
        cost: counts FLOPs by stage.
        normalize: what happens to images after the view.
    """

    recipe: Recipe
    accelerator: Any
    data_set: DataSet
    loaders: RunLoaders
    train_indices: npt.NDArray[np.int64]
    validation_indices: npt.NDArray[np.int64]
    origin: Origin
    network: nn.Module
    trained: nn.Module
    average: Any
    curriculum: Curriculum
    rates: LearningRates
    objective: Objective
    cost: CostMeter
    normalize: Normalize

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return torch.device(self.accelerator.device)

    @property
    def image_size(self) -> int:
        """Full side of the images, in pixels."""
        return self.data_set.image_size[0]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.data_set.num_classes

    def config(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return the ``config.json`` that goes with this run's weights.

        Args:
            facts: what else it records: recipe, epoch, metrics.
        """
        height, width = self.data_set.image_size
        return model_config(
            self.network,
            architecture=self.origin.architecture,
            options=network_options(self.network),
            input_size=(self.data_set.channels, height, width),
            mean=self.normalize.mean,
            std=self.normalize.std,
            classes=self.data_set.classes,
            interpolation=self.loaders.factory.interpolation,
            crop_pct=self.loaders.factory.crop_pct,
            crop_mode=self.loaders.factory.crop_mode,
            facts={**self.origin.facts, **facts},
        )


def network_options(network: nn.Module) -> dict[str, Any]:
    """Return the keywords that a network was built with, but for those that a config states by themselves.

    Args:
        network: the network; the size of its images is among them where it is built for one.
    """
    return {name: value for name, value in building_options(network).items() if name not in ("num_classes", "in_chans")}
