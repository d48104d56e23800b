"""The command line, ``curriculum-zoo``: thin; every command is one call into the library.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .errors import CurriculumZooError, RecipeError

__all__ = ["main"]

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
    "--schedule": ("schedule.name", str, "onecycle, cosine, step or constant"),
    "--image-size": ("image_size", int, "side in pixels that images are brought to"),
    "--warm-start": ("warm_start", str, "plain twin whose weights the network starts from"),
    "--calibrate-batchnorm": ("calibrate_batchnorm", int, "training batches over which BatchNorm's statistics are "
                                                          "taken anew before each figure"),
    "--seed": ("seed", int, "seeds everything random"),
    "--precision": ("precision", str, "fp32, bf16 or fp16"),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line; the process's own where None.

    Returns:
        Exit code: 0, or 2 where the input is at fault, which is then told on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CurriculumZooError as error:
        print(f"curriculum-zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("curriculum-zoo: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep Python from complaining when it flushes at exit.
        sys.stdout = None
    return 0


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other error is told."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"curriculum-zoo: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="curriculum-zoo",
        description="Train, evaluate and compare vision models that learn coarse to fine.",
    )
    parser.add_argument("--version", action="version", version=f"curriculum-zoo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_demo, _add_list, _add_train, _add_evaluate, _add_predict):
        add(commands)
    return parser


# -- demo ---------------------------------------------------------------------------------------------------------


def _add_demo(commands: Any) -> None:
    command = commands.add_parser("demo", help="train on the shipped images with and without a curriculum (3 minutes)")
    command.add_argument("--output", default="runs/demo", metavar="DIR", help="where results go (%(default)s)")
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from .training.demo import run_demo

    run_demo(options.output, device=options.device)


# -- list ---------------------------------------------------------------------------------------------------------


def _add_list(commands: Any) -> None:
    command = commands.add_parser("list", help="what there is to choose from")
    kinds = ("models", "curricula", "datasets", "recipes", "weights", "plugins")
    command.add_argument("kind", choices=kinds)
    command.add_argument("pattern", nargs="?", default="*", help="shell-style wildcard, such as 'hiresnet*'")
    command.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> None:
    from . import catalogue

    if options.kind == "plugins":
        _table(("kind", "name", "distribution", "version", "target"), catalogue.list_plugins(options.pattern))
    elif options.kind == "weights":
        from .hub.weights import list_weights

        rows = [
            (w.name, w.facts.get("recipe", {}).get("data", ""), str(w.folder)) for w in list_weights(options.pattern)
        ]
        _table(("name", "data", "folder"), rows)
    else:
        lister = getattr(catalogue, f"list_{options.kind}")
        for name in lister(options.pattern):
            print(name)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# -- train --------------------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="train a network", description="Train a network by a recipe.")
    command.add_argument("--recipe", metavar="FILE", help="a recipe file, or a name that `list recipes` has")
    for flag, (field, kind, text) in _RECIPE_FLAGS.items():
        command.add_argument(flag, dest=field, type=kind, default=argparse.SUPPRESS, help=text)
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any field of the recipe, as optimizer.momentum=0.8",
    )
    _add_data_flags(command)
    command.add_argument("--output", metavar="DIR", help="the run's folder; a fresh one under runs/ by default")
    command.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run's folder")
    command.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    from .training import train

    train(
        recipe,
        output=options.output,
        data_root=options.data_root,
        download=options.download,
        device=options.device,
        resume=options.resume,
    )


def _recipe(options: argparse.Namespace) -> Any:
    from .training.recipe import Recipe, load_recipe, read_setting
    from .training.run_folder import RunFolder

    fields = {field for field, _, _ in _RECIPE_FLAGS.values()}
    settings = {field: value for field, value in vars(options).items() if field in fields}
    settings |= dict(map(read_setting, options.set))
    if options.recipe:
        return load_recipe(options.recipe).changed(settings)
    if options.resume and options.output:
        return RunFolder(Path(options.output)).recipe().changed(settings)
    missing = [name for name in ("model", "data") if name not in settings]
    if missing and options.resume:
        raise RecipeError("--resume goes on with the run in a folder: --output DIR must be given.")
    if missing:
        flags = " and ".join(f"--{name}" for name in missing)
        raise RecipeError(f"{flags} must be given, or a --recipe that says so.")
    return Recipe(model=settings.pop("model"), data=settings.pop("data")).changed(settings)


def _add_data_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", default="data", metavar="DIR", help="folder of named data sets (%(default)s)")
    command.add_argument("--download", action="store_true", help="download a missing data set into it")
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps; the best there is by default")


# -- evaluate, predict --------------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure a trained network on test images")
    _add_target(command)
    command.add_argument("--data", required=True, help="the data set, as for train")
    _add_data_flags(command)
    command.add_argument("--resolutions", type=_integers, default=(), metavar="32,24,16", help="sides in pixels")
    command.add_argument("--batch-size", type=_positive, default=256, help="images at a time (%(default)s)")
    command.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    command.add_argument(
        "--calibrate-batchnorm", type=_whole, default=0, metavar="N",
        help="training batches over which BatchNorm's statistics are taken anew at each resolution",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import evaluate

    evaluations = evaluate(
        options.target,
        options.data,
        data_root=options.data_root,
        download=options.download,
        resolutions=options.resolutions,
        which=options.which,
        batch_size=options.batch_size,
        precision=options.precision,
        calibrate=options.calibrate_batchnorm,
        device=options.device,
    )
    if options.json:
        print(json.dumps([evaluation.to_dict() for evaluation in evaluations], indent=2))
        return
    rows = []
    for evaluation in evaluations:
        scores = evaluation.scores
        top5 = "-" if scores.top5 is None else f"{scores.top5:.2%}"
        figures = (f"{scores.top1:.2%}", top5, f"{scores.loss:.4f}", f"{scores.calibration_error:.4f}")
        rows.append((f"{evaluation.resolution} px", *figures, f"{evaluation.flops / 1e6:,.1f}"))
    _table(("resolution", "top-1", "top-5", "loss", "calibration error", "MFLOPs"), rows)
    print()
    accuracy = [("-" if a is None else f"{a:.2%}" for a in e.scores.per_class) for e in evaluations]
    heads = ("class", *(f"{evaluation.resolution} px" for evaluation in evaluations))
    _table(heads, list(zip(evaluations[0].classes, *accuracy, strict=True)))


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="classify image files")
    _add_target(command)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--top", type=_positive, default=5, help="how many classes to tell (%(default)s)")
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from .evaluation import predict

    predictions = predict(options.target, options.images, top=options.top, which=options.which, device=options.device)
    if options.json:
        print(json.dumps([{"path": str(p.path), "classes": dict(p.classes)} for p in predictions], indent=2))
        return
    for prediction in predictions:
        told = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction.classes)
        print(f"{prediction.path}: {told}")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", metavar="RUN|MODEL", help="a run's folder, a folder of weights, or a trained model")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of a run's weights")


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_positive(item) for item in text.split(","))


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _whole(text: str, least: int = 0) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
    return number
