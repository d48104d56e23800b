r"""Run timm's own validate.py and onnx_export.py on released weights of this package, without a network.

Encoders of segmentation_models_pytorch are made of them too, where that is installed.

    python tools/timm_scripts.py --scripts ~/timm --weights resnet20_cifar.cifar10 --data npz:cifar10.npz

The scripts are those of a checkout of timm; its distributions hold none of them, and one that is missing is left out
and named. Images are test images of a data set, as many of each class, written as PNG files. Figures of the scripts are
compared with those of this package, and a table is printed; the exit code is 1 where they differ. What timm's train.py
calls is called by tests/models/test_timm_networks.py.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from curriculum_zoo import create_model
from curriculum_zoo.data import open_dataset

STARTED = "import runpy, sys, curriculum_zoo.models; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
"""Registers this package's networks with timm and then runs a script of timm's as it is."""


def run_script(script: Path, *arguments: str) -> str:
    """Run a script of timm's with our networks registered, offline; return what it prints.

    Raises:
        RuntimeError: it fails.
    """
    command = [sys.executable, "-W", "ignore", "-c", STARTED, str(script), *arguments]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{script.name} ended with {ended.returncode}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.stdout


def write_images(data: str, root: str, each: int, folder: Path) -> None:
    """Write some test images of each class into ``validation``, in a folder that is named by the class's number."""
    images = open_dataset(data, root=root, resident=True)
    for label in range(images.num_classes):
        (folder / "validation" / f"{label:04d}").mkdir(parents=True)
        for number in np.flatnonzero(images.test_labels == label)[:each]:
            path = folder / "validation" / f"{label:04d}" / f"{number:06d}.png"
            Image.fromarray(images.test_images[number].squeeze()).save(path)


@torch.inference_mode()
def our_accuracy(target: str | Path, folder: Path) -> float:
    """Top-1 accuracy in per cent, by the classes' numbers: what `evaluate` counts."""
    from curriculum_zoo.evaluation import predict

    files = sorted((folder / "validation").rglob("*.png"))
    names = load_names(target)
    right = [
        names.index(prediction.classes[0][0]) == int(prediction.path.parent.name)
        for prediction in predict(target, files, top=1, device="cpu")
    ]
    return 100 * float(np.mean(right))


def load_names(target: str | Path) -> list[str]:
    """Names of a network's classes, in their order."""
    from curriculum_zoo.evaluation.trained_network import load_trained_network

    return list(load_trained_network(target, device="cpu").class_names)


def check_export(script: Path, weights: str, folder: Path, classes: int, side: int) -> Iterator[tuple[str, bool]]:
    """Export with sizes left open, and compare the file's outputs with the network's."""
    import onnxruntime

    file = folder / "model.onnx"
    options = ["--model", weights, "--num-classes", str(classes), "--img-size", str(side), "--dynamic-size"]
    run_script(script, *options, str(file))
    session, model = onnxruntime.InferenceSession(file), create_model(weights, pretrained=True).eval()
    for size in ((side, side), (side + 24, side + 9)):
        images = torch.randn(1, 3, *size)
        (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            far = (torch.from_numpy(logits) - model(images)).abs().max().item()
        yield f"images of {size[0]} × {size[1]} px: outputs differ by {far:.1g}", far < 1e-3


def check_validation(script: Path, weights: str, folder: Path) -> Iterator[tuple[str, bool]]:
    """Validate, and compare the accuracy with ours."""
    options = ["--data-dir", str(folder), "--model", weights, "--pretrained", "--device", "cpu", "-j", "0", "-b", "100"]
    theirs = json.loads(run_script(script, *options).partition("--result")[2])["top1"]
    ours = our_accuracy(weights, folder)
    yield f"top-1 {theirs:.2f}%, by this package {ours:.2f}%", abs(theirs - ours) < 0.3


def check_encoder(weights: str) -> Iterator[tuple[str, bool]]:
    """Make an encoder of segmentation_models_pytorch, and compare its parameters with the network's."""
    import segmentation_models_pytorch

    try:
        unet = segmentation_models_pytorch.Unet(f"tu-{weights}", encoder_weights="imagenet", classes=3).eval()
    except ValueError as error:  # it takes networks that halve their images five times
        yield f"refused by it: {error}", True
        return
    with torch.no_grad():
        shape = list(unet(torch.randn(1, 3, 64, 96)).shape)
    own = create_model(weights, pretrained=True).state_dict()
    loaded = {key.removeprefix("model.model."): value for key, value in unet.encoder.state_dict().items()}
    equal = sum(torch.equal(value, own[key]) for key, value in loaded.items())
    yield f"Unet gives {shape}; {equal} of {len(loaded)} tensors are the released ones", equal == len(loaded)


def rows(source: Path, weights: str, folder: Path) -> Iterator[tuple[str, str, bool]]:
    """What each script gave: its name, words, and whether that is right."""
    cfg = create_model(weights, pretrained=False).pretrained_cfg
    classes, side = len(load_names(weights)), cfg["input_size"][-1]
    checks: dict[str, Callable[[Path], Iterator[tuple[str, bool]]]] = {
        "onnx_export.py": lambda script: check_export(script, weights, folder, classes, side),
        "validate.py": lambda script: check_validation(script, weights, folder),
    }
    for name, check in checks.items():
        if not (source / name).is_file():
            yield name, f"not run: {source / name} is missing", True
            continue
        try:
            yield from ((name, *said) for said in check(source / name))
        except RuntimeError as error:
            yield name, str(error), False
    if find_spec("segmentation_models_pytorch"):
        yield from (("segmentation_models_pytorch", *said) for said in check_encoder(weights))


def main() -> int:
    """Parse the command line, run the scripts and print a table."""
    parser = argparse.ArgumentParser(description="Run timm's own scripts on released weights of this package.")
    parser.add_argument("--scripts", type=Path, required=True, help="folder of validate.py and onnx_export.py")
    parser.add_argument("--weights", required=True, help="architecture.tag, as timm.list_pretrained names it")
    parser.add_argument("--data", required=True, help="the data set that they were trained for")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--images", type=int, default=50, help="how many test images of each class")
    options = parser.parse_args()
    versions = f"timm {importlib.metadata.version('timm')}, torch {torch.__version__}"
    print(f"{versions}, {options.images} test images of each class\n")
    print("| weights | script | result | |\n|---|---|---|---|")
    fine = True
    with tempfile.TemporaryDirectory() as place:
        write_images(options.data, options.data_root, options.images, Path(place))
        for script, words, right in rows(options.scripts, options.weights, Path(place)):
            print(f"| {options.weights} | `{script}` | {words} | {'✓' if right else '✗'} |", flush=True)
            fine &= right
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
