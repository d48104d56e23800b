"""``curriculum-zoo train``: from flags to a recipe, and a run by it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from .arguments import add_data_flags, whole

__all__ = ["add_train", "recipe_of"]

# Flags that set a field of the recipe: field, type, and what the help says.
_RECIPE_FLAGS: dict[str, tuple[str, type, str]] = {
    "--model": ("model", str, "the network, as `list models` has it, or timm/NAME"),
    "--data": ("data", str, "the data set, as `list datasets` has it: cifar10, npz:FILE, folder:DIR, …"),
    "--curriculum": ("curriculum", str, "the curriculum, as `list curricula` has it, with parameters if wanted: "
                                        "'trd(resolution=16,participation=0.5)'"),
    "--epochs": ("epochs", int, "passes over the training images"),
    "--batch-size": ("batch_size", int, "images per update"),
    "--lr": ("optimizer.lr", float, "peak learning rate"),
    "--optimizer": ("optimizer.name", str, "sgd, adam, adamw, or another of timm's"),
    "--layer-decay": ("optimizer.layer_decay", float, "the learning rate of a block is this share of the next deeper "
                                                      "one's"),
    "--schedule": ("schedule.name", str, "onecycle, cosine, step or constant"),
    "--image-size": ("image_size", int, "side in pixels that images are brought to"),
    "--warm-start": ("warm_start", str, "plain twin whose weights the network starts from"),
    "--calibrate-batchnorm": ("calibrate_batchnorm", int, "training batches over which BatchNorm's statistics are "
                                                          "taken anew before each figure"),
    "--seed": ("seed", int, "seeds everything random"),
    "--precision": ("precision", str, "fp32, bf16 or fp16"),
}  # fmt: skip


def add_train(commands: Any) -> None:
    """Add ``curriculum-zoo train``."""
    command = commands.add_parser("train", help="train a network", description="Train a network by a recipe.")
    command.add_argument("--recipe", metavar="FILE", help="a recipe file, or a name that `list recipes` has")
    command.add_argument(
        "--pretrained",
        metavar="NAME",
        help="fine-tune trained weights: a name that `list weights` has, hf-hub:OWNER/REPO, local-dir:DIR, timm/NAME, "
        "or a run's folder",
    )
    for flag, (field, kind, text) in _RECIPE_FLAGS.items():
        command.add_argument(flag, dest=field, type=kind, default=argparse.SUPPRESS, help=text)
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any field of the recipe, as optimizer.momentum=0.8",
    )
    add_data_flags(command)
    command.add_argument(
        "--resident",
        dest="photos.resident",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="decode image files once and keep them in memory; by default where they take no more than 2 GB",
    )
    command.add_argument(
        "--workers", type=whole, metavar="N", help="processes that read image files; one a processor by default"
    )
    command.add_argument("--output", metavar="DIR", help="the run's folder; a fresh one under runs/ by default")
    command.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run's folder")
    command.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    recipe = recipe_of(options)
    from ..training import train

    train(
        recipe,
        output=options.output,
        data_root=options.data_root,
        download=options.download,
        device=options.device,
        resume=options.resume,
        workers=options.workers,
    )
    _end_together()


def _end_together() -> None:
    """Wait for the other processes of a training: Gloo aborts one that ends while another still talks to it."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def recipe_of(options: argparse.Namespace) -> Any:
    """The recipe that flags describe.

    Raises:
        CurriculumZooError: they describe none.
    """
    from ..training.recipe import Recipe, load_recipe, read_setting
    from ..training.run_folder import RunFolder

    fields = {"photos.resident", *(field for field, _, _ in _RECIPE_FLAGS.values())}
    settings = {field: value for field, value in vars(options).items() if field in fields}
    settings |= dict(map(read_setting, options.set))
    recipe = load_recipe(options.recipe) if options.recipe else None
    if options.pretrained:
        from ..training.finetuning import finetuning_recipe

        return finetuning_recipe(options.pretrained, settings, recipe)
    if recipe:
        return recipe.changed(settings)
    if options.resume and options.output:
        return RunFolder(Path(options.output)).recipe().changed(settings)
    missing = [name for name in ("model", "data") if name not in settings]
    if missing and options.resume:
        raise RecipeError("--resume goes on with the run in a folder: --output DIR must be given.")
    if missing:
        flags = " and ".join(f"--{name}" for name in missing)
        raise RecipeError(f"{flags} must be given, or a --recipe that says so.")
    return Recipe(model=settings.pop("model"), data=settings.pop("data")).changed(settings)
