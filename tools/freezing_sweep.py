"""What freezing freezes, over all of timm's families: shares by depth, and whether the head alone learns.

Of each of timm's modules the network is taken whose name promises the fewest parameters, and of those with several
classifiers one more; each is built on torch's meta device, without weights. What must learn when everything but the
head is frozen is found out apart from timm's statements: the parameters whose shape follows the number of classes.

    python tools/freezing_sweep.py                   # all families, to tools/results/freezing_sweep.md
    python tools/freezing_sweep.py vision_transformer pit
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.models import list_modules
from torch import nn

from curriculum_zoo.curricula import Frozen, freeze
from curriculum_zoo.curricula.depth import depth_of
from curriculum_zoo.errors import CurriculumError, CurriculumWarning

RESULTS = Path(__file__).parent / "results" / "freezing_sweep.md"
DEPTHS = (0.25, 0.5, 0.75)
# Names that promise few parameters, best first.
SMALL = ("test_", "atto", "femto", "pico", "nano", "xxs", "_xs", "tiny", "_t_", "050", "b0", "m0", "_s", "small", "18")
# Those that the family's small one does not stand for: several classifiers, or a head that is a block.
ALSO = (
    "deit_tiny_distilled_patch16_224",
    "pit_xs_distilled_224",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small_050",
)


@dataclass(frozen=True)
class Row:
    """What was found of one network.

    Attributes:
        family: timm's module.
        name: of the network.
        parts: how many it has.
        deeper: shares of the parameters that are frozen from each of `DEPTHS` on.
        probe: the share that is frozen when everything but the head is.
        learns: layers that learn then.
        said: the error or warning that was given; empty where there was none.
        alone: whether what learns then is the layers whose shape follows the number of classes, and no more.
    """

    family: str
    name: str
    parts: int = 0
    deeper: tuple[float, ...] = ()
    probe: float = 0.0
    learns: tuple[str, ...] = ()
    said: str = ""
    alone: bool = False


def main() -> None:
    """Sweep over the families, print a line for each, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help="timm's modules; all where none is named")
    families = parser.parse_args().families
    rows = []
    for family, name in _networks(families or list_modules()):
        row = swept(family, name)
        rows.append(row)
        print(_line(row), flush=True)
    if not families:
        RESULTS.write_text(_document(rows), encoding="utf-8")


def swept(family: str, name: str) -> Row:
    """Return what freezing does to a network of timm's."""
    try:
        model, other = _built(name, 10), _built(name, 11)
    except Exception as error:  # whatever a network makes of the meta device
        return Row(family, name, said=f"not built: {type(error).__name__}: {error}".split("\n")[0])
    try:
        parts = len(depth_of(model, [name for name, _ in model.named_parameters()]).parts)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CurriculumWarning)
            deeper = tuple(_frozen_share(model, Frozen(depth=(low, 1.0)))[0] for low in DEPTHS)
            probe, learning = _frozen_share(model, Frozen(depth=(0.0, 1.0)))
    except CurriculumError as error:
        return Row(family, name, said=str(error))
    shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
    classifying = {name for name, parameter in model.named_parameters() if shapes[name] != parameter.shape}
    layers = tuple(dict.fromkeys(name.rpartition(".")[0] for name in learning))
    said = "; ".join(str(warning.message) for warning in caught)
    whole = {name.rpartition(".")[0] for name in classifying}
    return Row(family, name, parts, deeper, probe, layers, said, whole == set(layers))


def _networks(families: list[str]) -> Iterator[tuple[str, str]]:
    for family in families:
        names = timm.list_models(module=family)
        small = [name for mark in SMALL for name in sorted(names, key=len) if mark in name]
        chosen = (
            dict.fromkeys([(small or sorted(names, key=len))[0], *(name for name in ALSO if name in names)])
            if names
            else ()
        )
        yield from ((family, name) for name in chosen)


def _built(name: str, classes: int) -> nn.Module:
    try:
        with torch.device("meta"):
            return timm.create_model(name, num_classes=classes)
    except (NotImplementedError, RuntimeError):  # networks that compute with values as they are built
        return timm.create_model(name, num_classes=classes)


def _frozen_share(model: nn.Module, frozen: Frozen) -> tuple[float, list[str]]:
    """The share of the parameters that is frozen, and the names of those that learn."""
    with freeze(model, (frozen,)):
        sizes = {name: (parameter.numel(), parameter.requires_grad) for name, parameter in model.named_parameters()}
    learning = [name for name, (_, learns) in sizes.items() if learns]
    return 1 - sum(sizes[name][0] for name in learning) / sum(size for size, _ in sizes.values()), learning


def _line(row: Row) -> str:
    if not row.parts:
        return f"| {row.family} | {row.name} | – | – | – | – | – | {_plain(row.said)} |"
    shares = " | ".join(f"{share:.2f}" for share in row.deeper)
    layers = ", ".join(row.learns)
    learns = (layers if row.alone else f"**more: {layers}**") + (f" – {_plain(row.said)}" if row.said else "")
    return f"| {row.family} | {row.name} | {row.parts} | {shares} | {row.probe:.3f} | {learns} |"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "/")[:160]


def _document(rows: list[Row]) -> str:
    divided = [row for row in rows if row.parts]
    alone = sum(row.alone for row in divided)
    halves = sorted(row.deeper[1] for row in divided)
    families = len({row.family for row in rows})
    lowest, median, highest = halves[0], halves[len(halves) // 2], halves[-1]
    head = f"""# What freezing freezes, over timm's families

`python tools/freezing_sweep.py`, timm {timm.__version__}, torch {torch.__version__.partition("+")[0]}:
{len(rows)} networks of {families} modules, the one of each whose name promises the fewest parameters, without weights.

- {len(divided)} are divided by depth; {len(rows) - len(divided)} were refused or could not be built.
- In {alone} of {len(divided)}, when everything but the head is frozen, exactly those layers learn whose shape follows
  the number of classes; the others are marked.
- The deeper half holds {lowest:.0%} to {highest:.0%} of the parameters, {median:.0%} in the median.

| module | network | parts | frozen from 0.25 on | from 0.5 on | from 0.75 on | all but the head | what then learns |
|---|---|---|---|---|---|---|---|
"""
    return head + "".join(f"{_line(row)}\n" for row in rows)


if __name__ == "__main__":
    main()
