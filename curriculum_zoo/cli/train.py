"""``curriculum-zoo train``: from flags to a recipe, and a run by it."""

from __future__ import annotations

import argparse
import gc
import os
import shlex
from pathlib import Path
from typing import Any

from ..errors import RecipeError, TrainingInterrupted
from .arguments import add_data_flags, interval, names, whole

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
                                                          "estimated again before each figure"),
    "--seed": ("seed", int, "seeds everything random in training"),
    "--data-seed": ("data_seed", int, "says which images are held out for validation and test"),
    "--on-nonfinite": ("on_nonfinite", str, "at a loss or gradient that is not finite: stop, or skip the step"),
    "--nonfinite-limit": ("nonfinite_limit", int, "the most steps that are skipped before the run ends; 20 by default"),
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
        "--workers", type=whole, metavar="N", help="processes that read image files; one per processor by default"
    )
    command.add_argument("--output", metavar="DIR", help="the run's folder; a fresh one under runs/ by default")
    command.add_argument(
        "--checkpoint-every",
        type=interval,
        default={},
        metavar="STEPS|TIME",
        help="also write a checkpoint after so many steps (500), or whenever so long has passed (30s, 10min, 2h); "
        "by default 10min",
    )
    command.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run's folder")
    command.add_argument(
        "--allow-changes",
        action="store_true",
        help="resume although data, their split or the number of processes are not those that the run started with",
    )
    command.add_argument(
        "--track",
        type=names,
        default=(),
        metavar="tensorboard|wandb|trackio",
        help="also hand the run's figures to these trackers, with commas between them",
    )
    command.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    recipe = recipe_of(options)
    from ..runs.folder import RunFolder
    from ..training import train

    folder = Path(options.output) if options.output else RunFolder.of(recipe).path
    try:
        train(
            recipe,
            output=folder,
            data_root=options.data_root,
            download=options.download,
            device=options.device,
            resume=options.resume,
            allow_changes=options.allow_changes,
            workers=options.workers,
            track=options.track,
            **options.checkpoint_every,
        )
    except TrainingInterrupted as interruption:
        _end_together()
        if os.environ.get("RANK", "0") != "0":  # the first process speaks for all
            raise SystemExit(128 + interruption.signal) from None
        text = f"{interruption} Go on with it by:\n{_resuming(options, folder)}"
        raise TrainingInterrupted(text, interruption.signal) from None
    _end_together()


def _resuming(options: argparse.Namespace, folder: Path) -> str:
    """The command that resumes a run, for a shell."""
    places = {"--data-root": options.data_root, "--device": options.device, "--workers": options.workers}
    usual = {"--data-root": "data"}
    stated = [part for flag, value in places.items() if value != usual.get(flag) for part in (flag, str(value))]
    for name, value in options.checkpoint_every.items():
        stated += ["--checkpoint-every", str(value) if name == "checkpoint_steps" else f"{value:g}min"]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    launch = "curriculum-zoo" if processes == 1 else "torchrun … -m curriculum_zoo"
    return f"{launch} {shlex.join(['train', '--output', str(folder), '--resume', *stated])}"


def _end_together() -> None:
    """Wait for the other processes of a training, and end their group.

    Gloo aborts a process that ends while another still talks to it, or while anything still holds the group, whose
    threads then never end (pytorch issue 190489): networks wrapped by DistributedDataParallel do, in reference cycles.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        gc.collect()
        distributed.destroy_process_group()


def recipe_of(options: argparse.Namespace) -> Any:
    """The recipe that flags describe.

    Raises:
        CurriculumZooError: they describe none.
    """
    from ..recipes import Recipe, load_recipe, read_setting
    from ..runs.folder import RunFolder

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
