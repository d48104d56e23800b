"""Time every view beside torchvision's, Kornia's and hand-written equivalents, turn by turn in one run.

    python tools/benchmark_views.py --threads 2 --repeats 31

All contenders of a row run once in each round, in an order that rotates, so that whatever else the machine does meets
them all; the figures are medians. At 32 px the table also tells what share a view takes of one training step of
``resnet20_cifar`` and ``resnet18_cifar`` (forward, backward and SGD, channels_last; in fp32, the recipes' default,
or with ``--precision bf16``). Kornia's column
appears where it is installed. Exit status 1 where a view takes more than 3 % of the one step or 0.5 % of the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from curriculum_zoo import create_model
from curriculum_zoo.curricula.timeline import describe
from curriculum_zoo.views import (
    BoxBlur,
    CannyEdges,
    GaussianBlur,
    LowFrequencyCrop,
    Portions,
    ReducedShare,
    Resize,
    SobelEdges,
    View,
    identity,
)

SHAPES = ((128, 3, 32, 32), (64, 3, 224, 224))
SLOW = 10.0
"""Seconds from which on a first call is figure enough: Kornia's Canny takes most of a minute at 224 px."""

STEPS = {"resnet20_cifar": 0.03, "resnet18_cifar": 0.005}


@dataclass
class Row:
    """A view, what others have for the same purpose, and why one of these may be faster."""

    view: View
    peers: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    less: str = ""


def half(images: Tensor) -> list[int]:
    return [side // 2 for side in images.shape[2:]]


def fourier_crop(images: Tensor) -> Tensor:
    """The low-pass crop as EfficientTrain describes it: transform, shift, cut, transform back."""
    height, width = images.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(images.float()), dim=(2, 3))
    cut = spectrum[:, :, height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2]
    return torch.fft.ifft2(torch.fft.ifftshift(cut, dim=(2, 3))).real / 4


def sobel_by_convolution(images: Tensor) -> Tensor:
    """Sobel's magnitude by one convolution of the luma, divided by each image's largest."""
    kernel = images.new_tensor([[[1, 0, -1], [2, 0, -2], [1, 0, -1]]])
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    luma = F.pad(F.conv2d(images, weights), (1, 1, 1, 1), mode="reflect")
    magnitude = F.conv2d(luma, torch.stack((kernel, kernel.mT))).square().sum(1, keepdim=True).sqrt()
    return (magnitude / magnitude.amax((2, 3), keepdim=True)).expand_as(images)


def canny_by_opencv(images: Tensor) -> Tensor:
    """OpenCV's Canny, image by image, and back to a batch on the device."""
    import cv2
    import numpy as np

    levels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    edges = [cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200) for image in levels]
    return torch.from_numpy(np.stack(edges)).to(images.device).div(255)[:, None].expand_as(images)


def table() -> list[Row]:
    """Every view with its peers."""
    box = {"depthwise conv": lambda x: F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), _mean(x), groups=x.shape[1])}
    box["avg_pool2d"] = lambda x: F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), 5, 1)
    rows = [
        Row(BoxBlur(5), box),
        Row(BoxBlur(4)),
        Row(BoxBlur(3)),
        Row(BoxBlur(2)),
        Row(GaussianBlur(1.0), {"torchvision": lambda x: tv.gaussian_blur(x, [9, 9], [1.0, 1.0])}),
        Row(GaussianBlur(2.0), {"torchvision": lambda x: tv.gaussian_blur(x, [17, 17], [2.0, 2.0])}),
        Row(
            Resize(0.5),
            {
                "torchvision": lambda x: tv.resize(x, half(x), antialias=True),
                "Composer-style": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
            },
            "Composer's does not antialias",
        ),
        Row(
            Resize(0.5, "bicubic"),
            {"torchvision": lambda x: tv.resize(x, half(x), tv.InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)},
        ),
        Row(Resize(0.5, "area"), {"F.interpolate": lambda x: F.interpolate(x, scale_factor=0.5, mode="area")}),
        Row(Resize(0.5, "nearest"), {"F.interpolate": lambda x: F.interpolate(x, scale_factor=0.5)}),
        Row(LowFrequencyCrop(0.5), {"EfficientTrain-style": fourier_crop}),
        Row(SobelEdges(), {"one convolution": sobel_by_convolution}, "a convolution takes a flat image for an edge"),
        Row(
            CannyEdges(), {"OpenCV": canny_by_opencv}, "OpenCV's is compiled for one image on the CPU, not for a batch"
        ),
        Row(ReducedShare(0.5, 0.5)),
        Row(Portions((BoxBlur(5), BoxBlur(3), identity), (0.15, 0.15, 0.7))),
    ]
    if importlib.util.find_spec("kornia"):
        add_kornia(rows)
    return rows


def _mean(images: Tensor) -> Tensor:
    return images.new_full((images.shape[1], 1, 5, 5), 1 / 25)


