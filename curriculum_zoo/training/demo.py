"""The demonstration: one small network, with and without a curriculum, on images that come with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..data.augmentation import Augmentation
from ..devices import fast_precision, select_device
from .curves import draw_comparison
from .engine import Result, train
from .recipe import Optimizer, Recipe

__all__ = ["CURRICULA", "EPOCHS", "demo_recipe", "run_demo"]

CURRICULA = ("baseline", "progressive_resizing")
EPOCHS = 12


def demo_recipe(curriculum: str, *, precision: str = "fp32", epochs: int = EPOCHS) -> Recipe:
    """The demonstration's recipe; only the curriculum differs between its runs.

    Args:
        curriculum: as `create_curriculum` has it.
        precision: ``fp32`` or ``bf16``.
        epochs: passes over the 6,000 training images.
    """
    recipe = Recipe(
        model="hiresnet20_cifar",
        data="demo",
        curriculum=curriculum,
        epochs=epochs,
        batch_size=64,
        optimizer=Optimizer(lr=0.1),
        augmentation=Augmentation(flip=True, crop_padding=2),
    )
    return recipe.changed({"precision": precision})


def run_demo(output: str | Path, *, device: str | None = None, epochs: int = EPOCHS) -> dict[str, Result]:
    """Train both runs from the same seed, and print accuracy, FLOPs and time side by side.

    Args:
        output: where both runs and the figure go; an earlier demonstration there is replaced.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        epochs: length of each run.
    """
    console = Console(highlight=False)
    precision = fast_precision(select_device(device))
    results = {}
    for curriculum in CURRICULA:
        folder = Path(output) / curriculum.partition("(")[0]
        if (folder / "recipe.json").is_file():
            shutil.rmtree(folder)
        recipe = demo_recipe(curriculum, precision=precision, epochs=epochs)
        results[curriculum] = train(recipe, output=folder, device=device)
    figure = Path(output) / "comparison.png"
    draw_comparison(
        {name: result.metrics for name, result in results.items()}, figure, title="hiresnet20_cifar on the demo images"
    )
    console.print(_table(results))
    console.print(
        f"One seed and 1,000 test images: differences below two points are noise. The figure is {figure}.\n"
        "Try next:\n"
        f"  curriculum-zoo evaluate {output}/progressive_resizing --data demo --resolutions 28,24,20,14\n"
        "  curriculum-zoo train --model hiresnet20_cifar --data cifar10 --download --curriculum trd --epochs 30\n"
        "  curriculum-zoo list curricula",
        soft_wrap=True,
        markup=False,
    )
    return results


def _table(results: dict[str, Result]) -> Table:
    table = Table("curriculum", "test accuracy", "training FLOPs", "training time")
    base = next(iter(results.values()))
    for name, result in results.items():
        table.add_row(
            name,
            f"{result.test['last'].top1:.2%}",
            f"{result.flops / 1e12:.2f} T ({result.relative_flops:.2f}x)",
            f"{result.seconds:.0f} s ({result.seconds / base.seconds:.2f}x)",
        )
    return table
