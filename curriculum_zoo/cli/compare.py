"""``curriculum-zoo compare``: a grid of trainings, and what one may conclude of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_data_flags, positive, whole

if TYPE_CHECKING:
    from ..comparison import Grid

__all__ = ["add_compare", "grid_of"]

_DESCRIPTION = """\
Train every model on every data set under every curriculum and arm, for every seed, and report
what one may conclude: differences to the baseline with intervals, at equal epochs and at equal
FLOPs. Each run has its folder in DIR. The same command goes on after Ctrl-C, a kill or a loss of
power; DIR alone is enough then. What decides (margin, baseline, confidence, figure) is written
down when the first run starts, and cannot be changed once results are there."""

_EXAMPLES = """\
examples:
  curriculum-zoo compare runs/trd --recipe resnet20_cifar-cifar10 --curriculum baseline --curriculum trd
      --seeds 0..4 --matched
  curriculum-zoo compare runs/hrt --recipe hrt-simple_cnn-cifar10 --curriculum baseline --curriculum hrt --ablate
  curriculum-zoo compare runs/lr --recipe resnet20_cifar-cifar10 --set "gentle: optimizer.lr=0.05"
      --set "rash: optimizer.lr=0.4; epochs=20" --set precision=bf16
  curriculum-zoo compare runs/robust --grid robust.toml --on local:2
  curriculum-zoo compare runs/robust --show

places (--on):
  local            one run after the other, with all cores
  local:N          N processes side by side, each with its share of the cores and a GPU of its own
  ray[:ADDRESS]    a Ray cluster, or this machine by Ray      (pip install 'curriculum-zoo[cluster]')
  slurm[:KEY=VALUE,...]  Slurm by submitit, as in slurm:slurm_partition=gpu,timeout_min=240
Clusters need DIR and the data on a file system that all machines see."""

# Flags that set a field of the grid: field, type, and what the help says.
_FIELDS: dict[str, tuple[str, Any, str]] = {
    "--recipe": ("recipe", str, "what all runs share: a recipe file, or a name that `list recipes` has"),
    "--baseline": ("baseline", str, "label that the others are measured against; 'baseline', or else the first"),
    "--margin": ("margin", float, "least difference that matters, in points of accuracy (0.3)"),
    "--confidence": ("confidence", float, "of all intervals (0.95)"),
    "--figure": ("figure", str, "whose test accuracy decides: the last or the best epoch's weights (last)"),
    "--to-target": ("target", float, "also tell what it cost until validation accuracy reached this and kept it"),
}
_REPEATED: dict[str, tuple[str, str]] = {
    "--model": ("models", "a network, as `list models` has it; may be given several times"),
    "--data": ("data", "a data set, as for train; may be given several times"),
    "--curriculum": ("curricula", "a curriculum with its parameters if wanted; may be given several times"),
}


def add_compare(commands: Any) -> None:
    """Add ``curriculum-zoo compare``."""
    command = commands.add_parser(
        "compare",
        help="compare curricula or networks over seeds, with intervals, at equal FLOPs too",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="DIR", help="where the comparison lies, or is to lie")
    grid = command.add_argument_group("what is compared", "without any of these, DIR goes on as it was stated")
    grid.add_argument("--grid", metavar="FILE", help="a TOML or JSON file that states all of it; flags override it")
    for flag, (field, text) in _REPEATED.items():
        grid.add_argument(flag, dest=field, action="append", default=argparse.SUPPRESS, metavar="NAME", help=text)
    grid.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="LABEL: FIELD=VALUE; …",
        help="an arm: its label, and the fields of the recipe that it changes; without a label, for all arms",
    )
    grid.add_argument(
        "--seeds", default=argparse.SUPPRESS, metavar="0..4", help="training seeds: 0..4, or 0,3,7 (0..2)"
    )
    for flag, (field, kind, text) in _FIELDS.items():
        shown = flag.rpartition("-")[2].upper()
        grid.add_argument(flag, dest=field, type=kind, default=argparse.SUPPRESS, metavar=shown, help=text)
    for field, text in (
        ("matched", "also train the baseline for the FLOPs of each arm that costs less"),
        ("ablate", "also train the arms that curricula declare for their own ablation"),
    ):
        grid.add_argument(
            f"--{field}", dest=field, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
    place = command.add_argument_group("where it runs")
    place.add_argument("--on", default="local", metavar="PLACE", help="see places below (%(default)s)")
    place.add_argument(
        "--cpus", type=positive, default=1, metavar="N", help="cores for each run on a cluster (%(default)s)"
    )
    place.add_argument(
        "--gpus", type=float, default=0, metavar="N", help="GPUs for each run on a cluster (%(default)s)"
    )
    place.add_argument("--memory", type=float, metavar="GB", help="main memory for each run on a cluster")
    place.add_argument("--workers", type=whole, metavar="N", help="processes of each run that read image files")
    add_data_flags(command)
    command.add_argument("--show", action="store_true", help="report what is there, and run nothing")
    command.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from ..comparison import compare, markdown, write_report
    from ..comparison.executors import Resources, running_on

    if options.show:
        print(markdown(write_report(options.folder)))
        return
    grid = grid_of(options)
    folder = Path(options.folder)
    resources = Resources(options.cpus, options.gpus, options.memory)
    with running_on(options.on, resources, folder) as executor:
        report = compare(
            grid,
            folder,
            executor=executor,
            data_root=options.data_root,
            download=options.download,
            device=options.device,
            workers=options.workers,
            threads=None if options.on.startswith("local") else options.cpus,
        )
    print(f"\n{markdown(report)}\nThe report and its figures are in {folder}.")


def grid_of(options: argparse.Namespace) -> Grid:
    """The grid that flags describe: the file's, or the folder's own, with what they change.

    Raises:
        CurriculumZooError: they describe none.
    """
    from ..comparison import Grid
    from ..comparison.folder import ComparisonFolder
    from ..comparison.grid import read_arm

    changes = {name: value for name, value in vars(options).items() if name in Grid.__dataclass_fields__}
    arms = [read_arm(text) for text in options.set]
    labelled = {label: settings for label, settings in arms if label is not None}
    shared = {field: value for label, settings in arms if label is None for field, value in settings.items()}
    statement = ComparisonFolder(Path(options.folder)).read()
    if options.grid:
        before = Grid.load(options.grid).to_dict()
    else:
        before = {} if statement is None else statement.grid.to_dict()
    changes |= {"arms": {**before.get("arms", {}), **labelled}} if labelled else {}
    changes |= {"settings": {**before.get("settings", {}), **shared}} if shared else {}
    return Grid.from_dict({**before, **changes})