def add_kornia(rows: list[Row]) -> None:
    """Kornia's equivalents."""
    from kornia import filters, geometry

    equivalents: dict[View, Callable[[Tensor], Tensor]] = {
        BoxBlur(5): lambda x: filters.box_blur(x, 5),
        BoxBlur(3): lambda x: filters.box_blur(x, 3),
        GaussianBlur(1.0): lambda x: filters.gaussian_blur2d(x, 9, (1.0, 1.0)),
        GaussianBlur(2.0): lambda x: filters.gaussian_blur2d(x, 17, (2.0, 2.0)),
        Resize(0.5): lambda x: geometry.resize(x, tuple(half(x)), antialias=True),
        SobelEdges(): lambda x: filters.sobel(x),
        CannyEdges(): lambda x: filters.canny(x, 100 / 255, 200 / 255)[1],
    }
    for row in rows:
        if row.view in equivalents:
            row.peers["Kornia"] = equivalents[row.view]


# Timing ---------------------------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """How long one call takes, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def medians(calls: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each call, one of each in a round, the order rotating."""
    times: dict[str, list[float]] = {}
    for name, call in calls.items():
        first = seconds(call, device)
        times[name] = [first] if first > SLOW else []
        if not times[name]:
            call()
    quick = [name for name, taken in times.items() if not taken]
    for round_ in range(repeats if quick else 0):
        turn = round_ % len(quick)
        for name in quick[turn:] + quick[:turn]:
            times[name].append(seconds(calls[name], device))
    return {name: statistics.median(taken) for name, taken in times.items()}


def step_of(name: str, images: Tensor, precision: str) -> Callable[[], object]:
    """One training step of a network on these images."""
    model = create_model(name, num_classes=10).train().to(images.device)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    inputs = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(len(images), device=images.device) % 10

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()

    return step


def batch(shape: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """Images with smooth and rough parts, so that edges are as many as in photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(shape[0], shape[1], shape[2] // 6, shape[3] // 6, generator=generator)
    smooth = F.interpolate(coarse, size=shape[2:], mode="bicubic").clamp_(0, 1)
    return (0.9 * smooth + 0.1 * torch.rand(shape, generator=generator)).to(device)


def compare(shape: tuple[int, int, int, int], repeats: int, device: torch.device, steps: dict[str, float]) -> bool:
    """Print the table of one shape; whether every view keeps within its share of a step."""
    images = batch(shape, device)
    print(f"\n{' × '.join(map(str, shape))}, float32" + "".join(f", {n} {1e3 * s:.0f} ms" for n, s in steps.items()))
    print(f"{'view':<34}{'ms':>9}  " + "".join(f"{'of ' + name:>18}" for name in steps) + "  peers: ms (ratio to ours)")
    within = True
    for row in table():
        contenders: dict[str, Callable[[Tensor], Tensor]] = {"ours": row.view, **row.peers}
        taken = medians({name: _on(call, images) for name, call in contenders.items()}, repeats, device)
        ours = taken.pop("ours")
        shares = {name: ours / step for name, step in steps.items()}
        within &= all(share <= STEPS[name] for name, share in shares.items())
        peers = ", ".join(f"{name} {1e3 * time_:.2f} ({time_ / ours:.2f}×)" for name, time_ in taken.items())
        slower = f" — {row.less}" if row.less and taken and min(taken.values()) < ours else ""
        told = "".join(f"{share:>18.2%}" for share in shares.values())
        print(f"{describe(row.view)[:33]:<34}{1e3 * ours:>9.3f}  {told}  {peers}{slower}")
    return within


def _on(call: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], object]:
    return lambda: call(images)


def hardware(device: torch.device, threads: int) -> Iterator[str]:
    """What ran, in words."""
    if device.type == "cuda":
        yield torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        yield names[0] if names else platform.processor() or platform.machine()
        yield f"{threads} of {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    yield f"torch {torch.__version__}"
    yield "Kornia not installed" if importlib.util.find_spec("kornia") is None else "Kornia"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=31, help="rounds at 32 px; a quarter of it at 224 (default: 31)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: all)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="of the training steps")
    parser.add_argument("--device", default="cpu", help="device of the images (default: cpu)")
    parser.add_argument("--no-steps", action="store_true", help="leave the training steps out")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(", ".join(hardware(device, arguments.threads)) + f", n={arguments.repeats}")
    within = True
    for shape in SHAPES:
        small = shape == SHAPES[0]
        repeats = arguments.repeats if small else max(3, arguments.repeats // 4)
        steps: dict[str, float] = {}
        if small and not arguments.no_steps:
            calls = {name: step_of(name, batch(shape, device), arguments.precision) for name in STEPS}
            steps = medians(calls, max(3, arguments.repeats // 6), device)
        within &= compare(shape, repeats, device, steps)
    limits = ", ".join(f"{share:.1%} of {name}" for name, share in STEPS.items())
    print(f"\nEvery view within {limits}: {'yes' if within else 'NO'}")
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
