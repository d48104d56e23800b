"""Time our networks against their plain timm twins, in one run, in interleaved pairs.

    python tools/benchmark_models.py --threads 2 --repeats 15
    python tools/benchmark_models.py --precision bf16 --memory-format channels_last

Each pair runs one after the other, in alternating order, so that whatever else the machine does meets both; the
figure is the median of the pairs' ratios. FLOPs are torch's own count (convolutions and matrix products).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo import create_model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Comparison:
    """One row: a network of ours, its plain twin, and what was promised of their ratio."""

    ours: str
    twin: str
    training: bool
    batch: int
    size: int
    most_time: float
    most_flops: float | None = None
    fused: bool = False

    @property
    def title(self) -> str:
        """The two networks' names."""
        return f"{self.ours}{' fused' if self.fused else ''} / {self.twin}"


COMPARISONS = (
    Comparison("hiresnet18", "timm/resnet18", False, 16, 224, most_time=1.08, most_flops=1.03),
    Comparison("hiresnet18", "timm/resnet18", False, 16, 224, most_time=1.08, most_flops=1.03, fused=True),
    Comparison("hiresnet18", "timm/resnet18", True, 16, 224, most_time=1.10),
    Comparison("hiresnet50", "timm/resnet50", False, 16, 224, most_time=1.08),
    Comparison("hiresnet20_cifar", "resnet20_cifar", False, 128, 32, most_time=1.15),
    Comparison("hiresnet20_cifar", "resnet20_cifar", True, 128, 32, most_time=1.15),
)


def step(model: nn.Module, images: torch.Tensor, optimizer: torch.optim.Optimizer | None, precision: str) -> None:
    """One forward pass, or with an optimiser one training step."""
    with (
        torch.set_grad_enabled(optimizer is not None),
        torch.autocast(images.device.type, DTYPES[precision], enabled=precision != "fp32"),
    ):
        logits = model(images)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=images.device))
    if optimizer:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if images.device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flops(model: nn.Module, images: torch.Tensor, optimizer: torch.optim.Optimizer | None) -> int:
    with FlopCounterMode(display=False) as counter:
        step(model, images, optimizer, "fp32")
    return counter.get_total_flops()


def compare(row: Comparison, options: argparse.Namespace) -> str:
    batch = options.batch or row.batch
    memory_format = FORMATS[options.memory_format]
    images = torch.rand(batch, 3, row.size, row.size, device=options.device).to(memory_format=memory_format)
    pair: list[Any] = [create_model(name).train(row.training) for name in (row.ours, row.twin)]
    if row.fused:
        pair[0].fuse()
    pair = [model.to(options.device, memory_format=memory_format) for model in pair]
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9) if row.training else None for model in pair
    ]
    more_flops = flops(pair[0], images[:2], optimizers[0]) / flops(pair[1], images[:2], optimizers[1])
    works = [partial(step, *both, options.precision) for both in zip(pair, (images, images), optimizers, strict=True)]
    for work in works:
        work()
    times: list[list[float]] = [[], []]
    for repeat in range(options.repeats):
        for index in (0, 1) if repeat % 2 else (1, 0):
            times[index].append(seconds(works[index]))
    ratio = statistics.median(mine / plain for mine, plain in zip(*times, strict=True))
    speeds = " / ".join(f"{batch / statistics.median(figures):,.0f}" for figures in times)
    goals = f"≤ {row.most_time:.2f}" + (f", ≤ {row.most_flops:.2f}" if row.most_flops else "")
    kind = "training step" if row.training else "eval forward"
    return f"| {row.title} | {kind} | {batch} × {row.size} px | {speeds} | {ratio:.3f} | {more_flops:.3f} | {goals} |"


def hardware(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time our networks against their plain timm twins.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15, help="pairs of each row")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--memory-format", choices=FORMATS, default="channels_last")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="instead of each row's own batch size")
    parser.add_argument("--only", default="", help="rows whose network's name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{hardware(options.device)}; torch {torch.__version__}, timm {timm.__version__}; {options.precision}, "
        f"{options.memory_format}; median of {options.repeats} interleaved pairs\n"
    )
    print("| networks | what | batch | images/s | time ratio | FLOPs ratio | goals (time, FLOPs) |")
    print("|---|---|---|---|---|---|---|")
    for row in COMPARISONS:
        if options.only in row.ours:
            print(compare(row, options), flush=True)


if __name__ == "__main__":
    main()
