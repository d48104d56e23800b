r"""Time glimpse pyramids at several shares of attended locations, in one run, in interleaved pairs.

    python tools/benchmark_glimpses.py --threads 2 --repeats 9
    python tools/benchmark_glimpses.py --precision bf16 --only forward
    python tools/benchmark_glimpses.py --threads 1 --clock process

Cost is to follow the choice, so each row sets a share of locations, drawn at random, beside everything, or beside a
dense implementation without masks: every crop of every level in one batch. The two run one after the other, in
alternating order, so that whatever else the machine does meets both; the figure is the median of the pairs' ratios.
Multiply-adds are the paper's count. Memory is the most that a call holds beyond the images and the network: on a GPU
as CUDA tells it, on a CPU by the sizes of the tensors that it makes. With --clock process times are those that the
process had a processor for, which other work on the machine disturbs less; for one thread, as threads wait busily.
"""

from __future__ import annotations

import argparse
import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from benchmark_models import DTYPES, hardware
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from curriculum_zoo import create_model
from curriculum_zoo.models.adaptive import Glimpses
from curriculum_zoo.models.glimpse.pyramid import GlimpsePyramid
from curriculum_zoo.models.glimpse.regions import shrink

DENSE = -1.0
CLOCKS = {"wall": time.perf_counter, "process": time.process_time}


@dataclass(frozen=True)
class Comparison:
    """One row: a share of locations, what it is set beside, and what was promised of the ratio of their times."""

    name: str
    size: int
    training: bool
    share: float
    beside: float
    most_time: float | None = None

    @property
    def what(self) -> str:
        """The kind of work that is timed."""
        return "training step" if self.training else "forward"

    @property
    def title(self) -> str:
        """The two that are set side by side."""
        against = "dense without masks" if self.beside == DENSE else f"p = {self.beside:g}"
        return f"{self.name.removeprefix('glimpse_pyramid_')}, p = {self.share:g} / {against}"


COMPARISONS = (
    Comparison("glimpse_pyramid_m3", 56, False, 0.2, 1.0, most_time=0.10),
    Comparison("glimpse_pyramid_m3", 56, False, 1.0, DENSE, most_time=1.10),
    Comparison("glimpse_pyramid_m1", 56, False, 0.2, 1.0),
    Comparison("glimpse_pyramid_m1", 56, False, 1.0, DENSE),
    Comparison("glimpse_pyramid_m3", 56, True, 0.2, 1.0),
    Comparison("glimpse_pyramid_m3", 56, True, 1.0, DENSE),
    Comparison("glimpse_pyramid_m3", 28, True, 0.2, 1.0),
)


def dense(model: GlimpsePyramid, images: Tensor) -> Tensor:
    """Logits with everything attended: nested crops of every level, one batch each, nothing masked or packed."""
    crops, side = images, images.shape[-1]
    vectors, maps = [], []
    while True:
        small = shrink(crops, model.base)
        feature_map, vector = model._describe(small)  # in the pieces that the network itself takes large batches in
        vectors.append(vector)
        if side // 2 < model.base_size:
            break
        maps.append(model.location(feature_map).sigmoid())
        offsets, side = range(0, side // 2 + 1, side // 4), side // 2
        cells = [crops[:, :, y : y + side, x : x + side] for y in offsets for x in offsets]
        crops = torch.stack(cells, 1).flatten(0, 1)
    vector = vectors.pop()
    for own in reversed(vectors):
        grid = vector.view(-1, 3, 3, model.num_features).permute(0, 3, 1, 2)
        aggregate = F.leaky_relu(F.conv2d(grid, model.aggregation.weight, model.aggregation.bias), 0.2).flatten(1)
        vector = F.leaky_relu(model.merging(torch.cat([own, aggregate], 1)), 0.2)
    logits: Tensor = model.classifier(vector)
    return logits


def answer(model: GlimpsePyramid, images: Tensor, share: float) -> Glimpses:
    """What the network answers at a share of locations; the same ones each time."""
    generator = torch.Generator(images.device).manual_seed(0)

    def attend(probabilities: Tensor, level: int) -> Tensor:
        return torch.rand(probabilities.shape, generator=generator, device=images.device) < share

    return model.glimpse(images, attend=attend, every_level=False)


def step(model: GlimpsePyramid, images: Tensor, share: float, training: bool, precision: str) -> None:
    """One forward pass, or one with its gradients."""
    enabled = precision != "fp32"
    with torch.set_grad_enabled(training), torch.autocast(images.device.type, DTYPES[precision], enabled=enabled):
        logits = dense(model, images) if share == DENSE else answer(model, images, share).logits[-1]
        loss = logits.logsumexp(1).mean()
    if training:
        loss.backward()
        model.zero_grad(set_to_none=True)
    if images.device.type == "cuda":
        torch.cuda.synchronize()


class HeldBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, for as long as anything holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage: torch.UntypedStorage) -> None:
        """Add a tensor's memory, once however many tensors share it."""
        where, size = storage.data_ptr(), storage.nbytes()
        if where in self.known or not size:
            return
        self.known.add(where)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.release, where, size)

    def release(self, where: int, size: int) -> None:
        """Take away memory that nothing holds any more."""
        self.known.discard(where)
        self.now -= size


def memory(work: Callable[[], None], device: str) -> int:
    """The most bytes that a call holds at a time."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with HeldBytes() as held:
        work()
    return held.most


def seconds(work: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def multiply_adds(model: GlimpsePyramid, images: Tensor, share: float) -> float:
    with torch.no_grad():
        return float(model.multiply_adds(answer(model, images, 1.0 if share == DENSE else share)).sum())


def compare(row: Comparison, options: argparse.Namespace) -> str:
    torch.manual_seed(0)
    model: Any = create_model(row.name).train(row.training).to(options.device)
    images = torch.rand(options.batch, 1, row.size, row.size, device=options.device)
    shares = (row.share, row.beside)
    works = [partial(step, model, images, share, row.training, options.precision) for share in shares]
    for work in works:
        work()
    times: list[list[float]] = [[], []]
    for repeat in range(options.repeats):
        for index in (0, 1) if repeat % 2 else (1, 0):
            times[index].append(seconds(works[index], CLOCKS[options.clock]))
    ratio = statistics.median(mine / other for mine, other in zip(*times, strict=True))
    operations = [multiply_adds(model, images, share) for share in shares]
    held = [memory(work, options.device) for work in works]
    speeds = " / ".join(f"{1000 * statistics.median(figures) / options.batch:.3f}" for figures in times)
    goal = f"≤ {row.most_time:.2f}" if row.most_time else ""
    return (
        f"| {row.title} | {row.what} | {options.batch} × {row.size} px | {speeds} | {ratio:.3f} | "
        f"{operations[0] / operations[1]:.3f} | {held[0] / held[1]:.3f} | {goal} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time glimpse pyramids at several shares of attended locations.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9, help="pairs of each row")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--only", default="", help="rows whose kind of work, or network's name, contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{hardware(options.device)}; torch {torch.__version__}; {options.precision}; median of {options.repeats} "
        f"interleaved pairs, {options.clock} time\n"
    )
    print("| locations | what | batch | ms/image | time ratio | multiply-adds ratio | memory ratio | goal (time) |")
    print("|---|---|---|---|---|---|---|---|")
    for row in COMPARISONS:
        if options.only in row.what or options.only in row.name:
            print(compare(row, options), flush=True)


if __name__ == "__main__":
    main()
