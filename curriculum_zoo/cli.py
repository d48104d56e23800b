"""The command line, ``curriculum-zoo``: thin; every command is one call into the library.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import CurriculumZooError, RecipeError

if TYPE_CHECKING:
    from .evaluation.evaluate import Evaluation

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
    for add in (_add_demo, _add_list, _add_train, _add_evaluate, _add_predict, _add_glimpses, _add_publish):
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
        _table(
            ("name", "data", "curriculum", "accuracy", "MFLOPs", "parameters", "size", "licence", "Hub"),
            _weights(options),
        )
    else:
        lister = getattr(catalogue, f"list_{options.kind}")
        for name in lister(options.pattern):
            print(name)


def _weights(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row for each released weight; a star follows the one that its architecture's name alone means."""
    from .hub.weights import list_weights

    return [
        (
            weights.name + ("*" if weights.default else ""),
            weights.data or "-",
            weights.curriculum or "-",
            "-" if weights.accuracy is None else f"{weights.accuracy:.2%}",
            "-" if weights.flops is None else f"{weights.flops / 1e6:,.1f}",
            "-" if weights.parameters is None else f"{weights.parameters:,}",
            "-" if weights.size is None else f"{weights.size / 1e6:,.1f} MB",
            weights.license or "-",
            weights.hub_id or "-",
        )
        for weights in list_weights(options.pattern)
    ]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# -- train --------------------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
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
    _add_data_flags(command)
    command.add_argument(
        "--resident",
        dest="photos.resident",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="decode image files once and keep them in memory; by default where they take no more than 2 GB",
    )
    command.add_argument(
        "--workers", type=_whole, metavar="N", help="processes that read image files; one a processor by default"
    )
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
        workers=options.workers,
    )


def _recipe(options: argparse.Namespace) -> Any:
    from .training.recipe import Recipe, load_recipe, read_setting
    from .training.run_folder import RunFolder

    fields = {"photos.resident", *(field for field, _, _ in _RECIPE_FLAGS.values())}
    settings = {field: value for field, value in vars(options).items() if field in fields}
    settings |= dict(map(read_setting, options.set))
    recipe = load_recipe(options.recipe) if options.recipe else None
    if options.pretrained:
        from .training.finetuning import finetuning_recipe

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


def _add_data_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", default="data", metavar="DIR", help="folder of named data sets (%(default)s)")
    command.add_argument("--download", action="store_true", help="download a missing data set into it")
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps; the best there is by default")


# -- evaluate, predict, glimpses ----------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    # fmt: off
    command = commands.add_parser("evaluate", help="measure a trained network on test images")
    _add_target(command)
    command.add_argument("--data", required=True, help="the data set, as for train")
    _add_data_flags(command)
    command.add_argument(
        "--part", default="test", choices=("test", "validation"),
        help="test images, or the training images that the network's recipe held out (%(default)s)",
    )
    command.add_argument("--resolutions", type=_integers, default=(), metavar="32,24,16", help="sides in pixels")
    command.add_argument(
        "--levels", type=_integers, default=(), metavar="1,2,3",
        help="processing levels after which a glimpse pyramid stops; as many as the image allows by default",
    )
    _add_chance(command)
    command.add_argument(
        "--repeats", type=_positive, default=1, metavar="N",
        help="take the mean of N evaluations, each with draws of its own, of places on a canvas say",
    )
    command.add_argument("--time", action="store_true", help="measure the time of the forward pass too")
    command.add_argument("--batch-size", type=_positive, default=256, help="images at a time (%(default)s)")
    command.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    command.add_argument(
        "--calibrate-batchnorm", type=_whole, default=0, metavar="N",
        help="training batches over which BatchNorm's statistics are taken anew at each resolution",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)
    # fmt: on


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import evaluate

    evaluations = evaluate(
        options.target,
        options.data,
        data_root=options.data_root,
        download=options.download,
        part=options.part,
        resolutions=options.resolutions,
        levels=options.levels,
        attend=options.attend,
        which=options.which,
        batch_size=options.batch_size,
        precision=options.precision,
        calibrate=options.calibrate_batchnorm,
        repeats=options.repeats,
        seed=options.seed,
        timing=options.time,
        device=options.device,
    )
    if options.json:
        print(json.dumps([evaluation.to_dict() for evaluation in evaluations], indent=2))
        return
    rows = [_figures(evaluation) for evaluation in evaluations]
    there_are = [name for name in rows[0] if any(row[name] for row in rows)]
    _table(tuple(there_are), [tuple(row[name] or "-" for name in there_are) for row in rows])
    print()
    accuracy = [("-" if a is None else f"{a:.2%}" for a in e.scores.per_class) for e in evaluations]
    titles = [row["resolution"] + (f", level {row['levels']}" if row["levels"] else "") for row in rows]
    _table(("class", *titles), list(zip(evaluations[0].classes, *accuracy, strict=True)))
    if evaluations[0].timed_on:
        print(f"\nTimed on {evaluations[0].timed_on}.")


