"""Kill trainings at random instants, resume them, and compare what they end with, bit by bit, with undisturbed ones.

    python tools/kill_runs.py [--kills 50] [--seed 0] [--only WORD]

One kind of run after the other, over all curricula and what else a checkpoint must hold, is killed by SIGKILL until so
many kills came about: at any time, or within a checkpoint's writing, a change of stage, an evaluation or the writing of
weights. Then it is resumed to its end, and weights, metrics (but for times) and test figures must be equal. Prints a
Markdown table and ends with 1 where anything differs. Processes are forked: this runs on POSIX alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from curriculum_zoo.curricula import Curriculum, Stage
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.registry import CURRICULA, register_curriculum
from curriculum_zoo.training import run_files, train, trainer
from curriculum_zoo.training.progress import Reporter

MEASURED = {"seconds", "images_per_second", "peak_memory_bytes", "overhead"}
MOMENTS: dict[str, tuple[Any, str] | None] = {
    "at any time": None,
    "writing a checkpoint": (run_files, "save_checkpoint"),
    "changing the stage": (trainer.Trainer, "_train_epoch"),
    "evaluating": (trainer, "collect"),
    "writing weights": (run_files, "save_folder"),
}
SMALL_RESNET = {"model": "timm/test_resnet"}
GLIMPSES = {
    "model": "glimpse_pyramid_m1",
    "image_size": 28,
    "glimpses": {"samples": 2},
    "optimizer.name": "adam",
    "optimizer.lr": 0.002,
}


@register_curriculum
class Darkening(Curriculum):
    """A curriculum as a plugin brings it: images get brighter from epoch to epoch."""

    def _stage(self, epoch: int) -> Stage:
        share = (epoch + 1) / self.epochs
        return Stage(name=f"{share:.0%}", view=lambda images: images * share)


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Attributes:
        settings: of its recipe, beyond the usual ones.
        processes: that train together.
        files: whether images are read from files, by worker processes.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    processes: int = 1
    files: bool = False


CURRICULUM_SETTINGS: dict[str, dict[str, Any]] = {
    "hrt": {"curriculum": "hrt(edge_epochs=1,blur_epochs=1)", **SMALL_RESNET},
    "fixres": {"curriculum": "fixres(tuned_epochs=1)", **SMALL_RESNET},
    "freeze": {"curriculum": "freeze(depth=(0,0.5),frozen_epochs=1)", **SMALL_RESNET},
    "low_frequency": {"curriculum": "low_frequency(sizes=(0.5,1.0))"},
    "progressive_sharpening": {"curriculum": "progressive_sharpening(kernels=(5,3,1))"},
    "gradual_levels": {"curriculum": "gradual_levels(levels=2,first=1,shares=(0.34,0.66))", **GLIMPSES},
}
KINDS: dict[str, Kind] = {
    **{
        name: Kind(CURRICULUM_SETTINGS.get(name, {"curriculum": name})) for name in CURRICULA.names() if ":" not in name
    },
    "composition": Kind({"curriculum": "hrt(edge_epochs=1):0.4 > trd", **SMALL_RESNET}),
    "overlay": Kind({"curriculum": "trd(variant=regular) + freeze(depth=(0,0.5),frozen_epochs=1)", **SMALL_RESNET}),
    "glimpses": Kind(GLIMPSES),
    "EMA and calibration": Kind({**SMALL_RESNET, "ema_decay": 0.9, "calibrate_batchnorm": 1}),
    "mixing": Kind({"mixing.mixup": 0.4, "mixing.cutmix": 1.0, "label_smoothing": 0.1, "accumulation": 2}),
    "strength and batch": Kind(
        {"curriculum": "low_frequency(sizes=(0.5,1.0),augment_strength=(3,9),scale_batch=true)"}
    ),
    "dropout, AdamW": Kind({**SMALL_RESNET, "model_options": {"drop_rate": 0.3}, "optimizer.name": "adamw"}),
    "files": Kind({"curriculum": "trd"}, files=True),
    "two processes": Kind({"curriculum": "trd(variant=regular)", "mixing.mixup": 0.4}, processes=2),
    "two processes, files": Kind({"curriculum": "progressive_resizing"}, processes=2, files=True),
}
if torch.backends.cpu.get_cpu_capability() in ("AVX512", "AMX") and torch.cpu._is_avx512_bf16_supported():
    KINDS["bf16"] = Kind({**SMALL_RESNET, "precision": "bf16", "ema_decay": 0.9})


def main() -> None:
    """Kill, resume, compare, and print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many there are to be, at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="kinds whose name has this word in it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in ("accelerate", "timm", "torchvision", "curriculum_zoo.training.prepare"):
        importlib.import_module(module)  # once here, and not in each process
    run_files.draw_curves = lambda *_, **__: None  # whose drawing takes longer than the training
    kinds = {name: kind for name, kind in KINDS.items() if options.only in name}
    each = -(-options.kills // len(kinds))
    chance = random.Random(options.seed)
    total = equal = 0
    print("| kind | kills | where | bit-equal |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in kinds.items():
            where, differing = try_kind(kind, Path(folder) / name.replace(" ", "_"), each, chance)
            total, equal = total + len(where), equal + (not differing)
            counts = ", ".join(f"{moment} {where.count(moment)}" for moment in MOMENTS if moment in where)
            print(f"| {name} | {len(where)} | {counts} | {differing or 'yes'} |", flush=True)
    print(f"\n{total} kills in {len(kinds)} runs; {equal} of these ended bit-equal to a run that was not killed.")
    raise SystemExit(equal != len(kinds))


def try_kind(kind: Kind, folder: Path, kills: int, chance: random.Random) -> tuple[list[str], str]:
    """Run a kind undisturbed and killed; return at what the kills came, and what differs in the end."""
    folder.mkdir()
    recipe = recipe_of(kind, folder)
    started = time.monotonic()
    if not live(kind, recipe, folder / "whole"):
        return [], "the undisturbed run failed"
    length = time.monotonic() - started
    where: list[str] = []
    while len(where) < kills:
        moment = chance.choice(list(MOMENTS))
        wait = chance.uniform(0.2, 1.0) * length if MOMENTS[moment] is None else chance.uniform(0, 0.004)
        if live(kind, recipe, folder / "killed", moment, chance.randrange(1, 6), wait):
            if (folder / "killed" / "results.json").exists() and len(where) + 1 < kills:
                # It came to its end before the instant: another one is killed in its place.
                difference = differs(folder / "whole", folder / "killed")
                if difference:
                    return where, difference
                shutil.rmtree(folder / "killed")
        else:
            where.append(moment)
    if not live(kind, recipe, folder / "killed"):
        return where, "it could not be resumed"
    return where, differs(folder / "whole", folder / "killed")


def recipe_of(kind: Kind, folder: Path) -> Recipe:
    """The kind's recipe, on images that are made for it: each class is a bright quadrant."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 160), ("test", 40)):
        labels = np.arange(count) % 4
        pixels = generator.integers(0, 120, (count, 16, 16, 3))
        for image, label in zip(pixels, labels, strict=True):
            top, left = 8 * (label // 2), 8 * (label % 2)
            image[top : top + 8, left : left + 8] += 100
        arrays |= {f"x_{part}": pixels.astype(np.uint8), f"y_{part}": labels}
    np.savez(folder / "images.npz", **arrays)
    data = f"npz:{folder / 'images.npz'}"
    if kind.files:
        for part in ("train", "test"):
            for number, (pixels, label) in enumerate(zip(arrays[f"x_{part}"], arrays[f"y_{part}"], strict=True)):
                path = folder / "images" / part / f"class{label}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        data = f"folder:{folder / 'images'}"
    base = Recipe(model="simple_cnn", data=data, epochs=5, batch_size=24)
    files = {"photos.resident": False, "image_size": 16} if kind.files else {"augmentation.flip": True}
    return base.changed({"optimizer.lr": 0.05, **files, **kind.settings})


# One life of a run ----------------------------------------------------------------------------------------------------


def live(
    kind: Kind, recipe: Recipe, folder: Path, moment: str = "at any time", call: int = 0, wait: float | None = None
) -> bool:
    """Train, or go on, in processes of their own; return whether that came to its end.

    Args:
        kind: says how many processes.
        recipe: what to train.
        folder: where.
        moment: what is being done when the first process is killed; one of `MOMENTS`.
        call: how many times that is begun before.
        wait: seconds after that, or after the start, until the kill; None for no kill.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = time.monotonic()
    processes = [
        fork(lambda rank=rank: child(kind, recipe, folder, rank, port, moment if not rank else "", call, wait))
        for rank in range(kind.processes)
    ]
    try:
        if wait is not None and MOMENTS[moment] is None:
            time.sleep(max(0.0, begin + wait - time.monotonic()))
            os.kill(processes[0], signal.SIGKILL)
        return os.waitpid(processes[0], 0)[1] == 0
    finally:
        for process in processes[1:]:
            end(process)


def end(process: int) -> None:
    """Wait for a process, and kill it where it does not end by itself within a minute."""
    for _ in range(600):
        if os.waitpid(process, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    print("a process did not end by itself", file=sys.stderr, flush=True)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def fork(work: Callable[[], None]) -> int:
    """Do something in a process of its own; return its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setpgid(0, 0)
        work()
        code = 0
    except BaseException as error:
        if os.environ.get("SHOW_ERRORS"):
            print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def child(
    kind: Kind, recipe: Recipe, folder: Path, rank: int, port: int, moment: str, call: int, wait: float | None
) -> None:
    """Train as one of several processes, and be killed where that is wanted."""
    if kind.processes > 1:
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": kind.processes, "LOCAL_WORLD_SIZE": kind.processes}
        os.environ |= {name: str(value) for name, value in ranks.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    place = MOMENTS.get(moment) if wait is not None else None
    if place is not None:
        killed_in(*place, call, wait or 0.0)
    resume = (folder / "recipe.json").exists()
    train(recipe, output=folder, device="cpu", resume=resume, reporter=Reporter(), checkpoint_minutes=0, workers=2)
    if kind.processes > 1:
        torch.distributed.barrier()


def killed_in(owner: Any, name: str, call: int, wait: float) -> None:
    """Have this process killed so many seconds after the call of a function that is the given number."""
    function, calls = getattr(owner, name), itertools.count(1)

    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return function(*args, **kwargs)

    setattr(owner, name, counted)


# Comparing ------------------------------------------------------------------------------------------------------------


def differs(first: Path, second: Path) -> str:
    """What differs between two finished runs, "" where nothing does."""
    for which in ("last", "best"):
        one, other = (load_file(folder / which / "model.safetensors") for folder in (first, second))
        names = [name for name in one if name not in other or not torch.equal(one[name], other[name])]
        if names or one.keys() != other.keys():
            return f"{which} weights: {', '.join(names)}"
    for one, other in zip(facts(first), facts(second), strict=True):
        if one != other:
            return f"{one} and {other}"
    return ""


def facts(folder: Path) -> Iterator[Any]:
    """Metrics and test figures, without what a clock measured."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        yield {name: value for name, value in json.loads(line).items() if name not in MEASURED}
    yield {
        name: value for name, value in json.loads((folder / "results.json").read_text()).items() if name != "seconds"
    }


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
