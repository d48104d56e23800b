"""How long it takes to build a network with its trained weights, against timm, and what checking their SHA-256 adds.

    python tools/benchmark_weights.py [--model hiresnet18] [--repeats 31]

Three ways take turns, in an order that turns round each time: `create_model` from a folder whose config states a
SHA-256, the same from a folder whose config states none, and timm from the same file. One thread computes; the digest
is taken beside it, so the figures depend on whether a second core is free.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch

from curriculum_zoo import create_model
from curriculum_zoo.weights.folder import CONFIG, WEIGHTS, model_config, save_folder


def make_folders(name: str, root: Path) -> tuple[Path, Path]:
    """A folder of weights as training leaves it, and one whose config does not state their SHA-256."""
    model, (stated, silent) = create_model(name), (root / "stated", root / "silent")
    cfg = model.pretrained_cfg
    config = model_config(
        model,
        architecture=name,
        options={},
        input_size=cfg["input_size"],
        mean=cfg["mean"],
        std=cfg["std"],
        classes=tuple(map(str, range(model.num_classes))),
        facts={},
    )
    save_folder(stated, model.state_dict(), config)
    silent.mkdir()
    (silent / WEIGHTS).hardlink_to(stated / WEIGHTS)
    (silent / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return stated, silent


def milliseconds(load: Callable[[], object]) -> tuple[float, float]:
    """Time that one call takes, by the clock and on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    load()
    return 1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hiresnet18", help="a built-in model (%(default)s)")
    parser.add_argument("--repeats", type=int, default=31, help="turns of each way (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        stated, silent = make_folders(options.model, Path(root))
        overlay = {"file": str(stated / WEIGHTS)}
        ways: dict[str, Callable[[], object]] = {
            "curriculum_zoo": lambda: create_model(f"local-dir:{stated}", pretrained=True),
            "without digest": lambda: create_model(f"local-dir:{silent}", pretrained=True),
            "timm": lambda: timm.create_model(options.model, pretrained=True, pretrained_cfg_overlay=overlay),
        }
        for load in ways.values():  # once unmeasured: the file into the page cache, modules imported
            load()
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(options.repeats):
            for way in list(ways)[:: 1 if turn % 2 else -1]:
                times[way].append(milliseconds(ways[way]))
        size = (stated / WEIGHTS).stat().st_size
    print(
        f"{options.model}, {size / 1e6:.1f} MB, Python {platform.python_version()}, torch {torch.__version__}, "
        f"1 thread, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, n={options.repeats}"
    )
    print(f"{'':<16}{'median ms':>10}{'min':>9}{'max':>9}{'processor ms':>14}{'ours, of it':>13}")
    ours = [clock for clock, _ in times["curriculum_zoo"]]
    for way, taken in times.items():
        clocks, processors = zip(*taken, strict=True)
        ratio = statistics.median(own / other for own, other in zip(ours, clocks, strict=True))
        low, median, high = min(clocks), statistics.median(clocks), max(clocks)
        print(f"{way:<16}{median:>10.1f}{low:>9.1f}{high:>9.1f}{statistics.median(processors):>14.1f}{ratio:>13.3f}")


if __name__ == "__main__":
    main()
