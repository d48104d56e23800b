"""What choosing images costs: the time of every rule for 50,000 images, beside that of an epoch of training.

    python tools/benchmark_samples.py --epoch-seconds 30

prints, for each curriculum that chooses, the median time in which an epoch's images are chosen, ordered and their notes
brought together, as a share of the seconds that an epoch of training takes: those given, or measured by one epoch of
ResNet-20 on random images of 32 px where none are. The forward passes of selective backprop are training work, counted
as FLOPs in metrics; they are not in these times.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from curriculum_zoo import create_curriculum, create_model
from curriculum_zoo.curricula.samples.run_scores import RunScores
from curriculum_zoo.data import ResidentLoader
from curriculum_zoo.devices import select_device

CURRICULA = ("random_subset", "prune", "easy_to_hard", "self_paced(weights=linear)", "infobatch", "selective_backprop")


def choosing_seconds(name: str, images: int, repeats: int, device: torch.device) -> float:
    numbers, classes, batch = torch.arange(images), 10, 128
    plan = create_curriculum(name, epochs=20)
    rules = [stage.samples for stage in plan.stages()]
    rule = next(rule for rule in rules[3:] if rule is not None)
    scores = RunScores(numbers, rules)
    pixels = np.zeros((images, 1, 1, 1), np.uint8)
    loader = ResidentLoader(pixels, np.zeros(images, np.int64), batch_size=batch, drop_last=True)
    logits, labels = torch.randn(batch, classes, device=device), torch.zeros(batch, dtype=torch.int64, device=device)
    scores.merge([{measure: torch.rand(images) for measure in scores.scores}])
    taken = []
    for epoch in range(repeats):
        started = time.perf_counter()
        plain = loader._order(epoch)  # which every training makes
        ordering = time.perf_counter() - started
        started = time.perf_counter()
        selection = rule.select(numbers, scores.scores)
        chosen = loader.choosing(selection.kept, selection.weights)
        order = chosen._order(epoch)
        for share in order.split(batch) if rule.notes else ():
            scores.note(rule.notes, numbers[share], logits[: len(share)], labels[: len(share)])
        scores.merge([scores.fresh()])
        taken.append(time.perf_counter() - started - ordering)
        assert len(order) <= len(plain)
    return statistics.median(taken)


def epoch_seconds(images: int, device: torch.device, batches: int) -> float:
    network = create_model("resnet20_cifar", num_classes=10).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    batch, labels = torch.rand(128, 3, 32, 32, device=device), torch.arange(128, device=device) % 10
    for step in range(batches + 3):
        if step == 3:
            if device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(network(batch), labels).backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / batches * images / 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batches", type=int, default=20, help="training batches that are timed (%(default)s)")
    parser.add_argument("--epoch-seconds", type=float, help="what an epoch of training takes; measured by default")
    parser.add_argument("--device")
    options = parser.parse_args()
    device = select_device(options.device)
    epoch = options.epoch_seconds or epoch_seconds(options.images, device, options.batches)
    print(f"an epoch of {options.images:,} images on {device}: {epoch:.3g} s")
    for name in CURRICULA:
        seconds = choosing_seconds(name, options.images, options.repeats, device)
        print(f"{name:30} {1000 * seconds:8.2f} ms  {seconds / epoch:8.3%}")


if __name__ == "__main__":
    main()
