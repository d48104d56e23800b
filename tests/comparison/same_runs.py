"""Whether two runs ended alike, but for what a clock measured."""

import json

import torch
from safetensors.torch import load_file

MEASURED = {"seconds", "images_per_second", "peak_memory_bytes", "overhead"}


def assert_same_run(first, second):
    """Weights and metrics of two run folders are equal bit by bit."""
    for line, other in zip(metrics_of(first), metrics_of(second), strict=True):
        assert line == other, {key: (value, other[key]) for key, value in line.items() if value != other[key]}
    for which in ("last", "best"):
        weights, others = (load_file(folder / which / "model.safetensors") for folder in (first, second))
        assert weights.keys() == others.keys()
        for name, tensor in weights.items():
            assert torch.equal(tensor, others[name]), f"{which}: {name}"


def metrics_of(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]
