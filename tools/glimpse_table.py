#!/usr/bin/env python3
r"""Print the figures of glimpse pyramids and of the networks beside them, a row a run, as a Markdown table.

    python tools/glimpse_table.py RUN… --data-root DIR [--levels 1,2,3] [--repeats 20]

RUN is a run's folder or one of weights, evaluated on the data set that its recipe names: mean and standard deviation
of 20 evaluations with new places, noise and backgrounds on the validation images that its recipe held out, and one
evaluation on test images, whose locations, multiply-adds (without biases) and milliseconds these are. With --levels a
network with glimpses gets a row for each number of processing levels after which it stops; others keep one row.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from curriculum_zoo.evaluation import Evaluation, evaluate
from curriculum_zoo.evaluation.trained_network import TrainedNetwork, load_trained_network
from curriculum_zoo.models.adaptive import AdaptiveNetwork

HEADS = "model | data | px | c_t | levels | validation, % | test, % | locations | multiply-adds | ms/image"


def main() -> None:
    options = _options()
    print(f"| {HEADS} |\n|{'---|' * len(HEADS.split('|'))}")
    for run in options.runs:
        trained = load_trained_network(run, which=options.which, device=options.device)
        if "data" not in trained.recipe:
            raise SystemExit(f"{run} does not tell the data set that it was trained on, so it is left out.")
        stops = options.levels if isinstance(trained.model, AdaptiveNetwork) else ()
        validation, test = (_evaluations(run, trained, part, stops, options) for part in ("validation", "test"))
        for held_out, tested in zip(validation, test, strict=True):
            print(_row(trained, held_out, tested), flush=True)
    print(
        f"\nValidation: mean ± standard deviation of {options.repeats} evaluations; test: one. Seed {options.seed}; on "
        f"{tested.timed_on}."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--levels", type=lambda text: [int(level) for level in text.split(",")], default=[])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--which", default="best", choices=("best", "last"))
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--device")
    return parser.parse_args()


def _evaluations(
    run: str, trained: TrainedNetwork, part: str, levels: list[int], options: argparse.Namespace
) -> list[Evaluation]:
    return evaluate(
        run,
        trained.recipe["data"],
        data_root=options.data_root,
        part=part,
        levels=levels,
        which=options.which,
        repeats=options.repeats if part == "validation" else 1,
        seed=options.seed,
        timing=part == "test",
        device=options.device,
    )


def _row(trained: TrainedNetwork, held_out: Evaluation, tested: Evaluation) -> str:
    recipe = trained.recipe
    config = getattr(trained.model, "pretrained_cfg", None) or {}
    cells = (
        config.get("architecture") or recipe["model"],  # a recipe may name the weights that training started from
        recipe["data"],
        tested.resolution,
        _aim(recipe, tested.levels),
        tested.levels or "–",
        _accuracy(held_out),
        _accuracy(tested),
        "–" if tested.locations is None else f"{tested.locations:.2f}",
        f"{tested.flops // 2:,}",
        f"{tested.milliseconds:.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _aim(recipe: Mapping[str, Any], levels: int | None) -> str:
    """The count of locations that training aimed at, where the network goes through so many levels."""
    aims = (recipe.get("glimpses") or {}).get("locations")
    if aims is None or levels is None or levels < 2:
        return "–"
    return f"{aims[min(levels - 2, len(aims) - 1)] if isinstance(aims, list) else aims:g}"


def _accuracy(evaluation: Evaluation) -> str:
    spread = "" if evaluation.top1_std is None else f" ± {100 * evaluation.top1_std:.2f}"
    return f"{100 * evaluation.scores.top1:.2f}{spread}"


if __name__ == "__main__":
    main()
