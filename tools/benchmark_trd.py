#!/usr/bin/env python3
"""Does TRD save the time that its FLOPs promise? Trains pairs of short runs, with and without, and compares.

    python tools/benchmark_trd.py --data npz:cifar10.npz --pairs 5

Both runs of a pair train the same network from the same seed for two epochs; TRD's regular variant has one of the two
at half resolution, so p = 0.5 holds exactly. Times are the engine's own, validation left out.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from curriculum_zoo import open_dataset
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training import Result, train
from curriculum_zoo.training.progress import Reporter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo")
    parser.add_argument("--model", default="resnet20_cifar")
    parser.add_argument("--curriculum", default="trd(variant=regular,resolution=0.5,participation=0.5)")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--images", type=int, default=4096, help="training images that are used")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = _cut(options.data, options.images, Path(folder) / "cut.npz")
        settings = {"precision": options.precision, "augmentation.flip": True, "augmentation.crop_padding": 4}
        baseline = Recipe(model=options.model, data=data, epochs=2, validation=0.0).changed(settings)
        trd = baseline.changed({"curriculum": options.curriculum})
        _timed(baseline)  # the first run of a process also pays for allocations and kernels
        pairs = [(_timed(baseline), _timed(trd)) for _ in range(options.pairs)]
    ratios = [trd.seconds / plain.seconds for plain, trd in pairs]
    relative = pairs[0][1].relative_flops
    middle = statistics.median(ratios)
    print(f"{options.model}, {options.precision}, {options.curriculum}, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}, {platform.machine()}")
    print(f"FLOPs, relative:  {relative:.4f}")
    print(f"time, relative:   {middle:.4f}  (median of {len(ratios)} pairs, {min(ratios):.4f} to {max(ratios):.4f})")
    print(f"time over FLOPs:  {middle / relative:.4f}")


def _cut(spec: str, images: int, path: Path) -> str:
    """A data set of the first training images and a few test images, so that nearly all time goes into training."""
    whole = open_dataset(spec)
    parts = {"x_train": whole.train_images[:images], "y_train": whole.train_labels[:images]}
    parts |= {"x_test": whole.test_images[:64], "y_test": whole.test_labels[:64]}
    np.savez(path, **parts, classes=np.array(whole.classes))
    return f"npz:{path}"


def _timed(recipe: Recipe) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return train(recipe, output=Path(folder) / "run", reporter=Reporter())


if __name__ == "__main__":
    main()
