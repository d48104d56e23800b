"""How good predictions are: accuracy, loss, per-class accuracy and calibration, from logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Scores", "collect", "forward_flops", "score"]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """What a network achieved on a set of images.

    Attributes:
        images: how many there were.
        top1: share whose most probable class is right, 0 to 1.
        top5: share whose class is among the five most probable; None with fewer than six classes.
        loss: mean cross entropy, in nats.
        calibration_error: expected calibration error over 15 equal bins of confidence (Guo et al. 2017, eq. 3).
        per_class: top-1 accuracy by class; None where a class has no image.
    """

    images: int
    top1: float
    top5: float | None
    loss: float
    calibration_error: float
    per_class: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@torch.inference_mode()
def collect(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, device: torch.device, precision: str = "fp32"
) -> tuple[Tensor, Tensor]:
    """Run a network in eval mode over batches.

    Args:
        model: the network; its training mode is restored.
        batches: images [N, C, H, W] as the network takes them, with labels [N].
        device: where the network lies.
        precision: ``fp32``, ``bf16`` or ``fp16``.

    Returns:
        Logits [N, classes] in fp32 and labels [N], both on the CPU.
    """
    was_training = model.training
    model.eval()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    logits, labels = [], []
    with torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"):
        for images, targets in batches:
            logits.append(model(images).float())
            labels.append(targets)
    model.train(was_training)
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Scores of predictions.

    Args:
        logits: [N, classes], N at least 1.
        labels: class indices [N].
    """
    classes = logits.shape[1]
    probabilities = logits.double().softmax(1)
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).double()
    counts = torch.bincount(labels, minlength=classes)
    right_by_class = torch.bincount(labels, weights=right, minlength=classes)
    top5 = None
    if classes > 5:
        top5 = (logits.topk(5, dim=1).indices == labels[:, None]).any(1).double().mean().item()
    return Scores(
        images=len(labels),
        top1=right.mean().item(),
        top5=top5,
        loss=F.cross_entropy(logits.double(), labels).item(),
        calibration_error=_calibration_error(confidence, right),
        per_class=tuple(
            hits.item() / count.item() if count else None for hits, count in zip(right_by_class, counts, strict=True)
        ),
    )


def forward_flops(model: nn.Module, images: Tensor) -> int:
    """FLOPs of one image's forward pass in eval mode, counted from the network that runs.

    Args:
        model: the network; its training mode is restored.
        images: a batch [N, C, H, W] such as it takes.
    """
    was_training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    model.train(was_training)
    return int(counter.get_total_flops()) // len(images)


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Mean gap between confidence and accuracy, weighted by how many predictions fall into each bin (low, high]."""
    bins = (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    gaps = torch.bincount(bins, weights=confidence - right, minlength=CALIBRATION_BINS)
    return gaps.abs().sum().item() / len(right)
