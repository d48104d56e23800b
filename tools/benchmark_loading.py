"""Images a second of photographs read as they are needed: at full and at half resolution, and by timm's loader.

    python tools/benchmark_loading.py DIR [--workers 2] [--rounds 7]

DIR holds a folder of JPEG files for each class. Where they are smaller than photographs are, enlarged copies are read
in their place (`--short-side`, `--quality`), whose bits a pixel are told; or ``--mosaic`` puts several side by side
at their own sharpness. All three ways take turns, pass by pass, with workers that go on living; every pass ends with
normalised float batches. Crop (8 to 100 % of the area), mirroring, changes of brightness, contrast and saturation by
up to 0.4, and the bilinear, antialiased resize are the same for timm's loader.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from curriculum_zoo.data import PhotoSet, open_dataset
from curriculum_zoo.data.normalize import Normalize
from curriculum_zoo.data.sets.folder import image_files
from curriculum_zoo.recipes import PhotoOptions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WAYS = ("full resolution", "half resolution", "timm, full resolution")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of JPEG files for each class")
    parser.add_argument("--images", type=int, default=600, help="how many of them a pass reads (%(default)s)")
    parser.add_argument("--short-side", type=int, default=384, help="of enlarged copies, in pixels (%(default)s)")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality of the copies (%(default)s)")
    parser.add_argument("--mosaic", action="store_true", help="put small images beside each other, do not enlarge")
    parser.add_argument("--size", type=int, default=224, help="full resolution, in pixels (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of each loader (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="passes of each way (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        top = copies(options, Path(place))
        photos = open_dataset(f"folder:{top}", image_size=options.size, resident=False)
        assert isinstance(photos, PhotoSet)
        describe(photos, options)
        measure(photos, top, options)


def copies(options: argparse.Namespace, place: Path) -> Path:
    """A folder of photographs of the size wanted, made from those given where they are smaller."""
    files, _ = image_files(options.folder)
    chosen = random.Random(0).sample(files, min(options.images, len(files)))
    for number, file in enumerate(chosen):
        with Image.open(file) as image:
            picture = image.convert("RGB")
        if min(picture.size) < options.short_side:
            picture = mosaic(files, number, options) if options.mosaic else enlarged(picture, options.short_side)
        target = place / f"class{number % 2}"
        target.mkdir(exist_ok=True)
        picture.save(target / f"{number:05}.jpg", quality=options.quality)
    return place


def enlarged(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def mosaic(files: list[Path], seed: int, options: argparse.Namespace) -> Image.Image:
    """Photographs beside each other, as many as fill a 4:3 picture."""
    draw = random.Random(seed)
    whole = Image.new("RGB", (options.short_side * 4 // 3, options.short_side))
    top = 0
    while top < whole.height:
        left, row = 0, whole.height
        while left < whole.width:
            with Image.open(draw.choice(files)) as image:
                whole.paste(image.convert("RGB"), (left, top))
                left, row = left + image.width, min(row, image.height)
        top += row
    return whole


def describe(photos: PhotoSet, options: argparse.Namespace) -> None:
    count = len(photos.images)
    sizes = [photos.images.dimensions(index) or (0, 0) for index in range(count)]
    pixels = sum(width * height for width, height in sizes)
    bits = 8 * sum(len(photos.images.content(index)) for index in range(count))
    width, height = (statistics.median(side) for side in zip(*sizes, strict=True))
    print(
        f"{count} JPEG files, median {width:.0f} × {height:.0f} px, {bits / pixels:.2f} bits a pixel; "
        f"{options.workers} workers, batches of {options.batch_size}, {options.size} px; "
        f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}"
    )


def measure(photos: PhotoSet, top: Path, options: argparse.Namespace) -> None:
    ways = dict(zip(WAYS, (*ours(photos, options), timms(top, options)), strict=True))
    for way in ways.values():  # workers start, files come into memory
        way(0)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    memory = []
    for number in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            images = way(number + 1)
            speeds[name].append(images / (time.perf_counter() - started))
        memory.append(resident_memory())
    print("\n| loader | images/s, median | range |\n|---|---|---|")
    for name, some in speeds.items():
        print(f"| {name} | {statistics.median(some):,.0f} | {min(some):,.0f} to {max(some):,.0f} |")
    print()
    for first, second, words in (
        (WAYS[1], WAYS[0], "half resolution over full resolution"),
        (WAYS[0], WAYS[2], "full resolution over timm's loader"),
    ):
        ratios = [a / b for a, b in zip(speeds[first], speeds[second], strict=True)]
        print(f"{words}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; {len(ratios)} pairs)")
    print(f"memory of all processes after the first and the last round: {memory[0]:.0f} and {memory[-1]:.0f} MB")


def ours(photos: PhotoSet, options: argparse.Namespace) -> tuple[Callable[[int], int], Callable[[int], int]]:
    normalize = Normalize(MEAN, STD)
    factory = photos.loader_factory(photos=PhotoOptions(), workers=options.workers)
    everything = np.arange(len(photos.train_labels))
    loader = factory.loader(everything, training=True, batch_size=options.batch_size, drop_last=True)

    def walk(pixels: int) -> Callable[[int], int]:
        at_that_size = loader.with_pixels(pixels)
        return lambda epoch: sum(len(normalize(batch.images)) for batch in at_that_size.batches(epoch))

    return walk(options.size), walk(options.size // 2)


def timms(top: Path, options: argparse.Namespace) -> Callable[[int], int]:
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset("", root=str(top)),
        (3, options.size, options.size),
        options.batch_size,
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        color_jitter=0.4,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        device=torch.device("cpu"),
    )
    return lambda epoch: sum(len(images) for images, _ in loader)


def resident_memory() -> float:
    """Megabytes that this process and its children have to themselves."""
    return sum(private_bytes(pid) for pid in (os.getpid(), *children())) / 1e6


def children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def private_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    main()
