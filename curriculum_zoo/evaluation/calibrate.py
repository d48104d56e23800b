"""Re-estimation of BatchNorm's statistics at the resolution at which a network is evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..compat import batch_norms

__all__ = ["calibrate_batchnorm"]


@torch.no_grad()
def calibrate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replace BatchNorm's running statistics by the plain mean over some batches; weights stay as they are.

    Statistics gathered at one resolution fit another one badly, which costs accuracy that has nothing to do with what
    the weights have learnt (Touvron et al. 2019, section 3.2).

    Args:
        model: the network, changed in place; its training mode is restored.
        batches: images [N, C, H, W] as the network takes them, at least one batch.

    Returns:
        The network.
    """
    norms: list[Any] = [
        module for module in model.modules() if isinstance(module, batch_norms()) and module.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    # Only BatchNorm is put into training mode: dropout and stochastic depth must not blur what it measures.
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean instead of an exponential one
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.train(was_training)
