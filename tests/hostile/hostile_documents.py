"""Text that is damaged or malicious: configs, recipes, comparison files, and the records of runs."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from damaged import CANARY, MODULE, add, sparse, written
from hostile_tensors import CONFIG, folder_of, safetensors

# -- configs ------------------------------------------------------------------------------------------------------


def config(what: str, says: str, change: Mapping[str, Any] | bytes, error: str = "WeightsError") -> None:
    content = change if isinstance(change, bytes) else {**CONFIG, **change}
    add("config", what, error, says, lambda folder: folder_of(folder, safetensors(), content))


def _module(architecture: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / f"{MODULE}.py").write_text(f"open({str(folder / CANARY)!r}, 'w').close()\ndef build(**_): ...\n")
        return folder_of(folder, safetensors(), {**CONFIG, "architecture": architecture})

    return make


DEEP = b'{"architecture": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DUPLICATE = b'{"architecture": "simple_cnn", "architecture": "resnet18", "num_classes": 3}'

config("no JSON", "no JSON", b"{")
config("a list", "names no architecture", b"[]")
config("no UTF-8", "no UTF-8", b'{"architecture": "\xff"}')
config("UTF-16", "no UTF-8", '{"architecture": "simple_cnn"}'.encode("utf-16"))
config("100,000 nested lists", "nested", DEEP)
config("a key twice", "stands twice", DUPLICATE)
config(
    "an integer of 5,000 digits", "5000 digits", b'{"architecture": "simple_cnn", "num_classes": ' + b"9" * 5000 + b"}"
)
config("an integer of 70 bits", "64 bits|20 digits|22 digits", {"num_classes": 2**70})
config("2^40 classes", "num_classes", {"num_classes": 2**40})
config("a number of classes as text", "num_classes", {"num_classes": "3"})
config(
    "an input of 10^9 px",
    "input_size",
    {"pretrained_cfg": {**CONFIG["pretrained_cfg"], "input_size": [3, 10**9, 10**9]}},
)
config(
    "a mean that is not a number", "mean", {"pretrained_cfg": {**CONFIG["pretrained_cfg"], "mean": [float("nan")] * 3}}
)
config("a deviation of 0", "std", {"pretrained_cfg": {**CONFIG["pretrained_cfg"], "std": [0, 0, 0]}})
config("lists for objects", "pretrained_cfg", {"pretrained_cfg": [1, 2]})
config("class indices of 5,000 digits", "label_names", {"label_names": {"9" * 5000: "cat"}})
config("class names that are none", "no name", {"label_names": ["cat", 3, None]})
config("a digest that is none", "sha256", {"curriculum_zoo": {"sha256": "../../digest"}})
config("a path up the tree for an architecture", r"\.\.", {"architecture": "../../etc/passwd"}, "UnknownNameError")
config("an absolute path for one", "/etc/passwd", {"architecture": "/etc/passwd"}, "UnknownNameError")
config("a Windows path for one", "evil.py", {"architecture": "C:\\evil.py"}, "UnknownNameError")
config("a network share for one", "share", {"architecture": "\\\\host\\share\\evil"}, "UnknownNameError")
config("a repository for one", "No model|unknown|not", {"architecture": "hf-hub:owner/other"}, "UnknownNameError")
config("an option that names a checkpoint", "checkpoint_path", {"model_args": {"checkpoint_path": "../evil.pt"}})
config("an option that asks for a download", "pretrained", {"model_args": {"pretrained": True}})
config(
    "an option that leads to a URL",
    "leads? elsewhere|lead elsewhere",
    {"model_args": {"pool": "https://evil.example/x"}},
)
config("an option that the network has not", "takes no option|no option", {"model_args": {"evil": 1}}, "ModelError")
for what, architecture, options in (
    ("a network of 2^30 blocks", "convnext_atto", {"depths": [2**30, 1, 1, 1]}),
    ("a network of 50,000 blocks", "resnet18", {"layers": [50_000, 2, 2, 2]}),
    ("a network of 50,000 blocks of few numbers", "convnext_atto", {"depths": [50_000] * 4, "dims": [1] * 4}),
    ("a network 60,000 channels wide", "vit_tiny_patch16_224", {"embed_dim": 60_000}),
    ("a network for images of 60,000 px", "vit_tiny_patch16_224", {"img_size": 60_000}),
):
    config(what, "larger than|more than", {"architecture": architecture, "model_args": options})
config("a distribution that is a path", "distribution", {"curriculum_zoo": {"distribution": "../evil"}})
add("config", "a module for an architecture", "UnknownNameError", MODULE, _module(f"{MODULE}:build"))
add("config", "a dotted module for an architecture", "UnknownNameError", MODULE, _module(f"{MODULE}.build"))


def _large_config(folder: Path) -> Path:
    folder_of(folder, safetensors())
    sparse(folder / "config.json", 2**31)
    return folder


def _fifo(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder_of(folder, safetensors())
        (folder / name).unlink()
        os.mkfifo(folder / name)
        return folder

    return make


def _loop(folder: Path) -> Path:
    folder_of(folder, safetensors())
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    return folder


add("config", "2 GiB of zeros", "WeightsError", "larger than", _large_config)
add("config", "a pipe", "WeightsError", "no plain file", _fifo("config.json"), posix=True)
add("config", "a link to itself", "WeightsError", "no config.json", _loop, posix=True)


# -- recipes and grids --------------------------------------------------------------------------------------------

RECIPE: dict[str, Any] = {"model": "simple_cnn", "data": "demo"}


def recipe(what: str, says: str, content: Mapping[str, Any] | bytes) -> None:
    text = content if isinstance(content, bytes) else json.dumps({**RECIPE, **content}).encode()
    add("recipe", what, "RecipeError", says, written("recipe.json", text))


recipe("no JSON", "no JSON", b"{'model': 'simple_cnn'}")
recipe("a pickle in disguise", "no UTF-8|no JSON", pickle.dumps(RECIPE))
recipe("empty", "no JSON", b"")
recipe("100,000 nested lists", "nested", b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
recipe(
    "options nested 500 deep",
    "nested",
    b'{"model": "simple_cnn", "data": "demo", "model_options": ' + b'{"a":' * 500 + b"1" + b"}" * 501,
)
recipe(
    "a key twice", "'epochs' stands twice", b'{"model": "simple_cnn", "data": "demo", "epochs": 1, "epochs": 100000}'
)
recipe("a key too many", "no field of it", {"import": "os"})
recipe("keys of a megabyte", "no field of it", {"x" * 10**6: 1})
recipe("a key missing", "data is missing", b'{"model": "simple_cnn"}')
recipe("a list", "expected an object", b"[1, 2, 3]")
recipe("numbers as text", "epochs expects an integer", {"epochs": "30"})
recipe("an object for a number", "batch_size expects an integer", {"batch_size": {"__class__": "os.system"}})
recipe("a learning rate that is not a number", "must be finite", {"optimizer": {"lr": float("nan")}})
recipe("an infinite weight decay", "must be finite", {"optimizer": {"weight_decay": float("inf")}})
recipe(
    "a number that overflows", "must be finite", b'{"model": "simple_cnn", "data": "demo", "label_smoothing": 1e999}'
)
recipe(
    "an integer of 5,000 digits",
    "5000 digits",
    b'{"model": "simple_cnn", "data": "demo", "epochs": ' + b"9" * 5000 + b"}",
)
recipe("10^18 epochs", "epochs must be at most", {"epochs": 10**18})
recipe("a seed of 65 bits", "64 bits", {"seed": 2**64})
recipe("text of 5 MB for a number", "epochs expects an integer", {"epochs": "9" * 5 * 10**6})


def _large_recipe(folder: Path) -> Path:
    return sparse(folder / "recipe.json", 2**31, b'{"model": "')


def _recipe_folder(folder: Path) -> Path:
    (folder / "recipe.json").mkdir()
    return folder / "recipe.json"


def _endless_recipe(folder: Path) -> Path:
    (folder / "recipe.json").symlink_to("/dev/zero")
    return folder / "recipe.json"


add("recipe", "2 GiB", "RecipeError", "larger than", _large_recipe)
add("recipe", "a folder", "RecipeError", "is a folder", _recipe_folder)
add("recipe", "a link to an endless device", "RecipeError", "no plain file", _endless_recipe, posix=True)


def grid(what: str, says: str, content: str, name: str = "grid.toml") -> None:
    add("comparison file", what, "ComparisonError", says, written(name, content))


grid("no TOML", "no TOML", "curricula = [")
grid("no JSON", "no JSON", "{", "grid.json")
grid("a key twice, TOML", "no TOML", 'seeds = "0..4"\nseeds = "0..9"\n')
grid("a key twice, JSON", "stands twice", '{"seeds": "0..4", "seeds": "0..9"}', "grid.json")
grid("100,000 nested lists", "nested|no TOML", f"curricula = {'[' * 100_000}{']' * 100_000}\n")
grid("a name of 200 dots", "nested", f"arms{'.a' * 200} = 1\n")
grid("100,000,000,000 seeds", "more than", 'seeds = "0..99999999999"\n')
grid("a seed of 5,000 digits", "Seeds are written", f'seeds = "{"9" * 5000}"\n')
grid("an integer of 5,000 digits", "no TOML", f"margin = {'9' * 5000}\n")
grid("a date for a number", "margin expects", "margin = 1979-05-27\n")
grid("an infinite margin", "must be finite", "margin = inf\n")
grid("a key too many", "no field of it", 'plugin = "os"\n')


def _comparison(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        cell = {"seed": 0, "fingerprint": "ab" * 6, "folder": "trd-0-" + "ab" * 6, "epochs": 3, "flops": None}
        arm = {"label": "trd", "kind": "stated", "baseline": None, "matched": None, "cells": [cell]}
        values = {"format": 1, "stated": "2026", "changes": [], "grid": {"recipe": RECIPE}, "arms": [arm]}
        change(values)
        (folder / "comparison.json").write_text(json.dumps(values))
        return folder

    return make


for _what, _place in {
    "a run up the tree": "../../elsewhere",
    "a run at an absolute place": "/tmp/elsewhere",
    "a run at a Windows place": "C:elsewhere",
    "a run on a network share": "\\\\host\\share",
}.items():

    def _led(values: dict[str, Any], place: str = _place) -> None:
        values["arms"][0]["cells"][0]["folder"] = place

    add("comparison folder", _what, "ComparisonError", "no name of a folder", _comparison(_led))
add(
    "comparison folder",
    "a list of numbers for arms",
    "ComparisonError",
    "damaged",
    _comparison(lambda values: values.update(arms=[1])),
)
add(
    "comparison folder",
    "text for a seed",
    "ComparisonError",
    "damaged",
    _comparison(lambda values: values["arms"][0]["cells"][0].update(seed="0")),
)
add(
    "comparison folder",
    "no JSON",
    "ComparisonError",
    "damaged",
    lambda folder: written("comparison.json", "{")(folder).parent,
)


# -- runs ---------------------------------------------------------------------------------------------------------


def run(what: str, says: str, name: str, content: bytes | str) -> None:
    def make(folder: Path) -> Path:
        (folder / "recipe.json").write_text(json.dumps({**RECIPE, "epochs": 1}))
        (folder / "metrics.jsonl").write_text('{"epoch": 0}\n')
        written(name, content)(folder)
        return folder

    add("run", what, "CheckpointError", says, make)


run("a recipe with a key twice", "stands twice", "recipe.json", '{"model": "a", "model": "b", "data": "demo"}')
run("metrics of nested lists", "nested", "metrics.jsonl", "[" * 100_000)
run("metrics that are no UTF-8", "no UTF-8", "metrics.jsonl", b"\xff\xfe")
run("metrics of another epoch", "line 1", "metrics.jsonl", '{"epoch": 7}\n')
run("results that are a list", "no JSON object", "results.json", "[]")
run("results with an integer of 5,000 digits", "5000 digits", "results.json", f'{{"flops": {"9" * 5000}}}')
run("results with text for numbers", "states no", "results.json", '{"flops": "many", "test": "good"}')
