"""How good predictions are: accuracy, loss, per-class accuracy and calibration, from logits."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..seeding import derive_seed
from .calibration import expected_error, reliability_bins

__all__ = ["Scores", "collect", "forward_flops", "mean_scores", "milliseconds_an_image", "score", "seeded"]

TIMED_BATCHES = 20


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
        """Return it as JSON values."""
        return asdict(self)


def collect(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device,
    precision: str = "fp32",
    seed: int = 0,
    repeat: int = 0,
) -> tuple[Tensor, Tensor]:
    """Run a network in eval mode over batches.

    Some networks draw at random in eval mode too, as a glimpse pyramid draws where to look. What they draw here is a
    function of `seed` and `repeat` alone; the generators that others draw from do not move.

    Args:
        model: the network; its training mode is restored.
        batches: images [N, C, H, W] as the network takes them, with labels [N].
        device: where the network lies.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        seed: decides what the network draws.
        repeat: number of the evaluation, where it is one of several with the same seed.

    Returns:
        Logits [N, classes] in fp32 and labels [N], both on the CPU.
    """
    logits, labels = [], []
    with _running(model, device, precision), seeded(device, derive_seed(seed, repeat)):
        for images, targets in batches:
            logits.append(model(images).float())
            labels.append(targets)
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()


def milliseconds_an_image(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, device: torch.device, precision: str = "fp32"
) -> float:
    """Return wall-clock milliseconds of the forward pass per image: the median over up to 20 batches, after a warm-up.

    Args:
        model: the network; its training mode is restored.
        batches: images [N, C, H, W] as the network takes them, with labels [N], which are not looked at.
        device: where the network lies.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """
    taken = []
    with _running(model, device, precision), seeded(device, derive_seed(0)):
        for step, (images, _) in enumerate(itertools.islice(batches, TIMED_BATCHES)):
            if step == 0:
                model(images)
            _wait_for(device)
            started = time.perf_counter()
            model(images)
            _wait_for(device)
            taken.append((time.perf_counter() - started) / len(images))
    return 1000 * statistics.median(taken)


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators, and put them back as they were on leaving.

    Args:
        device: whose generator, beside the CPU's.
        seed: from 0 to 2⁶³ − 1.
    """
    with torch.random.fork_rng(range(torch.cuda.device_count()) if device.type == "cuda" else ()):
        if device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # those of accelerators stay as they are
        else:
            torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _running(model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """The network in eval mode, without gradients, in the precision asked for."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"):
            yield
    finally:
        model.train(was_training)


def _wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Return accuracy, loss and calibration of predictions.

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
        calibration_error=expected_error(reliability_bins(confidence, right)),
        per_class=tuple(
            hits.item() / count.item() if count else None for hits, count in zip(right_by_class, counts, strict=True)
        ),
    )


def mean_scores(repeats: Sequence[Scores]) -> Scores:
    """Return the mean of each figure over several evaluations on the same labels.

    Args:
        repeats: at least one.
    """

    def mean(values: Iterable[float | None]) -> float | None:
        there_are = [value for value in values if value is not None]
        return statistics.fmean(there_are) if there_are else None

    by_class = zip(*(scores.per_class for scores in repeats), strict=True)
    return Scores(
        images=repeats[0].images,
        top1=statistics.fmean(scores.top1 for scores in repeats),
        top5=mean(scores.top5 for scores in repeats),
        loss=statistics.fmean(scores.loss for scores in repeats),
        calibration_error=statistics.fmean(scores.calibration_error for scores in repeats),
        per_class=tuple(map(mean, by_class)),
    )


def forward_flops(model: nn.Module, images: Tensor) -> int:
    """Return the FLOPs of one image's forward pass in eval mode, counted from the network that runs.

    Args:
        model: the network; its training mode is restored.
        images: a batch [N, C, H, W] such as it takes.
    """
    was_training = model.training
    model.eval()
    with torch.no_grad(), seeded(images.device, derive_seed(0)), FlopCounterMode(display=False) as counter:
        model(images)
    model.train(was_training)
    return int(counter.get_total_flops()) // len(images)