def _figures(evaluation: Evaluation) -> dict[str, str]:
    """What is told of an evaluation in a table, by column; what it has no figure for is empty."""
    scores, spread, locations = evaluation.scores, evaluation.top1_std, evaluation.locations
    return {
        "resolution": f"{evaluation.resolution} px",
        "levels": str(evaluation.levels or ""),
        "top-1": f"{scores.top1:.2%}" + ("" if spread is None else f" ± {100 * spread:.2f}"),
        "top-5": "" if scores.top5 is None else f"{scores.top5:.2%}",
        "loss": f"{scores.loss:.4f}",
        "calibration error": f"{scores.calibration_error:.4f}",
        "locations": "" if locations is None else f"{locations:.2f}",
        "MFLOPs": f"{evaluation.flops / 1e6:,.2f}",
        "ms/image": "" if evaluation.milliseconds is None else f"{evaluation.milliseconds:.4f}",
    }


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="classify image files")
    _add_target(command)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--top", type=_positive, default=5, help="how many classes to tell (%(default)s)")
    _add_seed(command)
    command.add_argument("--device", help="cpu, cuda, …; the best there is by default")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from .evaluation import predict

    predictions = predict(
        options.target, options.images, top=options.top, which=options.which, seed=options.seed, device=options.device
    )
    if options.json:
        print(json.dumps([{"path": str(p.path), "classes": dict(p.classes)} for p in predictions], indent=2))
        return
    for prediction in predictions:
        told = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction.classes)
        print(f"{prediction.path}: {told}")


def _add_glimpses(commands: Any) -> None:
    command = commands.add_parser(
        "glimpses",
        help="draw where a glimpse pyramid looks",
        description="Draw where a glimpse pyramid looks in images: the regions it attends, what it sees of them, how "
        "probable they were, and the class after each level.",
    )
    _add_target(command)
    command.add_argument("images", nargs="*", metavar="IMAGE", help="image files, and folders of them")
    command.add_argument("--data", help="a data set, to take test images from: mnist_canvas:noisy, …")
    command.add_argument("--index", type=_indices, default=(0,), metavar="0,1,2", help="which of its test images")
    _add_data_flags(command)
    command.add_argument("--levels", type=_positive, help="levels after which to stop; all that there are by default")
    _add_chance(command)
    command.add_argument("--output", default="glimpses", metavar="DIR", help="where the figures go (%(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_glimpses)


def _glimpses(options: argparse.Namespace) -> None:
    from .evaluation import draw_glimpses

    looks = draw_glimpses(
        options.target,
        options.images,
        output=options.output,
        data=options.data,
        index=options.index,
        data_root=options.data_root,
        download=options.download,
        levels=options.levels,
        attend=options.attend,
        seed=options.seed,
        which=options.which,
        device=options.device,
    )
    if options.json:
        print(json.dumps([look.to_dict() for look in looks], indent=2))
        return
    for look in looks:
        told = ", ".join(f"{name} {probability:.1%}" for name, probability in look.predictions)
        print(f"{look.name}: {told}; attended {look.attended}; {look.figure}")


def _add_chance(command: argparse.ArgumentParser) -> None:
    """Options of networks that choose, at random by default, where to look."""
    ways = ("sample", "threshold", "top_k")
    command.add_argument("--attend", choices=ways, help="how a glimpse pyramid chooses; its own way by default")
    _add_seed(command)


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=_whole, default=0, help="decides what is drawn at random (%(default)s)")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", metavar="RUN|MODEL", help="a run's folder, a folder of weights, or a trained model")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of a run's weights")


# -- publish ------------------------------------------------------------------------------------------------------


def _add_publish(commands: Any) -> None:
    command = commands.add_parser(
        "publish",
        help="put a run's weights with their card on the Hugging Face Hub",
        description="Publish a finished run on the Hub, as one commit with a tag. Log in by `hf auth login`.",
    )
    command.add_argument("source", metavar="RUN", help="a finished run's folder, or a folder of released weights")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="OWNER/NAME", help="the repository on the Hub, made where it is missing")
    where.add_argument("--folder", metavar="DIR", help="lay the weights out in model_cards/ARCHITECTURE.TAG instead")
    command.add_argument("--private", action="store_true", help="make the repository private")
    command.add_argument("--revision", metavar="TAG", help="tag of this publication; the next of v1, v2, … by default")
    command.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    command.add_argument("--update", action="store_true", help="replace what is there; the card's own text is kept")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of the run's weights")
    command.add_argument("--data", metavar="NAME", help="the name that others know the data by, as cifar10")
    command.add_argument("--licence", metavar="ID", help="of the weights, as the Hub abbreviates it; mit by default")
    command.add_argument("--runs", nargs="+", default=(), metavar="RUN", help="runs by this recipe with other seeds")
    command.add_argument("--baseline", nargs="+", default=(), metavar="RUN", help="runs to compare with")
    command.add_argument("--evaluations", nargs="+", default=(), metavar="FILE", help="what `evaluate --json` printed")
    command.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from .hub.layout import release
    from .hub.publish import publish

    facts = {
        "which": options.which,
        "data": options.data,
        "license": options.licence,
        "runs": options.runs,
        "baselines": options.baseline,
        "evaluations": options.evaluations,
    }
    if options.folder:
        written = release(options.source, options.folder, update=options.update, **facts)
        print("\n".join(f"{options.folder}/{file}" for file in written) or f"{options.folder} is up to date.")
        return
    publish(
        options.source,
        options.to,
        private=options.private,
        revision=options.revision,
        dry_run=options.dry_run,
        update=options.update,
        show=print,
        **facts,
    )


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_positive(item) for item in text.split(","))


def _indices(text: str) -> tuple[int, ...]:
    return tuple(_whole(item) for item in text.split(","))


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
