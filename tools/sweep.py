#!/usr/bin/env python3
r"""Train one recipe in several arms and seeds, and print a table of means with their spread.

    python tools/sweep.py RECIPE --arm "baseline: curriculum=baseline" --arm "HRT: curriculum=hrt" \
        --seeds 42,123 --output DIR

RECIPE is a recipe file or a name of `curriculum-zoo list recipes`. An arm is a label and the fields that it changes,
as ``field=value`` separated by semicolons. All arms share the recipe otherwise, and each seed is used by every arm.
Runs that are finished are read, not repeated, and one that was interrupted is resumed, so the same command goes on
after a kill. The table goes to standard output, the curves to DIR/curves.png.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import torch

from curriculum_zoo.training import Recipe, load_recipe, train
from curriculum_zoo.training.curves import draw_arms
from curriculum_zoo.training.recipe import read_setting


def main() -> None:
    options = _options()
    arms = dict(map(_arm, options.arm))
    recipe = load_recipe(options.recipe).changed(dict(map(read_setting, options.set)))
    results: dict[str, list[dict[str, Any]]] = {label: [] for label in arms}
    for seed in options.seeds:  # seed by seed, so that an unfinished sweep still compares like with like
        for label, settings in arms.items():
            folder = options.output / f"{re.sub(r'[^a-z0-9]+', '_', label.lower())}-{seed}"
            results[label].append(_run(recipe.changed({**settings, "seed": seed}), folder, options))
    _print_table(results, recipe, options.seeds)
    data = Path(recipe.data.partition(":")[2]).stem or recipe.data
    curves = {label: [result["metrics"] for result in runs] for label, runs in results.items()}
    draw_arms(curves, options.output / "curves.png", title=f"{recipe.model} on {data}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--arm", action="append", required=True, metavar="LABEL: FIELD=VALUE; …")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for all arms")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--device")
    return parser.parse_args()


def _arm(text: str) -> tuple[str, dict[str, Any]]:
    label, colon, settings = text.partition(":")
    if not colon:
        raise SystemExit(f"--arm {text}: expected 'LABEL: FIELD=VALUE; …'")
    return label.strip(), dict(map(read_setting, filter(None, (item.strip() for item in settings.split(";")))))


def _run(recipe: Recipe, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    if not (folder / "results.json").exists():
        train(
            recipe,
            output=folder,
            data_root=options.data_root,
            device=options.device,
            resume=(folder / "recipe.json").exists(),
        )
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {**results, "metrics": [json.loads(line) for line in lines]}


def _print_table(results: dict[str, list[dict[str, Any]]], recipe: Recipe, seeds: list[int]) -> None:
    print(
        f"\n{recipe.model}, {recipe.epochs} epochs, {recipe.precision}; mean ± standard deviation over seeds {seeds};"
    )
    print(f"best: the epoch with the best validation {recipe.best}. {torch.get_num_threads()} thread(s).\n")
    print("| arm | n | test accuracy, best | test accuracy, last | FLOPs | training time |")
    print("|---|---|---|---|---|---|")
    for label, runs in results.items():
        best = _spread([100 * run["test"]["best"]["top1"] for run in runs])
        last = _spread([100 * run["test"]["last"]["top1"] for run in runs])
        flops = statistics.mean(run["relative_flops"] for run in runs)
        seconds = statistics.mean(run["seconds"] for run in runs)
        print(f"| {label} | {len(runs)} | {best} | {last} | {flops:.3f}× | {seconds:.0f} s |")


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
